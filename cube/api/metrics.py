"""What the manager knows, as Prometheus reads it: tasks, nodes, what both use, and revisions.

Made anew from one snapshot for each scrape, so nothing is counted twice or kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from cube.messages import NodeRow, Snapshot
from cube.task import Node
from cube.units import BYTES_PER_MIB
from cube.views.cluster import show_usage

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
Family = GaugeMetricFamily | CounterMetricFamily


def expose(snapshot: Snapshot) -> str:
    """The snapshot in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(snapshot))
    return generate_latest(registry).decode()


class _Collector(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Family]:
        """All that is told, family by family."""
        snapshot = self._snapshot
        yield CounterMetricFamily("cube_revision", "Changes so far.", snapshot.revision)
        yield GaugeMetricFamily("cube_epoch", "Starts of managers.", snapshot.epoch)
        yield GaugeMetricFamily(
            "cube_unknown_containers", "Containers that await recovery.", len(snapshot.unknown)
        )
        states = Counter((t.job, t.service, str(t.state)) for t in snapshot.tasks)
        tasks = GaugeMetricFamily(
            "cube_tasks", "Tasks by state.", labels=("job", "service", "state")
        )
        for labels, count in sorted(states.items()):
            tasks.add_metric(labels, count)
        yield tasks
        yield from _of_nodes(snapshot)
        yield from _of_tasks(snapshot)


def _of_nodes(snapshot: Snapshot) -> Iterator[Family]:
    rows = {row.info.name: row for row in snapshot.rows}
    up = GaugeMetricFamily("cube_node_up", "1 if the node is alive.", labels=("node",))
    open_ = GaugeMetricFamily("cube_node_open", "1 if it takes new tasks.", labels=("node",))
    for node in snapshot.nodes:
        row = rows.get(node.name)
        up.add_metric((node.name,), node.state == "alive")
        open_.add_metric((node.name,), row is not None and row.open)
    yield from (up, open_)
    known = [(node, rows[node.name]) for node in snapshot.nodes if node.name in rows]
    for name, unit, factor, of in (
        ("cpu_cores", "cores", 0.001, 0),
        ("memory_bytes", "bytes", BYTES_PER_MIB, 1),
        ("disk_bytes", "bytes", BYTES_PER_MIB, 2),
    ):
        for what, about in (
            ("capacity", f"What tasks may reserve, in {unit}."),
            ("reserved", f"What tasks have reserved, in {unit}."),
            ("used", f"What the machine uses, in {unit}."),
        ):
            family = GaugeMetricFamily(f"cube_node_{what}_{name}", about, labels=("node",))
            for node, row in known:
                value = _sizes(node, row)[what]
                if value is not None:
                    family.add_metric((node.name,), value[of] * factor)
            yield family


def _sizes(node: Node, row: NodeRow) -> dict[str, tuple[int, int, int] | None]:
    """CPU in milli-cores, memory and disk in MiB; None: not measured."""
    info, machine = row.info, node.machine
    used = None
    if machine is not None:
        used = (machine.cpu_milli, machine.memory_mib, machine.disk_mib)
    return {
        "capacity": (info.cpu_milli, info.memory_mib, info.disk_mib),
        "reserved": (row.cpu_used_milli, row.memory_used_mib, row.disk_used_mib),
        "used": used,
    }


def _of_tasks(snapshot: Snapshot) -> Iterator[Family]:
    labels = ("task", "node")
    cpu = GaugeMetricFamily("cube_task_cpu_cores", "Cores that the task uses.", labels=labels)
    memory = GaugeMetricFamily("cube_task_memory_bytes", "Memory that it uses.", labels=labels)
    for use in show_usage(snapshot):
        cpu.add_metric((use["task"], use["node"]), use["cpu_milli"] * 0.001)
        memory.add_metric((use["task"], use["node"]), use["memory_mib"] * BYTES_PER_MIB)
    restarts = GaugeMetricFamily(
        "cube_task_restarts", "Restarts of its latest attempt.", labels=("task",)
    )
    for task in snapshot.tasks:
        if not task.state.final:
            restarts.add_metric((task.id,), task.restart)
    yield from (cpu, memory, restarts)
