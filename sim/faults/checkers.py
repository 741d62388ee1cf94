"""What must hold, at every event and at the end; recomputed from first principles.

The truth about containers is what the engines run, the truth about decisions is what was saved.
A checker is a class with any of the hooks of `Checker`, entered into `CHECKERS`; nothing else has
to know of it. What must hold once everything is healed is told by `settled`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cube.messages import (
    MANAGER,
    SCHEDULER,
    Assign,
    Discard,
    Effect,
    Kill,
    Phase,
    Run,
    Snapshot,
    worker_name,
)
from cube.task import Forget, Meta, NodeMark, Record, State, Task, TaskName
from sim.faults.books import PortsAreSingle, ReplayIsTrue, SavedFirst
from sim.faults.budgets import Budgets
from sim.faults.checker import Broken, Checker
from sim.faults.copies import ForgetfulDestroysNothing, KillsAreWanted, OneCopy
from sim.faults.leases import LeaseHolds
from sim.faults.placing import (
    DataStays,
    DrainsEnd,
    StaysTogether,
    StrangersAreStrange,
    WorkingNodes,
    placeable,
)
from sim.faults.settled import Wrong, unsettled
from sim.faults.telling import AnsweredOnce, EndsAreTrue, TimeGoesOn

if TYPE_CHECKING:
    from sim.faults.ordeal import Ordeal

FULL_EVERY = 100  # events between two full checks
FORGOTTEN_SECONDS = 15.0  # so long may a task wait that has room: an abandoned round and a tick
REPORTS_REMEMBERED = 64
HELD_BACK = 8  # messages of the manager to others than workers, while it cannot save


class Monotone(Checker):
    """Observations never move backwards, revisions and epochs rise, ended tasks stay ended."""

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        self._tasks: dict[str, Task] = {}
        self._revision = 0
        self._epoch = 0

    def store_replaced(self) -> None:
        saved = self.ordeal.store.content
        self._tasks = dict(saved.tasks)
        self._revision = int(saved.meta.get("revision", "0"))
        self._epoch = int(saved.meta.get("epoch", "0"))

    def saved(self, records: Sequence[Record]) -> None:
        for record in records:
            match record:
                case Task():
                    self._task(record)
                case Forget(kind="task"):
                    self._tasks.pop(record.key, None)
                case Meta(key="revision"):
                    self._revision = self._risen("revision", self._revision, int(record.value))
                case Meta(key="epoch"):
                    self._epoch = self._risen("epoch", self._epoch, int(record.value))
                case _:
                    pass

    def _risen(self, what: str, before: int, after: int) -> int:
        if after < before:
            raise Broken("monotone", f"the {what} fell from {before} to {after}")
        return after

    def _task(self, task: Task) -> None:
        before = self._tasks.get(task.uid)
        self._tasks[task.uid] = task
        if before is None:
            return
        if before.state.final and task.state is not before.state:
            raise Broken("monotone", f"{task.uid} was {before.state}, is {task.state}", task.uid)
        seen = (before.attempt, before.restart, before.phase)
        sees = (task.attempt, task.restart, task.phase)
        # An operator may have another container adopted as that attempt: its story begins anew.
        waited = before.state is State.PENDING and task.state is State.SCHEDULED
        adopted = waited and task.attempt == before.attempt and task.phase < 0
        if sees < seen and not adopted:
            text = f"{task.uid}: (attempt, restart, phase) fell from {seen} to {sees}"
            raise Broken("monotone", text, task.uid)
        if task.revision <= before.revision:
            raise Broken("monotone", f"{task.uid}: its revision did not rise", task.uid)
        placed = task.attempt > before.attempt
        if placed and task.since < before.not_before - 1e-6:
            raise Broken("budgets", f"{task.uid} was placed before its back-off ended", task.uid)
        most = task.spec.reschedule.attempts
        if most is not None and task.reschedules > most:
            raise Broken("budgets", f"{task.uid} was rescheduled too often", task.uid)


class Books(Checker):
    """No node is over-committed, and the fleet is the sum of what is placed and unknown."""

    def full(self, now: float, known: Snapshot | None) -> None:
        if known is None:
            return
        used: dict[str, list[int]] = {row.info.name: [0, 0, 0] for row in known.rows}
        for task in known.tasks:
            if task.state.placed and task.node in used:
                sums, spec = used[task.node], task.spec
                sums[0] += spec.cpu_milli
                sums[1] += spec.memory_mib
                sums[2] += spec.disk_mib
        for node, fact in known.unknown:
            if node in used and fact.phase is not Phase.ENDED:
                for i, size in enumerate(fact.size):
                    used[node][i] += size
        unknown = {node for node, _ in known.unknown}
        for row in known.rows:
            name, info = row.info.name, row.info
            booked = [row.cpu_used_milli, row.memory_used_mib, row.disk_used_mib]
            if booked != used[name]:
                text = f"{name}: {used[name]} are placed, {booked} are in the books"
                raise Broken("the books are right", text, name)
            most = (info.cpu_milli, info.memory_mib, info.disk_mib)
            over = any(b > m for b, m in zip(booked, most, strict=True))
            if over and name not in unknown:
                raise Broken("no over-commitment", f"{name}: {booked} of {most}", name)


class NobodyForgotten(Checker):
    """A task that has room is placed soon."""

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        self._since: dict[tuple[str, float], float] = {}  # task and since when it is pending

    def full(self, now: float, known: Snapshot | None) -> None:
        ordeal, world = self.ordeal, self.ordeal.world
        parts = (MANAGER, SCHEDULER)
        works = all(world.alive(part) and part not in world.frozen for part in parts)
        if not works or ordeal.store.failing:
            ordeal.disturbed = now
        if now - ordeal.disturbed < FORGOTTEN_SECONDS:
            self._since.clear()
            return
        found = () if known is None else placeable(known)
        waiting = [(task.uid, task.since) for task in found]
        self._since = {key: self._since.get(key, now) for key in waiting}
        for (uid, _), since in self._since.items():
            if now - since > FORGOTTEN_SECONDS:
                text = f"{uid} has had room for {now - since:.0f} s and is not placed"
                raise Broken("nobody is forgotten", text, uid)


class AcceptedStays(Checker):
    """What a user was told is accepted survives everything but the loss of the store."""

    def full(self, now: float, known: Snapshot | None) -> None:
        if known is None:
            return
        jobs = self.ordeal.store.content.jobs
        for name, told in self.ordeal.user.told.items():
            if name in self.ordeal.user.busy:
                continue  # something else was asked meanwhile, and may be done already
            job = jobs.get(name)
            if told.spec is None:
                if job is not None and not job.removing:
                    raise Broken("accepted stays accepted", f"{name} was removed, is there", name)
            elif job is None or job.spec != told.spec:
                raise Broken("accepted stays accepted", f"{name} is not as it was accepted", name)
            elif told.stopped and not job.stopped:
                raise Broken("accepted stays accepted", f"{name} was stopped, runs again", name)


class WordOnNodesStays(Checker):
    """What an operator was told of a node's drain and labels survives like accepted jobs."""

    def full(self, now: float, known: Snapshot | None) -> None:
        ordeal = self.ordeal
        if known is None:
            return
        marks = ordeal.store.content.node_marks
        for node in ordeal.nodes:
            if f"node {node}" in ordeal.user.busy:
                continue
            mark = marks.get(node, NodeMark(node, False, 0))
            drains, labels = ordeal.user.drains.get(node), ordeal.operator.labels.get(node)
            if drains is not None and mark.draining is not drains:
                raise Broken("word on nodes stays", f"{node}: draining is not {drains}", node)
            if labels is not None and dict(mark.labels) != labels:
                text = f"{node} has {dict(mark.labels)}, was given {labels}"
                raise Broken("word on nodes stays", text, node)


class StoreIsTrue(Checker):
    """What is in the store is what the manager believes."""

    def full(self, now: float, known: Snapshot | None) -> None:
        world, store = self.ordeal.world, self.ordeal.store
        if known is None or store.failing or not world.is_saved(MANAGER):
            return
        saved = store.content.tasks
        same = set(map(id, saved.values()))  # most are the very objects that were saved
        for task in known.tasks:
            if id(task) not in same and saved.get(task.uid) != task:
                raise Broken("the store is true", f"{task.uid} differs from the store", task.uid)


class Bounded(Checker):
    """Queues and tables do not grow with time."""

    def full(self, now: float, known: Snapshot | None) -> None:
        world = self.ordeal.world
        for node in self.ordeal.nodes:
            name = worker_name(node)
            if world.alive(name) and world.core(name).unanswered() > REPORTS_REMEMBERED:
                raise Broken("tables are bounded", f"{name} remembers too many reports", node)
        if known is not None:
            queued, tasks = world.core(MANAGER).queued(), len(known.tasks)
            if queued > 20 * tasks + 100:
                text = f"{queued} queue entries for {tasks} tasks"
                raise Broken("tables are bounded", text)
            held = world.held_back(MANAGER)
            if held > len(self.ordeal.nodes) + HELD_BACK:
                raise Broken("tables are bounded", f"{held} messages wait for the store")


class GenerationsRise(Checker):
    """A worker never goes back to an older word of a manager."""

    actors = "worker/"

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        self._latest: dict[str, tuple[int, Any]] = {}  # by worker: its life, what it obeys

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        if not isinstance(message, Assign):
            return
        obeyed, life = self.ordeal.world.core(actor).obeys()
        before = self._latest.get(actor)
        self._latest[actor] = (life, obeyed)
        if before is None or before[0] != life or before[1] is None:
            return
        if obeyed is None or obeyed < before[1]:
            raise Broken("generations rise", f"{actor} obeys {obeyed} after {before[1]}")


class OursOnly(Checker):
    """Engines are told of nothing but tasks that a manager made."""

    actors = "engine/"

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        if isinstance(message, Kill | Discard | Run):
            name = TaskName.parse(message.key.uid)
            if name.job not in self.ordeal.user.asked:
                raise Broken("nothing foreign is touched", f"{message.key}", message.key.uid)


CHECKERS: list[type[Checker]] = [
    OneCopy, LeaseHolds, KillsAreWanted, ForgetfulDestroysNothing, Monotone, Budgets, Books,
    NobodyForgotten, AcceptedStays, WordOnNodesStays, StoreIsTrue, ReplayIsTrue, SavedFirst,
    PortsAreSingle, Bounded, GenerationsRise, OursOnly, WorkingNodes, DataStays, DrainsEnd,
    StaysTogether, StrangersAreStrange, AnsweredOnce, EndsAreTrue, TimeGoesOn,
]  # fmt: skip


class Checkers:
    """All of them, at work on one run."""

    def __init__(self, ordeal: Ordeal) -> None:
        self._ordeal = ordeal
        self._all = [make(ordeal) for make in CHECKERS]
        self._at_messages: dict[str, list[Checker]] = {}  # by actor, from its first message on
        self._at_saves = [c for c in self._all if _has(c, "saved")]
        self._in_full = [c for c in self._all if _has(c, "full")]
        self._events = 0
        self._broken: Broken | None = None
        self.count = 0

    @property
    def unfenced_seconds(self) -> float:
        """How long `stop` tasks ran twice because nobody could stop the old copy."""
        return sum(c.unfenced_seconds for c in self._all if isinstance(c, OneCopy))

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        """See `Checker.handled`."""
        checkers = self._at_messages.get(actor)
        if checkers is None:
            mine = (c for c in self._all if _has(c, "handled") and actor.startswith(c.actors))
            checkers = self._at_messages[actor] = list(mine)
        self.count += len(checkers)
        for checker in checkers:
            checker.handled(actor, message, now, effects)

    def saved(self, records: Sequence[Record]) -> None:
        """See `Checker.saved`. Whatever a save raises, an actor takes for a failure of its store.

        So what is found broken here is told after the event.
        """
        self.count += len(self._at_saves)
        try:
            for checker in self._at_saves:
                checker.saved(records)
        except Broken as broken:
            self._broken = self._broken or broken

    def store_replaced(self) -> None:
        """See `Checker.store_replaced`."""
        for checker in self._all:
            checker.store_replaced()

    def after_event(self) -> None:
        """Between two events."""
        if self._broken is not None:
            raise self._broken
        self._events += 1
        if self._events % FULL_EVERY == 0:
            self.full()

    def full(self) -> None:
        """Look at everything."""
        self.count += len(self._in_full)
        world = self._ordeal.world
        now = world.now()
        known = world.core(MANAGER).snapshot() if world.alive(MANAGER) else None
        for checker in self._in_full:
            checker.full(now, known)

    def unsettled(self) -> list[Wrong]:
        """What is not yet as it must be once everything works."""
        self.count += 1
        return unsettled(self._ordeal)


def _has(checker: Checker, hook: str) -> bool:
    return getattr(type(checker), hook) is not getattr(Checker, hook)
