"""What must hold, at every event and at the end; recomputed from first principles.

The truth about containers is what the engines run, the truth about decisions is what was saved.
A checker is a class with any of the hooks of `Checker`, entered into `CHECKERS`; nothing else has
to know of it. What must hold once everything is healed is told by `settled`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cube.manager.entry import grants
from cube.messages import (
    FENCE_SECONDS,
    MANAGER,
    SCHEDULER,
    Assign,
    DeclareLost,
    Discard,
    Effect,
    Exited,
    Kill,
    Phase,
    Reply,
    Run,
    RunDue,
    RunKey,
    Send,
    Snapshot,
    Wake,
    worker_name,
)
from cube.task import Forget, Meta, NodeMark, Record, State, Task, TaskName
from sim.faults.books import PortsAreSingle, ReplayIsTrue, SavedFirst
from sim.faults.checker import Broken, Checker
from sim.faults.engine import Reboot
from sim.faults.leases import LeaseHolds
from sim.faults.placing import (
    DataStays,
    DrainsEnd,
    StrangersAreStrange,
    WorkingNodes,
    placeable,
)
from sim.faults.settled import Wrong, unsettled
from sim.faults.telling import AnsweredOnce, EndsAreTrue, TimeGoesOn
from sim.faults.world import machine_of

if TYPE_CHECKING:
    from sim.faults.ordeal import Ordeal

FULL_EVERY = 100  # events between two full checks
FORGOTTEN_SECONDS = 15.0  # so long may a task wait that has room: an abandoned round and a tick
REPORTS_REMEMBERED = 64
HELD_BACK = 8  # messages of the manager to others than workers, while it cannot save


class OneCopy(Checker):
    """For `stop` tasks no two attempts truly run at once; no task runs twice on one node."""

    actors = ("engine/", MANAGER)

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        self._running: dict[str, frozenset[RunKey]] = {node: frozenset() for node in ordeal.nodes}
        self._where: dict[str, set[tuple[str, RunKey]]] = {}
        self._doubled: dict[str, float] = {}  # uid: since when it runs twice, excused
        self._declared: dict[str, tuple[str, float]] = {}  # node: request that took it for lost
        self.unfenced_seconds = 0.0

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        if isinstance(message, DeclareLost):
            self._heed(message, now, effects)
        if actor == MANAGER:
            return
        node = machine_of(actor)
        before, after = self._running[node], frozenset(self.ordeal.engines[node].running())
        if before == after:
            return
        self._running[node] = after
        for key in before - after:
            copies = self._where[key.uid]
            copies.discard((node, key))
            if len(copies) < 2 and key.uid in self._doubled:
                self.unfenced_seconds += now - self._doubled.pop(key.uid)
            if not copies:
                del self._where[key.uid]
        for key in sorted(after - before):
            copies = self._where.setdefault(key.uid, set())
            copies.add((node, key))
            if len(copies) > 1:
                self._twice(key, node, copies, now)

    def _twice(self, key: RunKey, node: str, copies: set[tuple[str, RunKey]], now: float) -> None:
        others = sorted(copies - {(node, key)})
        for where, other in others:
            if self._is_stray(where, other) or self._is_stray(node, key):
                continue  # an operator decides on what the store never knew
            if where == node and not self._excused(where, now):
                raise Broken("one copy", f"{key} and {other} both run on {node}", key.uid)
            # The older of the two is the one to be stopped.
            old_node, old = min((node, key), (where, other), key=lambda copy: copy[1])
            if not self._is_fenced(old_node, old):
                continue
            if not self._excused(old_node, now):
                text = f"{key} begins on {node} while {other} runs on {where}"
                raise Broken("one copy", text, key.uid)
            self._doubled.setdefault(key.uid, now)

    def full(self, now: float, known: Snapshot | None) -> None:
        """What is excused ends with its excuse."""
        for uid, since in self._doubled.items():
            copies = [copy for copy in self._where[uid] if not self._is_stray(*copy)]
            for node, key in sorted(copies, key=lambda copy: copy[1])[:-1]:
                if self._is_fenced(node, key) and not self._excused(node, now):
                    text = f"{key} still runs on {node}, {now - since:.1f} s after another began"
                    raise Broken("one copy", text, uid)

    def _is_fenced(self, node: str, key: RunKey) -> bool:
        """Has its node to stop it when the lease ends? What was made as `keep` goes on."""
        return bool(self.ordeal.engines[node].containers[key].run.spec.on_disconnect == "stop")

    def _is_stray(self, node: str, key: RunKey) -> bool:
        return (node, *key[:2]) in self.ordeal.strays

    def _heed(self, message: DeclareLost, now: float, effects: list[Effect]) -> None:
        """An operator's word goes before the fence, once."""
        taken = any(isinstance(e, Send) and isinstance(e.message, Reply)
                    and e.message.status == "ok" for e in effects)  # fmt: skip
        if taken and self._declared.get(message.node, ("", 0.0))[0] != message.request:
            self._declared[message.node] = (message.request, now)

    def _excused(self, node: str, now: float) -> bool:
        """Could nobody on that node stop a task, now or within the time it takes to?"""
        granted = grants(len(self.ordeal.nodes), self.ordeal.scenario.reports_per_second)
        lately = self.ordeal.troubled.get(node, float("-inf"))
        _, declared = self._declared.get(node, ("", float("-inf")))
        return (
            self.ordeal.stands_still(node)
            or now - lately < granted.lease + FENCE_SECONDS
            or now - declared < granted.grace
        )


class KillsAreWanted(Checker):
    """No `keep` container is stopped unless some word that its worker was told omits it."""

    actors = "worker/"

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        # By worker: what some word to this life of it left out.
        self._unwanted: dict[str, set[tuple[str, int]]] = {}
        self._latest: dict[str, tuple[Any, ...]] = {}  # by worker: what the latest word rests on

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        if isinstance(message, Wake):
            self._unwanted[actor] = set()
            self._latest.pop(actor, None)
        if isinstance(message, Assign):
            self._told(actor, message)
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, Kill):
                self._check(actor, effect.message.key)

    def _told(self, actor: str, assign: Assign) -> None:
        engine = self.ordeal.engines[machine_of(actor)]
        rests_on = (assign.tasks, assign.keep, tuple(engine.containers))
        if self._latest.get(actor) == rests_on:
            return  # it leaves out what the one before left out
        self._latest[actor] = rests_on
        wanted = {(w.uid, w.attempt) for w in assign.tasks if w.run}
        self._unwanted[actor] |= {(w.uid, w.attempt) for w in assign.tasks if not w.run}
        here = {(key.uid, key.attempt) for key in engine.containers}
        self._unwanted[actor] |= {k for k in here - wanted if k not in assign.keep}

    def _check(self, actor: str, key: RunKey) -> None:
        containers = self.ordeal.engines[machine_of(actor)].containers
        held = containers.get(key)
        if held is None or not held.running or held.run.spec.on_disconnect == "stop":
            return
        older = any(k[:2] == key[:2] and k.restart > key.restart for k in containers)
        if not older and key[:2] not in self._unwanted[actor]:
            raise Broken("kills are wanted", f"{actor} stops {key}; nobody told it to", key.uid)


class ForgetfulDestroysNothing(Checker):
    """What a lost or old store never knew runs on until an operator decides."""

    actors = "engine/"

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        self._listed: set[tuple[str, str, int]] = set()  # saved as unknown, by node

    def store_replaced(self) -> None:
        self._listed.clear()
        saved, before = self.ordeal.store.content.tasks, self.ordeal.replaced.content.tasks
        for engine in self.ordeal.engines.values():
            for key in engine.running():
                task, was = saved.get(key.uid), before.get(key.uid)
                if task is not None and task.attempt >= key.attempt:
                    continue
                self.ordeal.strays.add((engine.info.name, key.uid, key.attempt))
                if was is not None and _is_wanted(was, key):
                    self.ordeal.orphans.add((key.uid, key.attempt))

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        if not self.ordeal.orphans or self.ordeal.healed:
            return
        if isinstance(message, Kill | Discard):
            key = message.key
            if key[:2] in self.ordeal.orphans and not self._is_excused(machine_of(actor), key):
                text = f"{type(message).__name__} of {key}, which this store never knew"
                raise Broken("a forgetful manager destroys nothing", text, key.uid)

    def full(self, now: float, known: Snapshot | None) -> None:
        if known is not None and known.unknown and self.ordeal.world.is_saved(MANAGER):
            self._listed.update((node, fact.uid, fact.attempt) for node, fact in known.unknown)

    def _is_excused(self, node: str, key: RunKey) -> bool:
        """Is it fenced, ended, placed anew before it was heard of, or placed right here?"""
        task = self.ordeal.store.content.tasks.get(key.uid)
        if task is not None and task.node == node:
            return True
        anew = task is not None and task.attempt > key.attempt
        if anew and (node, *key[:2]) not in self._listed:
            return True
        held = self.ordeal.engines[node].containers.get(key)
        return held is None or held.run.spec.on_disconnect == "stop" or held.ended is not None


def _is_wanted(task: Task, key: RunKey) -> bool:
    """Is that container to run, as the books say? If not, a word to stop it may be under way."""
    return task.state in (State.SCHEDULED, State.RUNNING) and task.attempt == key.attempt


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
        if sees < seen:
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


class Budgets(Checker):
    """No attempt is restarted more often than its policy allows."""

    actors = "engine/"

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        # By node, uid and attempt: which run failed when.
        self._failures: dict[tuple[str, str, int], list[tuple[int, float]]] = {}

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        node = machine_of(actor)
        for effect in effects:
            if isinstance(message, RunDue) and isinstance(effect, Send):
                self._ended(effect.message, now, node)
        if isinstance(message, Run) and message.key.restart:
            self._restarted(message, now, node)
        if isinstance(message, Reboot) and message.wiped:
            self._wiped(node)

    def _ended(self, ended: Any, now: float, node: str) -> None:
        if isinstance(ended, Exited) and not ended.interrupted and ended.exit_code == 1:
            uid, attempt, restart = ended.key
            self._failures.setdefault((node, uid, attempt), []).append((restart, now))

    def _wiped(self, node: str) -> None:
        """With the labels goes all that was not in the books."""
        for (where, uid, attempt), failures in self._failures.items():
            task = self.ordeal.store.content.tasks.get(uid)
            if where != node:
                continue
            seen = (-1, -1)
            if task is not None and task.attempt == attempt:
                seen = (task.restart, task.phase)
            failures[:] = [(r, at) for r, at in failures if (r, Phase.ENDED) <= seen]

    def _restarted(self, run: Run, now: float, node: str) -> None:
        policy = run.spec.restart
        if policy.attempts is None:
            return
        since = now - policy.interval_seconds * 0.97  # by a clock that may run wrong
        failures = self._failures.get((node, *run.key[:2]), [])
        lately = sum(at > since for _, at in failures)
        # What a worker learnt and nobody else heard dies with it: one failure per crash.
        # What only a lost store knew is forgotten with it.
        forgotten = self.ordeal.deaths[worker_name(node)]
        forgotten += self.ordeal.outcome.faults["store-lost"] * (policy.attempts + 1)
        forgotten += self.ordeal.outcome.faults["store-old"] * (policy.attempts + 1)
        if lately > policy.attempts + forgotten:
            raise Broken("budgets", f"{run.key} starts after {lately} failures", run.key.uid)


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
    StrangersAreStrange, AnsweredOnce, EndsAreTrue, TimeGoesOn,
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
