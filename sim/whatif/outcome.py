"""What came of it: the tasks and nodes after, beside those before.

Compares two snapshots and reads from the journal when things happened. Shows nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from cube.messages import NodeRow, Phase, Snapshot
from cube.placement import why_pending
from cube.spec import WHOLE_GPU_MILLI
from cube.task import NodeState, State, Task
from cube.views.show import natural, show_time

SETTLED, WAITS, UNSETTLED = 0, 3, 4  # exit codes, which are those of `cube` itself


class Step(NamedTuple):
    """A task as the manager saved it at that time."""

    at: float
    task: Task


@dataclass(frozen=True, slots=True)
class Place:
    """A task that runs where it did not run before, or was started anew where it ran.

    `before` None: it had no place. `seconds` is when it was up, from the changes on; `down_seconds`
    how long it had not run by then, None if it did not run before or does not run yet.
    """

    task: str
    before: str | None
    after: str
    seconds: float | None
    down_seconds: float | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task without a place. `before`: the node that it was on; `new`: it did not wait before."""

    task: str
    before: str | None
    reason: str
    new: bool


@dataclass(frozen=True, slots=True)
class Use:
    """What tasks hold of a node."""

    tasks: int
    cpu_milli: int
    memory_mib: int
    disk_mib: int
    gpu_milli: int


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node before and after; `before` None: it is new."""

    node: str
    state_before: str
    state_after: str
    capacity: Use  # its `tasks` are not counted
    before: Use | None
    after: Use


@dataclass(frozen=True, slots=True)
class Outcome:
    """All of it."""

    cluster: str
    taken: float  # when the snapshot was
    changes: list[str]
    settled: bool
    settle_seconds: float  # until the last thing happened
    moves: list[Place]
    restarts: list[Place]
    started: list[Place]
    ended: list[tuple[str, str]]  # (task, node)
    waiting: list[Waiting]
    blocked: list[tuple[str, str]]  # (node that is to be empty, why it is not)
    nodes: list[NodeChange]
    note: str  # why the manager is not itself

    @property
    def exit_code(self) -> int:
        """0: all is well; 3: a task waits that did not, or a node does not empty; 4: no rest."""
        if not self.settled:
            return UNSETTLED
        return WAITS if self.blocked or any(w.new for w in self.waiting) else SETTLED

    def as_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        body = {**asdict(self), "taken": show_time(self.taken)}
        body["ended"] = [{"task": task, "node": node} for task, node in self.ended]
        body["blocked"] = [{"node": node, "reason": why} for node, why in self.blocked]
        return {"exit_code": self.exit_code, **body}


def outcome(
    before: Snapshot,
    after: Snapshot,
    steps: Sequence[Step],
    begin: float,
    changes: list[str],
    settled: bool,
    dead: Collection[str] = (),
) -> Outcome:
    """Compare the cluster `before` with `after`.

    Args:
        before: as the snapshot has it.
        after: when it came to rest, or had no more time.
        steps: what lies between.
        begin: when the changes were made.
        changes: what they were.
        settled: did it come to rest?
        dead: the nodes that died at the beginning.
    """
    old, new = _by_id(before.tasks), _by_id(after.tasks)
    times = _Times(steps, begin, _last_change(steps, after, begin), dead)
    moves, restarts, started, ended = [], [], [], []
    for name in sorted(old.keys() | new.keys(), key=natural):
        was, task = old.get(name), new.get(name)
        home = was.node if was is not None and was.state.placed else None
        if task is None or not task.state.placed:
            if home is not None and (task is None or task.state.final):
                ended.append((name, home))
            continue
        assert task.node is not None
        place = times.place(home, task)
        if home is None:
            started.append(place)
        elif home != task.node:
            moves.append(place)
        elif was is not None and _is_later(was, task):
            restarts.append(place)
    return Outcome(
        before.cluster,
        before.now,
        changes,
        settled,
        times.last,
        moves,
        restarts,
        started,
        ended,
        _waiting(old, after.tasks),
        _blocked(after),
        _nodes(before, after),
        after.note,
    )


class _Times:
    """When tasks came up, from the journal."""

    def __init__(
        self, steps: Iterable[Step], begin: float, last: float, dead: Collection[str]
    ) -> None:
        self._begin = begin
        self._dead = dead
        self.last = round(last - begin, 3)
        self._stopped: dict[str, float] = {}  # task: when its latest run began to end
        self._up: dict[str, float] = {}
        for at, task in steps:
            if _runs(task):
                self._up.setdefault(task.id, at)
            else:
                self._up.pop(task.id, None)
                self._stopped.setdefault(task.id, at)

    def place(self, before: str | None, task: Task) -> Place:
        """How it came to where it is."""
        assert task.node is not None
        up, stopped = self._up.get(task.id), self._stopped.get(task.id)
        if before in self._dead:
            stopped = self._begin
        seconds = None if up is None else round(up - self._begin, 3)
        down = None
        if before is not None and up is not None and stopped is not None:
            down = round(up - stopped, 3)
        return Place(task.id, before, task.node, seconds, down)


def _by_id(tasks: Iterable[Task]) -> dict[str, Task]:
    return {task.id: task for task in tasks}


def _runs(task: Task) -> bool:
    return task.state is State.RUNNING and task.phase == Phase.RUNNING


def _is_later(was: Task, task: Task) -> bool:
    """Is it another run?"""
    return (was.uid, was.attempt, was.restart) != (task.uid, task.attempt, task.restart) and (
        was.phase >= 0  # one that had yet to be started is that very run
    )


def _last_change(steps: Sequence[Step], after: Snapshot, begin: float) -> float:
    """When the last thing happened to a task or a node."""
    nodes = (node.since for node in after.nodes)
    return max([begin, *(step.at for step in steps), *(at for at in nodes if at > begin)])


def _waiting(old: dict[str, Task], tasks: Iterable[Task]) -> list[Waiting]:
    found = []
    for task in sorted(tasks, key=lambda t: natural(t.id)):
        if task.state is not State.PENDING:
            continue
        was = old.get(task.id)
        waited = was is not None and was.state is State.PENDING
        home = was.node if was is not None and was.state.placed else None
        found.append(Waiting(task.id, home, _reason(task), not waited))
    return found


def _reason(task: Task) -> str:
    if task.reason:
        return task.reason
    return "" if task.decision is None else why_pending(task.decision)


def _blocked(after: Snapshot) -> list[tuple[str, str]]:
    """Nodes that are to be empty and are not."""
    holding = {task.node for task in after.tasks if task.state.placed}
    found = ((n.name, n.note) for n in after.nodes if n.draining and n.name in holding)
    return sorted(found, key=lambda pair: natural(pair[0]))


def _nodes(before: Snapshot, after: Snapshot) -> list[NodeChange]:
    states = [{n.name: _state(n.state, n.draining) for n in s.nodes} for s in (before, after)]
    uses = {row.info.name: _use(row) for row in before.rows}
    return [
        NodeChange(
            name := row.info.name,
            states[0].get(name, ""),
            states[1][name],
            _capacity(row),
            uses.get(name) if name in states[0] else None,
            _use(row),
        )
        for row in sorted(after.rows, key=lambda r: natural(r.info.name))
        if row.info.name in states[1]
    ]


def _state(state: NodeState, draining: bool) -> str:
    return f"{state}, draining" if draining else str(state)


def _use(row: NodeRow) -> Use:
    gpu = sum(row.gpu_used_milli)
    return Use(row.tasks, row.cpu_used_milli, row.memory_used_mib, row.disk_used_mib, gpu)


def _capacity(row: NodeRow) -> Use:
    info = row.info
    gpu = WHOLE_GPU_MILLI * sum(map(bool, info.gpus))
    return Use(0, info.cpu_milli, info.memory_mib, info.disk_mib, gpu)
