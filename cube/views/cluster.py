"""The cluster and its nodes as users are shown them: pure functions, from a `Snapshot`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias

from cube import __version__
from cube.messages import Fact, NodeRow, Snapshot
from cube.secrets import masked
from cube.spec import WHOLE_GPU_MILLI
from cube.task import MachineUse, Node
from cube.views.shapes import (
    ClusterView,
    MachineView,
    NodeView,
    RecoveryView,
    UnknownView,
    UsageView,
)
from cube.views.show import natural, show_needs, show_size, show_states, show_time

Size: TypeAlias = tuple[int, int, int, int]  # CPU, memory, disk, GPU

NO_SIZE: Size = (0, 0, 0, 0)


def show_node(node: Node, row: NodeRow | None) -> NodeView:
    """One node; `row` None: it has not told what it offers."""
    capacity, used = (NO_SIZE, NO_SIZE) if row is None else (_capacity(row), _used(row))
    cpu, memory, disk, gpu = (c - u for c, u in zip(capacity, used, strict=True))
    return {
        "name": node.name,
        "state": str(node.state),
        "open": row is not None and row.open,
        "since": show_time(node.since),
        "heard": show_time(node.heard),
        "engine": node.engine,
        "host": "" if row is None else row.info.host,
        "address": "" if row is None else row.info.address,
        "datacenter": node.datacenter,
        "labels": dict(masked(node.labels)),
        "note": node.note,
        "draining": node.draining,
        "deadline": None if node.deadline is None else show_time(node.deadline),
        "tasks": 0 if row is None else row.tasks,
        "capacity": show_size(capacity),
        "used": show_size(used),
        "free": show_size((cpu, memory, disk, gpu)),
        "gpus": [] if row is None else list(row.info.gpus),
        "cpu_load_milli": 0 if row is None else row.cpu_load_milli,
        "machine": None if node.machine is None else _show_machine(node.machine),
        "ports": [] if row is None else [f"{port}/{protocol}" for port, protocol in row.ports],
    }


def _show_machine(use: MachineUse) -> MachineView:
    return {
        "used": show_size((use.cpu_milli, use.memory_mib, use.disk_mib, 0)),
        "capacity": show_size((use.cpu_of_milli, use.memory_of_mib, use.disk_of_mib, 0)),
        "shared": use.shared,
    }


def show_usage(snapshot: Snapshot) -> list[UsageView]:
    """What tasks use, by name; those that nobody has measured are left out."""
    tasks = {(task.uid, task.attempt): task for task in snapshot.tasks if task.state.placed}
    found: list[UsageView] = []
    for node in snapshot.nodes:
        for use in node.usage:
            task = tasks.get((use.uid, use.attempt))
            if task is None or task.node != node.name:
                continue
            found.append(
                {
                    "task": task.id,
                    "node": node.name,
                    "cpu_milli": use.cpu_milli,
                    "memory_mib": use.memory_mib,
                    "needs": show_needs(task.spec),
                }
            )
    return sorted(found, key=lambda view: natural(view["task"]))


def _capacity(row: NodeRow) -> Size:
    info = row.info
    gpu = WHOLE_GPU_MILLI * sum(map(bool, info.gpus))
    return (info.cpu_milli, info.memory_mib, info.disk_mib, gpu)


def _used(row: NodeRow) -> Size:
    gpu = sum(row.gpu_used_milli)
    return (row.cpu_used_milli, row.memory_used_mib, row.disk_used_mib, gpu)


def show_nodes(snapshot: Snapshot) -> list[NodeView]:
    """All nodes, by name."""
    rows = {row.info.name: row for row in snapshot.rows}
    nodes = sorted(snapshot.nodes, key=lambda n: natural(n.name))
    return [show_node(node, rows.get(node.name)) for node in nodes]


def show_cluster(snapshot: Snapshot) -> ClusterView:
    """The cluster as a whole. Capacity counts the nodes that take new tasks."""
    is_open = [row for row in snapshot.rows if row.open]
    nodes = Counter(str(node.state) for node in snapshot.nodes)
    return {
        "cluster": snapshot.cluster,
        "version": __version__,
        "epoch": snapshot.epoch,
        "revision": snapshot.revision,
        "now": show_time(snapshot.now),
        "policy": snapshot.policy,
        "note": snapshot.note,
        "jobs": len(snapshot.jobs),
        "tasks": show_states(snapshot.tasks),
        "nodes": dict(sorted(nodes.items())),
        "capacity": show_size(_total(map(_capacity, is_open))),
        "used": show_size(_total(map(_used, is_open))),
        "unknown": len(snapshot.unknown),
    }


def _total(sizes: Iterable[Size]) -> Size:
    cpu, memory, disk, gpu = map(sum, zip(NO_SIZE, *sizes, strict=True))
    return (cpu, memory, disk, gpu)


def show_recovery(snapshot: Snapshot) -> RecoveryView:
    """Containers that the store never knew."""
    unknown = [_show_unknown(node, fact) for node, fact in snapshot.unknown]
    return {"note": snapshot.note, "unknown": unknown}


def _show_unknown(node: str, fact: Fact) -> UnknownView:
    return {
        "node": node,
        "task": fact.uid.partition("@")[0],
        "container": fact.handle,
        "state": fact.phase.name.lower(),
        "image": "" if fact.spec is None else fact.spec.image,
        "needs": show_size((*fact.size, len(fact.gpus) * fact.gpu_milli)),
    }
