"""Google's 2011 trace: the tasks that are there at its beginning, and the machines of the cell.

Sizes are shares of the largest machine; `UNIT` of ours make one. Source: Reiss, Wilkes,
Hellerstein, *Google cluster-usage traces: format + schema*, 2011 (ClusterData 2011 v2); machines:
Reiss et al., *Heterogeneity and Dynamicity of Clouds at Scale*, SoCC 2012, table 1.
"""

from __future__ import annotations

from pathlib import Path

from sim.arrivals import Arrivals
from sim.cluster import Cluster, NodeGroup
from sim.traces.lines import Gathered, lines, wrong

WHAT = "Google 2011: tasks alive at the beginning (task_events of time 0, `;`-separated)"
WHERE = "https://github.com/google/cluster-data (ClusterData 2011 v2, CC-BY 4.0)"
UNIT = 1_000_000  # milli-cores, and MiB, of the largest machine
FIELDS = 10
TRACE_SECONDS = 29 * 86_400.0  # nobody knows when these tasks ended: not before the trace did
TIME, CPU, MEMORY = 0, 8, 9

_MACHINES = (  # how many, CPU, memory
    (6732, 0.50, 0.50),
    (3863, 0.50, 0.25),
    (1001, 0.50, 0.75),
    (795, 1.00, 1.00),
    (126, 0.25, 0.25),
    (52, 0.50, 0.12),
    (5, 0.50, 0.03),
    (5, 0.50, 0.97),
    (3, 1.00, 0.50),
    (1, 0.50, 0.06),
)


def cluster() -> Cluster:
    """The 12,583 machines of the cell, in ten types."""
    return Cluster(
        groups=tuple(
            NodeGroup(
                name=f"cpu{round(cpu * 100)}-memory{round(memory * 100)}",
                count=count,
                cpu_milli=round(cpu * UNIT),
                memory_mib=round(memory * UNIT),
            )
            for count, cpu, memory in _MACHINES
        )
    )


def read(path: Path) -> Arrivals:
    """The tasks, all there at time 0 in the order of the file; none ends within the trace.

    Raises:
        InputError: a line has another number of fields, or sizes that make no sense.
    """
    gathered = Gathered(path)
    for number, line in lines(path):
        words = line.split(";")
        if len(words) != FIELDS:
            raise wrong(path, number, f"a task has {FIELDS} fields, this line {len(words)}")
        try:
            cpu, memory = float(words[CPU]), float(words[MEMORY])
        except ValueError as error:
            raise wrong(path, number, f"not a number: {error}") from None
        if not (0 <= cpu <= 1 and 0 <= memory <= 1):
            raise wrong(path, number, f"sizes are shares of a machine, not {cpu:g} and {memory:g}")
        size = (round(cpu * UNIT), round(memory * UNIT), 0)
        gathered.add(number, 0.0, TRACE_SECONDS, size)
    return gathered.arrivals()
