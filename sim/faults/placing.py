"""Where tasks are placed and where they stay: on nodes that work, beside their data, not for ever.

Checkers, entered in `sim.faults.checkers`. They trust what a snapshot says of tasks, rows and
volumes, and nothing that the manager concludes from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from cube.fleet import suits
from cube.manager import TICK_SECONDS
from cube.manager.entry import grants
from cube.manager.queue import queue_key
from cube.manager.wave import WAVE_SECONDS
from cube.messages import MANAGER, Effect, NodeRow, Phase, Report, Save, Snapshot, Tick, Wake
from cube.spec import Demand, JobSpec
from cube.task import Forget, Job, NodeMark, Record, State, Task
from sim.faults.checker import Broken, Checker

if TYPE_CHECKING:
    from sim.faults.ordeal import Ordeal

SUSPECT_INTERVALS = 3.0  # of silence, after which a node takes no new tasks
WRONG_CLOCK = 1.03  # by more than this no two clocks disagree
UP_SECONDS = 3.0  # so long after its start an instance is called up by whoever waits for it
# So long may a drain take to stop an instance that nothing but others on their way holds.
MOVE_SECONDS = 10.0 + WAVE_SECONDS


def placeable(snapshot: Snapshot) -> list[Task]:
    """Pending tasks that some node has room for now, and that nobody before them holds up."""
    volumes = dict(snapshot.volumes)
    jobs = {job.name: job.spec for job in snapshot.jobs}

    def has_place(task: Task) -> bool:
        job = jobs[task.job]
        if job.together:
            return _has_place_together(snapshot, task, job)
        demand = Demand.of(job, task.spec)
        places = {volumes[name] for name in _data(task) if name in volumes}
        if task.spec.kind.is_global:
            places = {task.index}
        return any(places <= {row.info.name} and _fits(row, demand) for row in snapshot.rows)

    pending = (task for task in snapshot.tasks if task.state is State.PENDING)
    waiting = [task for task in pending if task.not_before <= snapshot.now]
    if snapshot.queue == "bypass":
        return list(filter(has_place, waiting))
    waiting.sort(key=lambda task: queue_key(task, jobs[task.job].priority))
    return list(takewhile(has_place, waiting))


def _fits(row: NodeRow, demand: Demand) -> bool:
    info = row.info
    return (
        row.open
        and row.cpu_used_milli + demand.cpu_milli <= info.cpu_milli
        and row.memory_used_mib + demand.memory_mib <= info.memory_mib
        and row.disk_used_mib + demand.disk_mib <= info.disk_mib
        and not set(row.ports) & set(demand.ports)  # no two nodes are on one host here
        and suits(info, demand)
    )


def _has_place_together(snapshot: Snapshot, task: Task, job: JobSpec) -> bool:
    """Is there room for it where its job is, or for all of its job on one node?

    A job that is on several nodes, for whatever happened to it before, may choose among them.
    """
    live = [t for t in snapshot.tasks if t.job == job.name and not t.state.final]
    homes = {t.node for t in live if t.state.placed}
    if len(homes) > 1:
        return False
    parts = [Demand.of(job, t.spec) for t in ([task] if homes else live)]
    cpu, memory = sum(p.cpu_milli for p in parts), sum(p.memory_mib for p in parts)
    need = replace(parts[0], cpu_milli=cpu, memory_mib=memory)  # nobody here asks for more
    return any(_fits(row, need) for row in snapshot.rows if row.info.name in homes or not homes)


def _data(task: Task) -> Iterator[str]:
    """Names of the volumes that tie a task to one node."""
    if not task.spec.kind.is_global:
        yield from (f"{task.job}_{mount.source}" for mount in task.spec.pinning_mounts)


class WorkingNodes(Checker):
    """A silent node is given nothing, and what a lost one ran does not stay there.

    Silence is judged when the manager has to judge it: at each of its ticks.
    """

    actors = MANAGER

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        self._heard: dict[str, float] = {}
        self._attempts: dict[str, int] = {}
        self._woke = 0.0
        self._most_silent = -math.inf  # when most nodes were last silent together
        self._silent: set[str] = set()  # at the latest tick, and not heard since
        granted = grants(len(ordeal.nodes), ordeal.scenario.reports_per_second)
        self._patience = SUSPECT_INTERVALS * granted.interval * WRONG_CLOCK
        self._grace = granted.grace * WRONG_CLOCK

    def store_replaced(self) -> None:
        tasks = self.ordeal.store.content.tasks
        self._attempts = {uid: task.attempt for uid, task in tasks.items()}

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        match message:
            case Wake():
                self._woke = now
            case Report():
                self._heard[message.node] = now
                self._silent.discard(message.node)
            case Tick():
                self._tick(now)
            case _:
                pass
        for effect in effects:
            if isinstance(effect, Save):
                self._saves(effect.records)

    def _saves(self, records: Iterable[Record]) -> None:
        for task in records:
            if not isinstance(task, Task):
                continue
            new = task.attempt > self._attempts.get(task.uid, 0)
            if new and task.node in self._silent and not self._is_there(task, task.node):
                text = f"{task.uid} is placed on {task.node}, which has missed its reports"
                raise Broken("working nodes take tasks", text, task.uid)
            self._attempts[task.uid] = task.attempt

    def _is_there(self, task: Task, node: str) -> bool:
        """Is that very attempt on the node already? Then it is adopted, not placed."""
        containers = self.ordeal.engines[node].containers
        return any(key[:2] == (task.uid, task.attempt) for key in containers)

    def _tick(self, now: float) -> None:
        silence = {n: now - max(self._woke, self._heard.get(n, 0.0)) for n in self.ordeal.nodes}
        self._silent = {n for n in silence if now - self._heard.get(n, 0.0) > self._patience}
        if sum(seconds > self._patience / WRONG_CLOCK**2 for seconds in silence.values()) > 1:
            self._look_for_silence(silence, now)
        lost = {node for node, seconds in silence.items() if seconds > self._grace}
        if not lost or now - self._most_silent <= self._grace + TICK_SECONDS:
            return
        for task in self.ordeal.world.core(MANAGER).snapshot().tasks:
            if task.node in lost and task.state.placed:
                text = f"{task.uid} is still on {task.node}, which is lost"
                raise Broken("lost nodes are left", text, task.uid)

    def _look_for_silence(self, silence: dict[str, float], now: float) -> None:
        """Most of those that it knows, at once: it is to move nothing until a grace later."""
        snapshot = self.ordeal.world.core(MANAGER).snapshot()
        busy = {task.node for task in snapshot.tasks if task.state.placed}
        known = [n.name for n in snapshot.nodes if n.name in busy or not n.draining]
        quiet = [n for n in known if silence[n] > self._patience / WRONG_CLOCK**2]
        if len(known) >= 3 and len(quiet) > len(known) / 2:
            self._most_silent = now


class DataStays(Checker):
    """A task with data runs nowhere but where its data is."""

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        self._where: dict[str, str] = {}

    def store_replaced(self) -> None:
        self._where = {v.name: v.node for v in self.ordeal.store.content.volumes.values()}

    def saved(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, Task) and record.state.placed and record.node is not None:
                for name in _data(record):
                    if self._where.setdefault(name, record.node) != record.node:
                        text = f"{record.uid} is placed on {record.node}, {name} is elsewhere"
                        raise Broken("data stays", text, record.uid)
            elif isinstance(record, Forget) and record.kind == "volume":
                self._where.pop(record.key, None)


class StaysTogether(Checker):
    """Of a job that is kept together, nothing is placed but where the rest of it is."""

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        self.store_replaced()

    def store_replaced(self) -> None:
        known = self.ordeal.store.content
        self._jobs = {job.name: job.spec.together for job in known.jobs.values()}
        self._tasks = {uid: t for uid, t in known.tasks.items() if not t.state.final}
        self._draining = {m.node for m in known.node_marks.values() if m.draining}

    def saved(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, Job):
                self._jobs[record.name] = record.spec.together
            elif isinstance(record, NodeMark):
                (self._draining.add if record.draining else self._draining.discard)(record.node)
            elif isinstance(record, Task):
                self._look_at(record)

    def _look_at(self, task: Task) -> None:
        before = self._tasks.pop(task.uid, None)
        if task.state.final:
            return
        new = before is None or before.attempt < task.attempt
        if self._jobs[task.job] and task.state is State.SCHEDULED and new:
            rest = (t for t in self._tasks.values() if t.job == task.job and t.state.placed)
            stay = (t for t in rest if t.state is not State.STOPPING or t.then == "pending")
            homes = {t.node for t in stay} - self._draining
            if homes and task.node not in homes:
                text = f"{task.uid} is placed on {task.node}, its job is on {homes}"
                raise Broken("jobs stay together", text, task.uid)
        self._tasks[task.uid] = task


class DrainsEnd(Checker):
    """A drain goes on whenever nothing holds it up: all instances of the service are up."""

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        self._since: dict[tuple[str, str], float] = {}

    def full(self, now: float, known: Snapshot | None) -> None:
        if known is None or now - self.ordeal.disturbed < MOVE_SECONDS:
            self._since.clear()
            return
        since = self._since
        self._since = {key: since.get(key, now) for key in _held_up(known)}
        for (job, service), at in self._since.items():
            if now - at > MOVE_SECONDS:
                raise Broken("drains end", f"nothing of {job}/{service} is moved", job)


def _held_up(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """Services that could move an instance from a draining node now."""
    draining = {node.name for node in snapshot.nodes if node.draining}
    if not draining:
        return
    together = {job.name for job in snapshot.jobs if job.spec.together}
    services: dict[tuple[str, str], list[Task]] = {}
    for task in snapshot.tasks:
        services.setdefault((task.job, task.service), []).append(task)
    for key, tasks in services.items():
        there = [t for t in tasks if t.node in draining and t.state.placed]
        if key[0] in together:
            continue  # it may wait for a node that takes all of it
        moves = any(not t.spec.kind.is_global and not any(_data(t)) for t in there)
        if moves and all(_is_up(t, snapshot.now) for t in tasks):
            yield key


def _is_up(task: Task, now: float) -> bool:
    runs = task.state is State.RUNNING and task.phase == Phase.RUNNING
    return task.state.final or (runs and now - task.since > UP_SECONDS)


class StrangersAreStrange(Checker):
    """What a manager placed itself, it never takes for a container that it does not know."""

    actors = MANAGER

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        self._placed: set[tuple[str, int, str]] = set()
        self._strange: set[tuple[str, int, str]] = set()  # were there before they were placed

    def store_replaced(self) -> None:
        self._placed.clear()

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        if isinstance(message, Report):
            reported = {(fact.uid, fact.attempt, message.node) for fact in message.facts}
            self._strange |= reported - self._placed

    def saved(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, Task) and record.state.placed and record.node is not None:
                self._placed.add((record.uid, record.attempt, record.node))

    def full(self, now: float, known: Snapshot | None) -> None:
        for node, fact in () if known is None else known.unknown:
            if (fact.uid, fact.attempt, node) in self._placed - self._strange:
                text = f"attempt {fact.attempt} of {fact.uid} on {node} was placed there"
                raise Broken("strangers are strange", text, fact.uid)
