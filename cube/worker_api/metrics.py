"""What one node runs and uses, as Prometheus reads it; named as in the manager's own figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from cube.messages import Report
from cube.units import BYTES_PER_MIB
from cube.worker_api.state import task_name

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


def expose(report: Report) -> str:
    """A whole report in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(report))
    return generate_latest(registry).decode()


class _Collector(Collector):
    def __init__(self, report: Report) -> None:
        self._report = report

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All that is told, family by family."""
        report, node = self._report, self._report.node
        up = GaugeMetricFamily("cube_engine_up", "1 if the engine answers.", labels=("node",))
        up.add_metric((node,), not report.engine_error)
        runs = GaugeMetricFamily("cube_runs", "Runs by phase.", labels=("node", "phase"))
        for phase, count in sorted(Counter(f.phase.name.lower() for f in report.facts).items()):
            runs.add_metric((node, phase), count)
        yield from (up, runs)
        yield from self._machine()
        labels = ("task", "node")
        cpu = GaugeMetricFamily("cube_task_cpu_cores", "Cores that the task uses.", labels=labels)
        memory = GaugeMetricFamily("cube_task_memory_bytes", "Memory that it uses.", labels=labels)
        for use in report.usage:
            cpu.add_metric((task_name(use.uid), node), use.cpu_milli * 0.001)
            memory.add_metric((task_name(use.uid), node), use.memory_mib * BYTES_PER_MIB)
        yield from (cpu, memory)

    def _machine(self) -> Iterator[GaugeMetricFamily]:
        machine = self._report.machine
        if machine is None:
            return
        for name, unit, value in (
            ("cpu_cores", "cores", machine.cpu_milli * 0.001),
            ("memory_bytes", "bytes", machine.memory_mib * BYTES_PER_MIB),
            ("disk_bytes", "bytes", machine.disk_mib * BYTES_PER_MIB),
        ):
            about = f"What the machine uses, in {unit}."
            family = GaugeMetricFamily(f"cube_node_used_{name}", about, labels=("node",))
            family.add_metric((self._report.node,), value)
            yield family
