"""What must be true once everything works again: each thing that is wanted runs, once.

Compares what users were told and what the manager knows with what the engines truly run.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from cube.fleet import suits
from cube.messages import MANAGER, Snapshot
from cube.spec import Demand
from cube.task import NodeState, State, Task
from sim.faults.placing import placeable

if TYPE_CHECKING:
    from sim.faults.ordeal import Ordeal

Wrong = tuple[str, str]  # a sentence, and the task, job or node that it is about


def unsettled(ordeal: Ordeal) -> list[Wrong]:
    """Everything that is not yet as it must be."""
    if not ordeal.world.alive(MANAGER):
        return [("there is no manager", "")]
    if ordeal.user.waiting:
        return [(f"{ordeal.user.waiting} requests are not answered", "")]
    snapshot = ordeal.world.core(MANAGER).snapshot()
    has_room = {task.uid for task in placeable(snapshot)}
    runs = _runs(ordeal)
    tasks = {task.uid: task for task in snapshot.tasks}
    wrong = [(f"{node.name} is {node.state}", node.name) for node in snapshot.nodes
             if node.state is not NodeState.ALIVE]  # fmt: skip
    wrong += [(f"{node.name} still drains: {node.note}", node.name) for node in snapshot.nodes
               if node.draining]  # fmt: skip
    wrong += [(f"{row.info.name} takes no tasks", row.info.name)
              for row in snapshot.rows if not row.open]  # fmt: skip
    wrong += _leftovers(ordeal, snapshot)
    wrong += [(f"{fact.uid} on {node} is unknown", fact.uid) for node, fact in snapshot.unknown]
    for uid, nodes in runs.items():
        task = tasks.get(uid)
        if len(nodes) > 1:
            wrong.append((f"{uid} runs on {nodes}", uid))
        elif task is None or not task.state.placed:
            state = "forgotten" if task is None else task.state
            wrong.append((f"{uid} runs on {nodes[0]} but is {state}", uid))
    for task in snapshot.tasks:
        wrong += _task(task, runs.get(task.uid, []), task.uid in has_room)
    return wrong + _jobs(ordeal, snapshot)


def tasks_to_move(snapshot: Snapshot, node: str, *, patient: bool) -> list[Task]:
    """Tasks that a drain of the node has still to move.

    Its data ties a task, a global one goes with its place. In the long run nothing holds up a drain
    but an instance of the same service elsewhere that does not come up.
    """
    here = [t for t in snapshot.tasks if t.node == node and t.state.placed]
    movable = [t for t in here if not t.spec.kind.is_global and not t.spec.pinning_mounts]
    if patient:
        return movable
    together = {job.name for job in snapshot.jobs if job.spec.together}  # may wait for a place
    movable = [t for t in movable if t.job not in together]
    down = {(t.job, t.service) for t in snapshot.tasks
            if t.state is State.PENDING or "cube.sim.seconds" in dict(t.spec.labels)}  # fmt: skip
    return [t for t in movable if (t.job, t.service) not in down]


def _leftovers(ordeal: Ordeal, snapshot: Snapshot) -> list[Wrong]:
    """Nodes on which ended containers pile up: each task may have two, and some are kept."""
    tasks = Counter(task.node for task in snapshot.tasks if task.state.placed)
    wrong = []
    for node, engine in ordeal.engines.items():
        ended = sum(held.ended is not None for held in engine.containers.values())
        if ended > 2 * (tasks[node] + ordeal.scenario.kept_per_node):
            wrong.append((f"{ended} ended containers lie on {node}", node))
    return wrong


def _runs(ordeal: Ordeal) -> dict[str, list[str]]:
    """By uid, the nodes on which it truly runs."""
    runs: dict[str, list[str]] = defaultdict(list)
    for node, engine in ordeal.engines.items():
        for key in engine.running():
            runs[key.uid].append(node)
    return runs


def _task(task: Task, nodes: list[str], has_room: bool) -> list[Wrong]:
    uid = task.uid
    match task.state:
        case State.RUNNING if task.phase == 1 and nodes != [task.node]:
            return [(f"{uid} should run on {task.node}, runs on {nodes}", uid)]
        case State.STOPPING:
            return [(f"{uid} is still stopping", uid)]
        case State.SCHEDULED if task.retry_at is None and not _starts_slowly(task):
            return [(f"{uid} is still scheduled", uid)]
        case State.PENDING if has_room:
            return [(f"{uid} has room and is not placed", uid)]
        case _:
            return []


def _starts_slowly(task: Task) -> bool:
    """A task that fails again and again is always on its way somewhere."""
    labels = dict(task.spec.labels)
    return "cube.sim.seconds" in labels or "cube.sim.start" in labels


def _jobs(ordeal: Ordeal, snapshot: Snapshot) -> list[Wrong]:
    """Does each job have exactly the tasks that its newest version asks for?"""
    wrong: list[Wrong] = []
    known = {node.name for node in snapshot.nodes}
    nodes = [row.info for row in snapshot.rows if row.info.name in known]
    of_job: dict[str, list[Task]] = defaultdict(list)
    for task in snapshot.tasks:
        of_job[task.job].append(task)
    for job in snapshot.jobs:
        tasks = of_job[job.name]
        live = sorted(t.index for t in tasks if not t.state.final)
        if job.stopped or job.removing:
            if live:
                wrong.append((f"{job.name} is stopped, but has {live}", job.name))
            continue
        for spec in job.spec.services:
            if spec.kind.is_batch:
                continue
            wanted = _numbers(spec.instances)
            if spec.kind.is_global:
                wanted = sorted(n.name for n in nodes if suits(n, Demand.of(job.spec, spec)))
            failed = {t.index for t in tasks if t.state.final}
            if sorted({*live, *failed} & set(wanted)) != wanted or not set(live) <= set(wanted):
                wrong.append((f"{job.name} has {live}, wants {wanted}", job.name))
            stale = [t.id for t in tasks if t.index in live and not t.spec.same_container(spec)]
            waits = any(t.state is State.PENDING for t in tasks)  # a roll-out waits for its turn
            if stale and not job.halted and not waits:
                wrong.append((f"{stale[0]} is not of the newest version", stale[0]))
    return wrong


def _numbers(count: int) -> list[str]:
    return sorted(str(i + 1) for i in range(count))
