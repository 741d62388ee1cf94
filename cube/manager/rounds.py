"""Rounds of placement: which tasks are asked about, and what becomes of the answers.

Owns the queue and the one round in flight. An answer is a proposal: it is applied only if the task
still waits and the row still fits, so that a late answer can never over-commit a node.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from cube.manager.dependencies import unmet_dependency
from cube.manager.ledger import Ledger
from cube.manager.nodes import Nodes
from cube.manager.queue import Key, Queue, queue_key
from cube.manager.together import whole_of
from cube.marks import mark
from cube.messages import MANAGER, SCHEDULER, BeginRound, NeedFleet, Place, Placed, Question, Round
from cube.placement import why_pending
from cube.spec import Demand, Dependency
from cube.task import Decision, NodeState, State, Task, TaskEvent
from cube.values import replace

ROUND_SECONDS = 5.0  # a round unanswered for so long is abandoned
ROUND_TASKS = 1024  # asked about at once, at most
FIFO_TASKS = 8  # the same where the first that does not fit ends the round
POLICY_RETRY_SECONDS = 5.0  # after a policy failed

Unmet = dict[tuple[str, tuple[Dependency, ...]], str]  # by job and `depends_on`


@dataclass(slots=True)
class _Whole:
    """All of a job that is kept together and has no node yet, in one round."""

    demand: Demand
    handed: int = 0  # of the GPUs that it is given

    def next_gpus(self, count: int) -> range:
        """Which of the GPUs are those of its next task."""
        self.handed += count
        return range(self.handed - count, self.handed)


@dataclass(slots=True)
class _Asked:
    """A task in the round in flight, with what was asked for it."""

    key: Key
    demand: Demand
    whole: _Whole | None = None
    gpus: range = range(0)  # which of the whole's are its own

    def gpus_of(self, decision: Decision) -> tuple[int, ...]:
        """The devices that it is given."""
        if self.whole is None:
            return decision.gpus
        return decision.gpus[self.gpus.start : self.gpus.stop]


class Rounds:
    """Asks the scheduler, one round at a time.

    With `fifo`, a task that does not fit keeps all that are behind it waiting, and a round begins
    only when all that happens at the same moment has been heard.
    """

    def __init__(self, ledger: Ledger, nodes: Nodes, fifo: bool) -> None:
        self._ledger = ledger
        self._nodes = nodes
        self.queue = Queue(self._still_waits)
        self._asked: dict[str, _Asked] = {}  # by uid, in the round in flight
        self._round: Round | None = None
        self._sent_at = 0.0
        self._number = 0
        self._base = 0  # the fleet revision that the scheduler holds; 0: none
        self._place: Place | None = None
        self._gained: dict[int, None] = {}  # rows that gained room while the round was out
        self._thinned: dict[str, None] = {}  # and services that hold fewer places
        self._fifo = fifo
        self._blocking: list[Key] = []  # fifo: those that did not fit, least first
        self._beginning = False  # fifo: is a `BeginRound` under way?

    # --- who waits ---

    def take_in(self) -> None:
        """Queue what has become pending, and let in what may fit since rows gained room."""
        for task_id in self._ledger.pending:
            task = self._ledger.tasks.get(task_id)
            if task is not None:
                self.queue.push(self._key(task))
        self._ledger.pending.clear()
        if self._ledger.gained or self._ledger.thinned:
            self._wake(self._ledger.gained, self._ledger.thinned)
            if self._round is not None:
                self._gained |= self._ledger.gained
                self._thinned |= self._ledger.thinned
            self._ledger.gained.clear()
            self._ledger.thinned.clear()
        if self._ledger.opened and self._round is None:
            self._ledger.opened = False
            self.queue.opened()
        for job in self._ledger.moved:
            self.queue.unblock(job)
            if self._is_together(job):
                self.queue.thinned(job)  # where it is, or how much it needs, may have changed

    def _is_together(self, job: str) -> bool:
        known = self._ledger.jobs.get(job)
        return known is not None and known.spec.together

    def tick(self) -> None:
        """Give up on a round that nobody answers."""
        self.queue.due(self._ledger.now)
        if self._round is not None and self._ledger.now - self._sent_at > ROUND_SECONDS:
            mark("round-abandoned")
            self._abandon()

    def _abandon(self) -> None:
        self._round, self._base = None, 0
        for asked in self._asked.values():
            self.queue.push(asked.key)
        self._asked.clear()

    def _wake(self, gained: Iterable[int], thinned: Iterable[str]) -> None:
        for row in gained:
            self.queue.gained(self._ledger.fleet, row)
        for service in thinned:
            self.queue.thinned(service)

    def _still_waits(self, key: Key) -> bool:
        task = self._ledger.tasks.get(key[3])
        return task is not None and task.state is State.PENDING and key == self._key(task)

    def _key(self, task: Task) -> Key:
        return queue_key(task, self._ledger.jobs[task.job].spec.priority)

    # --- asking ---

    def ask(self) -> None:
        """Start the next round, unless one is out or nobody waits."""
        if self._round is not None or not self.queue:
            return
        if not self._fifo:
            self._start(ROUND_TASKS)
        elif not self._beginning and not self._is_blocked():
            self._beginning = True
            self._ledger.send(MANAGER, BeginRound())

    def begin(self, *, may_ask: bool) -> None:
        """Start the round that was put off until now; if nothing may be asked, put it off again."""
        self._beginning = False
        if may_ask and self._round is None and self.queue and not self._is_blocked():
            self._start(FIFO_TASKS)

    def _is_blocked(self) -> bool:
        """Does one that did not fit still wait for room, before all that are ready?"""
        while self._blocking and not self._still_waits(self._blocking[0]):
            heapq.heappop(self._blocking)
        first = self.queue.first()
        return bool(self._blocking) and (first is None or first > self._blocking[0])

    def _start(self, most: int) -> None:
        tasks: dict[Demand, list[str]] = {}
        order: list[Demand] = []
        wholes: dict[str, _Whole] = {}  # by job
        unmet: Unmet = {}
        while len(order) < most and (key := self.queue.pop()) is not None:
            if not self._still_waits(key):
                continue
            task = self._ledger.tasks[key[3]]
            if task.uid in self._asked or self._waits(task, key, unmet):
                continue
            demand = self._ledger.demand(task)
            whole = self._whole(task, wholes) if demand.together and demand.node is None else None
            self._asked[task.uid] = asked = _Asked(key, demand, whole)
            if whole is not None and demand.gpu is not None:
                asked.gpus = whole.next_gpus(demand.gpu.count)
            demand = demand if whole is None else whole.demand
            tasks.setdefault(demand, []).append(task.uid)
            order.append(demand)
        if order:
            self._send(tasks, order, {whole.demand for whole in wholes.values()})

    def _whole(self, task: Task, wholes: dict[str, _Whole]) -> _Whole:
        """What all of its job needs; the rest of those that wait for room come along."""
        if task.job not in wholes:
            mark("asked-for-whole-job")
            job = self._ledger.jobs[task.job].spec
            wholes[task.job] = _Whole(whole_of(job, self._ledger.of(task.job)))
            self.queue.thinned(task.job)
        return wholes[task.job]

    def _send(
        self, tasks: dict[Demand, list[str]], order: list[Demand], wholes: set[Demand]
    ) -> None:
        number = {demand: i for i, demand in enumerate(tasks)}
        questions = tuple(
            Question(
                d, tuple(uids), self._ledger.present(d.service) if d.service else (), d in wholes
            )
            for d, uids in tasks.items()
        )
        fleet = self._ledger.fleet
        self._number += 1
        self._round = Round(self._ledger.epoch, self._number)
        self._sent_at = self._ledger.now
        self._place = Place(
            self._round,
            self._base,
            fleet.revision,
            fleet.changed_since(self._base),
            questions,
            tuple(number[d] for d in order),
            self._fifo,
        )
        self._ledger.send(SCHEDULER, self._place)

    def _waits(self, task: Task, key: Key, known: Unmet) -> bool:
        """Does something other than room keep the task from being placed? Then say what.

        `known` is of the same moment: all tasks of a service wait for the same.
        """
        if task.not_before > self._ledger.now:
            self.queue.delay(key, task.not_before)
            return True
        of = (task.job, task.spec.depends_on)
        if of not in known:
            known[of] = unmet_dependency(self._ledger, task)
        unmet = known[of]
        if unmet:
            self.queue.block(key, task.job)
            self._say(task, unmet)
            return True
        away = self._data_away(task)
        if away:
            mark("pinned-task-waited")
            # Its node's return wakes it.
            self._park(key, task.job, self._ledger.demand(task))
            self._say(task, away)
            return True
        return False

    def _data_away(self, task: Task) -> str:
        """Why a task whose data is on one node cannot be placed there now."""
        where = self._ledger.data_nodes(task.job, task.spec)
        if not where:
            return ""
        node = next(iter(where.values()))
        if len(set(where.values())) > 1:
            places = ", ".join(f"{name} on {n}" for name, n in where.items())
            return f"volume {places.replace(' on', ' is on', 1)}: no node has both"
        entry, names = self._nodes.entries.get(node), ", ".join(where)
        if entry is None:
            return f"volume {names} is on {node}, which is not part of the cluster"
        if entry.state is NodeState.LOST:
            return f"volume {names} is on {node}, lost"
        if node in self._ledger.draining:
            return f"volume {names} is on {node}, which is draining"
        return ""

    def _say(self, task: Task, reason: str) -> None:
        if task.reason != reason:
            told = self._ledger.amend(task, reason=reason)
            self._ledger.task_event("task.pending", f"{task.id} {reason}", told)

    # --- answers ---

    def need_fleet(self, message: NeedFleet) -> None:
        """The scheduler holds another fleet than we thought: ask again, with all of it."""
        if message.round == self._round:
            mark("scheduler-needs-fleet")
            self._abandon()

    def placed(self, message: Placed) -> None:
        """Apply the answers to the round in flight; any other is stale."""
        if message.round != self._round or self._place is None:
            mark("round-stale")
            return
        self._round, self._base, self._place = None, self._place.revision, None
        for decision in message.decisions:
            self._apply(decision)
        for asked in self._asked.values():  # not answered at all
            self.queue.push(asked.key)
        self._asked.clear()
        self._wake(self._gained, self._thinned)
        self._gained.clear()
        self._thinned.clear()

    def _apply(self, decision: Decision) -> None:
        asked = self._asked.pop(decision.uid)
        key = asked.key
        task = self._ledger.tasks.get(key[3])
        fleet, row = self._ledger.fleet, decision.row
        if row is not None:
            fleet.touch(row)  # the scheduler's own take is provisional
        if task is None or task.uid != decision.uid or task.state is not State.PENDING:
            return
        if row is None:
            self._fits_nowhere(task, asked, decision)
        elif self._still_fits(task, row, asked, decision) and task.not_before <= self._ledger.now:
            self._settle(task, decision, asked.gpus_of(decision))
        else:
            mark("round-refused")
            self.queue.push(key)  # the fleet or the task moved on since the question

    def _still_fits(self, task: Task, row: int, asked: _Asked, decision: Decision) -> bool:
        """Is what it needs what was asked about, and is there room for it?"""
        fleet, demand = self._ledger.fleet, self._ledger.demand(task)
        if asked.whole is None:
            return fleet.fits(row, demand, decision.gpus) and demand == asked.demand
        if demand == asked.demand and not fleet.fits(row, asked.whole.demand, decision.gpus):
            return False
        # The first of them has made it the node of the others.
        here = asked.demand.pinned(fleet.info(row).name)
        return demand in (asked.demand, here) and fleet.fits(row, here, asked.gpus_of(decision))

    def _park(self, key: Key, job: str, demand: Demand) -> None:
        """It waits for room; where its job is kept together, also for whatever happens to that."""
        self.queue.park(key, replace(demand, service=job) if demand.together else demand)

    def _fits_nowhere(self, task: Task, asked: _Asked, decision: Decision) -> None:
        key = asked.key
        if decision.error:
            self.queue.delay(key, self._ledger.now + POLICY_RETRY_SECONDS)
        else:
            self._park(key, task.job, asked.demand if asked.whole is None else asked.whole.demand)
            if asked.whole is not None:
                mark("whole-job-waits")
            if self._fifo and key not in self._blocking:
                heapq.heappush(self._blocking, key)
        old = task.decision
        if old is None or _reasons(old) != _reasons(decision):
            told = self._ledger.amend(task, decision=decision, reason="")
            if old is None or old.row is not None or old.error != decision.error:
                text = f"{task.id} is pending: {why_pending(decision)}"
                self._ledger.task_event("task.pending", text, told)

    def _settle(self, task: Task, decision: Decision, gpus: tuple[int, ...]) -> None:
        assert decision.row is not None
        name = self._ledger.fleet.info(decision.row).name
        placed = self._ledger.move(
            task,
            TaskEvent.PLACED,
            node=name,
            attempt=self._ledger.next_attempt(task, name),
            restart=0,
            phase=-1,
            exit_code=None,
            reason="",
            decision=decision,
            gpus=gpus,
        )
        self._ledger.pin_data(placed)
        self._ledger.task_event("task.placed", f"{task.id} goes to {name}", placed)


def _reasons(decision: Decision) -> tuple[object, ...]:
    """All of a decision that says why a task waits."""
    return decision.rejections, decision.error, decision.whole
