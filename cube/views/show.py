"""From the manager's records to what users are shown: pure functions.

Owns no facts and decides nothing; a view is computed anew from a `Snapshot` each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from cube.messages import Phase
from cube.placement import describe, why_pending
from cube.secrets import masked
from cube.spec import Mount, Port, TaskSpec
from cube.task import Decision, Event, Rejection, State, Task
from cube.views.shapes import (
    DecisionView,
    EventView,
    PortView,
    RejectionView,
    ServiceView,
    SizeView,
    TaskView,
)


def show_time(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds, from seconds since 1970."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def show_size(size: tuple[int, int, int, int]) -> SizeView:
    """(cpu_milli, memory_mib, disk_mib, gpu_milli) by name."""
    cpu, memory, disk, gpu = size
    return {"cpu_milli": cpu, "memory_mib": memory, "disk_mib": disk, "gpu_milli": gpu}


def show_needs(spec: TaskSpec) -> SizeView:
    """What a task of it counts in placement."""
    gpu = 0 if spec.gpu is None else spec.gpu.total_milli
    return show_size((spec.cpu_milli, spec.memory_mib, spec.disk_mib, gpu))


# --- decisions ---------------------------------------------------------------------------


def show_rejection(rejection: Rejection) -> RejectionView:
    """Nodes that one filter turned away."""
    return {
        "reason": rejection.reason,
        "nodes": rejection.nodes,
        "need": rejection.need,
        "best": rejection.best,
        "node": rejection.node,
        "text": describe((rejection,)),
    }


def show_decision(decision: Decision) -> DecisionView:
    """What was decided, and why."""
    placed = decision.node is not None
    return {
        "node": decision.node,
        "policy": decision.policy,
        "score": decision.score if placed else None,
        "runners_up": [{"node": n, "score": s} for n, s in decision.runners_up],
        "feasible": decision.feasible,
        "rejections": [show_rejection(r) for r in decision.rejections],
        "error": decision.error,
        "text": decision_text(decision),
    }


def decision_text(decision: Decision) -> str:
    """The whole of a decision in a sentence."""
    if decision.node is None:
        return why_pending(decision)
    text = f"{decision.node} scores {decision.score:.4g} under {decision.policy}"
    if decision.runners_up:
        name, score = decision.runners_up[0]
        text += f", best of {decision.feasible} nodes that fit; next is {name} with {score:.4g}"
    elif decision.feasible == 1:
        text += ", the only node that fits"
    elif decision.feasible:
        text += f"; {decision.feasible} nodes fit"
    return text + (", with its whole job, which is kept together" if decision.whole else "")


# --- tasks and services ------------------------------------------------------------------


def show_task(task: Task) -> TaskView:
    """One task."""
    spec = task.spec
    return {
        "id": task.id,
        "job": task.job,
        "service": task.service,
        "index": task.index,
        "kind": str(spec.kind),
        "image": spec.image,
        "version": task.version,
        "state": str(task.state),
        "then": task.then if task.state is State.STOPPING else None,
        "since": show_time(task.since),
        "reason": task_reason(task),
        "node": task.node,
        "attempt": task.attempt,
        "restart": task.restart,
        "restarting": is_restarting(task),
        "healthy": task.healthy,
        "ready": is_ready(task),
        "exit_code": task.exit_code,
        "retry_at": None if task.retry_at is None else show_time(task.retry_at),
        "not_before": show_time(task.not_before) if _is_delayed(task) else None,
        "reschedules": task.reschedules,
        "failures": len(task.failures),
        "ports": _task_ports(task),
        "gpus": list(task.gpus) if task.state.placed else [],
        "container": task.handle,
        "needs": show_needs(spec),
        "revision": task.revision,
        "decision": None if task.decision is None else show_decision(task.decision),
    }


def is_ready(task: Task) -> bool:
    """Does it do what it is for: runs, healthy where that is checked, or has completed?"""
    if task.state is State.COMPLETED:
        return True
    if task.state is not State.RUNNING or task.phase != Phase.RUNNING:
        return False
    return task.healthy is True if task.spec.has_health else task.healthy is not False


def is_restarting(task: Task) -> bool:
    """Did its run end, and will its worker start it again?"""
    return task.state in (State.SCHEDULED, State.RUNNING) and task.phase == Phase.ENDED


def task_reason(task: Task) -> str:
    """Why it is where it is."""
    decision = task.decision
    waits = task.state is State.PENDING and decision is not None and decision.node is None
    if task.reason or not waits:
        return task.reason
    assert decision is not None
    return decision_text(decision)


def _is_delayed(task: Task) -> bool:
    return task.state is State.PENDING and task.not_before > 0


def _task_ports(task: Task) -> list[PortView]:
    if task.ports:
        return [
            {"container": p.container, "host": p.host, "protocol": p.protocol} for p in task.ports
        ]
    return _asked_ports(task.spec.ports)


def _asked_ports(ports: Iterable[Port]) -> list[PortView]:
    return [{"container": p.container, "host": p.host, "protocol": p.protocol} for p in ports]


def show_service(spec: TaskSpec, tasks: Sequence[Task]) -> ServiceView:
    """One service with the tasks that it has."""
    return {
        "name": spec.name,
        "kind": str(spec.kind),
        "image": spec.image,
        "command": None if spec.command is None else list(spec.command),
        "environment": dict(masked(spec.environment)),
        "instances": len(tasks) if spec.kind.is_global else spec.instances,
        "states": show_states(tasks),
        "ready": sum(map(is_ready, tasks)),
        "needs": show_needs(spec),
        "limits": {"cpu_milli": spec.cpu_limit_milli, "memory_mib": spec.memory_limit_mib},
        "ports": _asked_ports(spec.ports),
        "volumes": [mount_text(m) for m in spec.mounts],
        "constraints": [str(c) for c in spec.constraints],
        "depends_on": [d.service for d in spec.depends_on],
    }


def mount_text(mount: Mount) -> str:
    """A mount as Compose writes it."""
    if mount.kind == "tmpfs":
        return f"tmpfs:{mount.target}"
    parts = [mount.source, mount.target] if mount.source else [mount.target]
    return ":".join([*parts, "ro"] if mount.read_only else parts)


def show_states(tasks: Iterable[Task]) -> dict[str, int]:
    """Tasks by state, in the order of a task's life."""
    count = Counter(t.state for t in tasks)
    return {str(state): count[state] for state in State if count[state]}


# --- events and order -------------------------------------------------------------------


def show_event(event: Event) -> EventView:
    """One line of history."""
    return {
        "epoch": event.epoch,
        "revision": event.revision,
        "at": show_time(event.at),
        "kind": event.kind,
        "text": event.text,
        "job": event.job,
        "task": event.task,
        "node": event.node,
    }


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts `node-10` and `web/10` after `node-2` and `web/2`."""
    parts = name.replace("-", "/").split("/")
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)
