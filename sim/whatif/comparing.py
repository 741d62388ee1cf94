"""What came of a trial: two snapshots compared, and read from the journal when things happened.

Fills an `Outcome`; decides nothing and shows nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from cube.messages import NodeRow, Phase, Snapshot
from cube.placement import why_pending
from cube.spec import WHOLE_GPU_MILLI
from cube.task import NodeState, State, Task
from cube.views.show import natural
from sim.whatif.outcome import Fates, NodeChange, Outcome, Place, Use, Waiting


class Step(NamedTuple):
    """A task as the manager saved it at that time."""

    at: float
    task: Task


def compare(
    before: Snapshot,
    after: Snapshot,
    steps: Sequence[Step],
    begin: float,
    dead: Collection[str],
    *,
    changes: list[str],
    settled: bool,
) -> Outcome:
    """Compare the cluster `before` with `after`.

    Args:
        before: as the snapshot has it.
        after: when it came to rest, or had no more time.
        steps: what lies between.
        begin: when the changes were made.
        dead: the nodes that died then.
        changes: what they were.
        settled: did it come to rest?
    """
    last = _last_change(steps, after, begin)
    old, new = ({task.id: task for task in tasks} for tasks in (before.tasks, after.tasks))
    return Outcome(
        before.cluster,
        before.now,
        changes,
        settled,
        round(last - begin, 3),
        _fates(old, new, _Times(steps, begin, dead)),
        _waiting(old, after.tasks),
        _blocked(after),
        _nodes(before, after),
        after.note,
    )


def _fates(old: dict[str, Task], new: dict[str, Task], times: _Times) -> Fates:
    """What became of each task that has, or had, a place."""
    fates = Fates()
    for name in sorted(old.keys() | new.keys(), key=natural):
        was, task = old.get(name), new.get(name)
        home = was.node if was is not None and was.state.placed else None
        if task is not None and task.state.placed:
            place = times.place(home, task)
            if home is None:
                fates.started.append(place)
            elif home != task.node:
                fates.moves.append(place)
            elif was is not None and _is_later(was, task):
                fates.restarts.append(place)
        elif home is not None and (task is None or task.state.final):
            fates.ended.append((name, home))
    return fates


class _Times:
    """When tasks came up, from the journal."""

    def __init__(self, steps: Iterable[Step], begin: float, dead: Collection[str]) -> None:
        self._begin = begin
        self._dead = dead
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
