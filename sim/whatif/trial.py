"""Tries changes on a cluster's state, and lets virtual time pass until nothing happens any more.

Owns when a cluster has settled and the record of what its tasks went through. The same snapshot and
the same changes give the same outcome: nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cube.manager import Manager
from cube.manager.entry import grants
from cube.manager.rollout import is_up
from cube.manager.wave import WAVE_SECONDS
from cube.messages import MANAGER, Drain, Reply, Scale, Snapshot
from cube.policies import PolicyError, make_policy
from cube.snapshot import State
from cube.task import Node, NodeState, Task
from cube.task import State as TaskState
from sim.errors import InputError, PolicyFailed
from sim.whatif.changes import Changes
from sim.whatif.comparing import Step, compare
from sim.whatif.outcome import Outcome
from sim.whatif.seed import Seed

# Nothing has happened, and nothing is due, for so long: it has settled. A drain may wait as long.
QUIET_SECONDS = WAVE_SECONDS + 5.0
LIMIT_SECONDS = 24 * 3600.0
LOOK_SECONDS = 1.0


def what_if(state: State, changes: Changes, limit_seconds: float = LIMIT_SECONDS) -> Outcome:
    """What becomes of the cluster if `changes` are made at the moment of its snapshot.

    Args:
        state: the cluster.
        changes: all of them at once.
        limit_seconds: virtual time after which it is said not to have settled.

    Raises:
        InputError: the changes make no sense for that cluster.
        PolicyFailed: its policy raised or gave nonsense.
    """
    changes.check(state.snapshot)
    return _Trial(state, changes).run(limit_seconds)


class _Journal:
    """What the manager saves of tasks, with the time of it."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.now: Callable[[], float] = float

    def save(self, records: Sequence[Any]) -> None:
        """See `cube.actor.Keeper`."""
        self.steps += [Step(self.now(), r) for r in records if isinstance(r, Task)]


class _Trial:
    """One world."""

    def __init__(self, state: State, changes: Changes) -> None:
        snapshot = state.snapshot
        try:
            policy = make_policy(changes.policy or snapshot.policy)
        except PolicyError as error:
            raise InputError(str(error), "Name another with --policy.") from None
        self._state, self._changes = state, changes
        self._journal = _Journal()
        self._seed = Seed(state, policy, self._journal)
        self._world = self._seed.world
        self._manager: Manager = self._world.core(MANAGER)
        self._journal.steps.clear()
        self._journal.now = self._world.now

    def run(self, limit_seconds: float) -> Outcome:
        """Make the changes, and wait until it has settled or the time is over."""
        begin = self._world.now()
        try:
            self._make()
            settled = self._settle(begin + limit_seconds)
            after = self._manager.snapshot()
        finally:
            self._world.stop()
        if failed := next(filter(None, map(_policy_error, after.tasks)), ""):
            raise PolicyFailed(f"the policy failed: {failed}", "Name another with --policy.")
        return compare(
            self._state.snapshot,
            after,
            self._journal.steps,
            begin,
            self._changes.fail,
            changes=self._changes.described(),
            settled=settled,
        )

    def _make(self) -> None:
        for new in self._changes.add:
            for info in new.infos(self._manager.snapshot()):
                self._seed.add(info)
        for node in self._changes.fail:
            self._seed.fail(node)
        for change in self._changes.scale:
            count = ((change.service, change.instances),)
            name = f"scale {change.job}/{change.service}"
            self._ask(Scale(name, change.job, count, "edge/what-if"))
        for node in self._changes.drain:
            seconds = self._changes.deadline_seconds
            self._ask(Drain(f"drain {node}", node, "edge/what-if", deadline_seconds=seconds))

    def _ask(self, request: Any) -> None:
        """Have the manager do it.

        Raises:
            InputError: it refuses.
        """
        answers: list[Reply] = []
        self._world.on_reply("edge/what-if", answers.append)
        self._world.send(MANAGER, request)
        while not answers:
            self._world.env.step()
        if answers[0].status in ("not-found", "refused", "conflict"):
            raise InputError(answers[0].text)

    def _settle(self, end: float) -> bool:
        """Let time pass. Says whether the cluster has come to rest."""
        seen, quiet_since = -1, self._world.now()
        while self._world.now() < end:
            self._world.run(until=self._world.now() + LOOK_SECONDS)
            snapshot, steps = self._manager.snapshot(), len(self._journal.steps)
            if steps != seen or self._is_in_motion(snapshot):
                seen, quiet_since = steps, self._world.now()
            elif self._world.now() - quiet_since >= QUIET_SECONDS:
                return True
        return False

    def _is_in_motion(self, snapshot: Snapshot) -> bool:
        """Is there anything of which it is known that it will go on?"""
        works = {
            n.name for n in snapshot.nodes if n.state is NodeState.ALIVE and not n.engine_error
        }
        return any(self._is_awaited(node, snapshot) for node in snapshot.nodes) or any(
            task.not_before > snapshot.now
            if task.state is TaskState.PENDING
            else task.node in works and not is_up(task, snapshot.now)
            for task in snapshot.tasks
        )

    def _is_awaited(self, node: Node, snapshot: Snapshot) -> bool:
        """Will it be lost soon, or be emptied at a deadline?"""
        silent = node.name in self._changes.fail or node.state is NodeState.SUSPECT
        if silent and node.state is not NodeState.LOST:
            grace = grants(len(snapshot.nodes), snapshot.reports_per_second).grace
            return snapshot.now - node.heard < grace + QUIET_SECONDS  # else it never will be
        due = node.deadline is not None and node.deadline > snapshot.now
        return due and any(t.state.placed and t.node == node.name for t in snapshot.tasks)


def _policy_error(task: Task) -> str:
    """What the policy said when it was asked about a task that waits."""
    waits = task.state is TaskState.PENDING
    return task.decision.error if waits and task.decision is not None else ""
