"""Placement: feasible, score, pick, take; the same loop for every policy.

Owns the order of these steps and the record of what was decided. What fits is said by `filters`,
what instances of a service allow by `spread`, what is better by a policy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from cube.fleet import Fleet, Floats, Rows
from cube.messages import Question
from cube.placement.board import Board, Slot, is_plain
from cube.placement.filters import reject
from cube.placement.reasons import describe, why_pending
from cube.placement.scores import PolicyFailure, Shape, scored, shape_of, where
from cube.placement.spread import Instances, Spreading
from cube.policies import Policy
from cube.spec import Demand
from cube.task import Decision, Rejection
from cube.values import replace

__all__ = ["Placer", "describe", "why_pending"]

SMALL: Final = 200  # rows up to which every decision records who was turned away
MEDIUM: Final = 1000  # rows up to which every decision records runners-up
NEXT_FEW: Final = 4  # rows that are looked at one by one before all rows of a service are marked
SHAPES: Final = 128  # shapes of demand whose scores are kept

_NOBODY: Final = np.empty(0, np.intp)

Pick: TypeAlias = tuple[int, float]  # a row with its score
Ranking: TypeAlias = tuple[list[Pick], int]  # the lowest rows, and on how many rows it fits


@dataclass(slots=True)
class _Asked:
    """One question during its round."""

    demand: Demand
    uids: Iterator[str]
    shape: Shape | Slot | None  # None: tied to one node
    spreading: Spreading | None
    failed: Decision | None = None  # the round only takes: what fits nowhere will not fit later
    whole: bool = False
    settled: Decision | None = None  # of a whole: what holds for all of its tasks


class Placer:
    """Places tasks on a fleet by a policy.

    Args:
        fleet: what it takes from.
        policy: who scores.
        runners_up: how many next best rows a decision names, in fleets of up to `MEDIUM` rows.
        shapes: how many shapes of demand keep their scores; 0 scores every question afresh.
    """

    def __init__(
        self, fleet: Fleet, policy: Policy, *, runners_up: int = 3, shapes: int = SHAPES
    ) -> None:
        self.fleet = fleet
        self.policy = policy
        self._text = str(policy)
        self._hooked = type(policy).placed is not Policy.placed
        self._runners_up = runners_up
        self._most = shapes
        self._shapes: dict[tuple[object, ...], Shape] = {}  # least recently used first
        offers = shapes > 0 and policy.row_local and type(policy).bulk is not Policy.bulk
        self._board = Board(fleet, policy, shapes) if offers else None

    def place(
        self, questions: Sequence[Question], order: Sequence[int], fifo: bool = False
    ) -> tuple[Decision, ...]:
        """Decide a round and take from the fleet what was decided.

        Args:
            questions: tasks of equal demand, and where instances of their service are.
            order: the k-th task to place is the next of `questions[order[k]]`.
            fifo: the first task that cannot be placed ends the round.

        Returns:
            One decision per entry of `order`, or as many as were made before it ended.
        """
        services: dict[str, Instances] = {}
        with np.errstate(all="ignore"):
            self._begin()
            asked = [self._ask(question, services) for question in questions]
            if fifo:
                return tuple(self._until_one_fails(asked[k] for k in order))
            return tuple([self._next(asked[k]) for k in order])

    def _until_one_fails(self, asked: Iterable[_Asked]) -> Iterator[Decision]:
        for question in asked:
            decision = self._next(question)
            yield decision
            if decision.row is None:
                return

    def decide(
        self, demand: Demand, present: Sequence[tuple[int, int]] = (), uid: str = ""
    ) -> Decision:
        """What would be decided now, with runners-up and rejections; takes nothing."""
        question = Question(demand, (uid,), tuple(present))
        with np.errstate(all="ignore"):
            self._begin()
            return self._decide(uid, self._ask(question, {}), explain=True)

    def free(self, row: int, demand: Demand, gpus: tuple[int, ...] = ()) -> None:
        """Give back what a task of `demand` held on `row`."""
        self.fleet.give(row, demand, gpus)
        self.policy.freed(self.fleet, row, demand)

    # --- one round -----------------------------------------------------------------------

    def _begin(self) -> None:
        if self._board is not None:
            self._board.begin()

    def _ask(self, question: Question, services: dict[str, Instances]) -> _Asked:
        demand = question.demand
        shape = self._shape(demand) if demand.node is None else None
        spreading = None
        if demand.service:
            instances = services.get(demand.service)
            if instances is None:
                instances = services[demand.service] = Instances(question.present)
            spreading = Spreading(self.fleet, demand, instances)
        return _Asked(demand, iter(question.tasks), shape, spreading, whole=question.whole)

    def _shape(self, demand: Demand) -> Shape | Slot:
        if self._board is not None and is_plain(demand):
            slot = self._board.slot(demand)
            if slot is not None:
                return slot
        key = (demand.size, demand.ports, demand.constraints, demand.datacenters, demand.gpu)
        shape = self._shapes.pop(key, None) or Shape(self.fleet, self.policy, demand)
        self._shapes[key] = shape
        if len(self._shapes) > self._most:
            del self._shapes[next(iter(self._shapes))]
        return shape

    def _next(self, asked: _Asked) -> Decision:
        """Decide and take for the question's next task; for a whole, with its first task."""
        uid = next(asked.uids)
        if not asked.whole:
            return self._one(uid, asked)
        if asked.settled is None:
            asked.settled = replace(self._one(uid, asked), whole=True)
        return replace(asked.settled, uid=uid)

    def _one(self, uid: str, asked: _Asked) -> Decision:
        if asked.failed is not None:
            why = asked.failed
            return self._unplaced(uid, why.rejections, why.error)
        decision, demand = self._decide(uid, asked), asked.demand
        row = decision.row
        if row is None:
            asked.failed = decision
        elif demand.gpu is None and not self._hooked:
            self.fleet.take(row, demand)
            if asked.spreading is not None:
                asked.spreading.instances.add(row)
        else:
            decision = self._taken(decision, row, asked)
            if decision.row is None:
                asked.failed = decision
        return decision

    def _taken(self, decision: Decision, row: int, asked: _Asked) -> Decision:
        """Take it, with what the policy has to say about that."""
        demand = asked.demand
        if demand.gpu is not None:
            try:
                decision = replace(decision, gpus=self._devices(row, demand))
            except PolicyFailure as failure:
                return self._failed(decision.uid, _told(self.policy, failure))
        self.fleet.take(row, demand, decision.gpus)
        try:
            if self._hooked:
                self.policy.placed(self.fleet, row, demand)
        except Exception as error:  # whatever a user's hook raises
            self.fleet.give(row, demand, decision.gpus)
            place = where(self.policy, error)
            return self._failed(decision.uid, f"raised {type(error).__name__}: {error} ({place})")
        if asked.spreading is not None:
            asked.spreading.instances.add(row)
        return decision

    def _devices(self, row: int, demand: Demand) -> tuple[int, ...]:
        """The GPUs that the policy chooses on the row that it was placed on."""
        try:
            gpus = tuple(self.policy.gpus(self.fleet, row, demand))
        except Exception as error:  # whatever a user's class raises
            raise PolicyFailure(f"raised {type(error).__name__}: {error}") from error
        if not self.fleet.fits(row, demand, gpus):
            raise PolicyFailure(f"chose GPUs {gpus} of {self.fleet.info(row).name}")
        return gpus

    # --- one decision --------------------------------------------------------------------

    def _decide(self, uid: str, asked: _Asked, explain: bool = False) -> Decision:
        fleet = self.fleet
        rows = fleet.count
        wanted = 1 + self._runners_up if explain or rows <= MEDIUM else 1
        try:
            picks, feasible = self._rank(asked, wanted)
        except PolicyFailure as failure:
            return self._failed(uid, _told(self.policy, failure))
        rejections: tuple[Rejection, ...] = ()
        if feasible < rows and (explain or not picks or rows <= SMALL):
            rejections = reject(fleet, asked.demand, asked.spreading)
        if not picks:
            if feasible:
                rejections += (Rejection(f"policy {self._text}", feasible),)
            return self._unplaced(uid, rejections)
        row, score = picks[0]
        name = fleet.info(row).name
        others = tuple([(fleet.info(i).name, s) for i, s in picks[1:]]) if wanted > 1 else ()
        return Decision(uid, row, name, self._text, score, others, rejections, feasible)

    def _unplaced(
        self, uid: str, rejections: tuple[Rejection, ...] = (), error: str = ""
    ) -> Decision:
        return Decision(uid, None, policy=self._text, rejections=rejections, error=error)

    def _failed(self, uid: str, what: str) -> Decision:
        return self._unplaced(uid, error=f"policy {self._text} {what}")

    def _rank(self, asked: _Asked, wanted: int) -> Ranking:
        """The lowest `wanted` rows that fit and that the spread rules allow."""
        shape, spreading = asked.shape, asked.spreading
        if shape is None:
            return self._rank_tied(asked.demand, spreading)
        scores = shape.scores(asked.demand)
        if not scores.size:
            return [], 0
        row = int(scores.argmin())
        score = scores.item(row)
        if not -math.inf < score < math.inf:
            self._check(row, score)
        feasible = shape.feasible
        if spreading is not None and spreading.turns_away:
            feasible -= shape.feasible_among(spreading.shut())
        if score == math.inf:
            return [], feasible
        if wanted == 1:
            if spreading is None or spreading.welcomes(row):
                return [(row, score)], feasible
            next_best = _welcome(scores, row, spreading)
            if next_best is not None:
                return [next_best], feasible
        for left_out in (_NOBODY,) if spreading is None else spreading.tries(scores):
            best = _lowest(scores, left_out, wanted)
            if best:
                return best, feasible
        return [], feasible

    def _rank_tied(self, demand: Demand, spreading: Spreading | None) -> Ranking:
        """The same for a task that is tied to one node: no vector is worth keeping for it."""
        row = self.fleet.row_of(demand.node or "")
        if row is None or not self.fleet.fits(row, demand):
            return [], 0
        if spreading is not None and row in spreading.shut():
            return [], 0
        asked = shape_of(demand) if self.policy.row_local else demand
        score = scored(self.policy, self.fleet, asked, np.array([row])).item()
        self._check(row, score)
        return [(row, score)] if score < math.inf else [], 1

    def _check(self, row: int, score: float) -> None:
        """Raise PolicyFailure for NaN and -inf; argmin finds these first if there are any."""
        if not score > -math.inf:
            raise PolicyFailure(f"returned {score} for {self.fleet.info(row).name}")


def _welcome(scores: Floats, row: int, spreading: Spreading) -> Pick | None:
    """The lowest row that the rules certainly prefer, if it is among the next few after `row`.

    The vector is marked while looking, and restored.
    """
    passed: list[Pick] = []
    found = None
    for _ in range(NEXT_FEW):
        passed.append((row, scores.item(row)))
        scores[row] = math.inf
        row = int(scores.argmin())
        score = scores.item(row)
        if score == math.inf:
            break
        if spreading.welcomes(row):
            found = (row, score)
            break
    for row, score in passed:
        scores[row] = score
    return found


def _told(policy: Policy, failure: PolicyFailure) -> str:
    return f"{failure} ({where(policy, failure.__cause__)})"


def _lowest(scores: Floats, left_out: Rows, wanted: int) -> list[Pick]:
    """The `wanted` lowest finite scores, ties by row, as if `left_out` did not fit.

    The vector is marked while looking, and restored.
    """
    saved = scores[left_out]
    scores[left_out] = math.inf
    picks: list[Pick] = []
    for _ in range(min(wanted, scores.size)):
        row = int(scores.argmin())
        score = scores.item(row)
        if score == math.inf:
            break
        picks.append((row, score))
        scores[row] = math.inf
    for row, score in picks:
        scores[row] = score
    scores[left_out] = saved
    return picks
