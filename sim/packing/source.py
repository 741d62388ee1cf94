"""What `capacity` and `inflate` pack: the machines and tasks of a trace or of a scenario."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cube.messages import NodeInfo
from cube.spec import Demand
from sim.errors import InputError
from sim.packing import KINDS


@dataclass(frozen=True)
class Cell:
    """Machines, and tasks that all run at once."""

    name: str
    nodes: tuple[NodeInfo, ...]
    demands: tuple[Demand, ...]

    @property
    def capacity(self) -> NDArray[np.int64]:
        """Int64[nodes, 4]: CPU, memory, disk, GPU."""
        return np.array([size_of(node) for node in self.nodes], dtype=np.int64)

    @property
    def needs(self) -> NDArray[np.int64]:
        """Int64[tasks, 4]: CPU, memory, disk, GPU."""
        return np.array([need_of(demand) for demand in self.demands], dtype=np.int64)

    @property
    def load(self) -> dict[str, float]:
        """Demand over capacity, of each resource that there is any of."""
        totals = zip(KINDS, self.needs.sum(axis=0), self.capacity.sum(axis=0), strict=True)
        return {kind: float(need / there) for kind, need, there in totals if there}

    @property
    def scarcest(self) -> str:
        """The resource of which the largest share is asked for."""
        load = self.load
        return max(load, key=load.__getitem__)


def size_of(node: NodeInfo) -> tuple[int, int, int, int]:
    """Milli-cores, MiB, MiB, thousandths of GPUs of a machine."""
    return node.cpu_milli, node.memory_mib, node.disk_mib, 1000 * len(node.gpus)


def need_of(demand: Demand) -> tuple[int, int, int, int]:
    """The same of what a task reserves."""
    return (*demand.size, demand.gpu_milli)


def google2011(path: Path) -> Cell:
    """The tasks of Google's 2011 snapshot on the machines of its cell."""
    from sim import traces
    from sim.traces import google2011 as trace

    sizes = traces.read("google2011", path).demand.tolist()
    return Cell("google2011", trace.cluster().nodes(), _demands(sizes))


def openb(nodes: Path, pods: Path) -> Cell:
    """The pods of a file in openb's form on the machines of another."""
    from sim.traces import openb as trace

    demands = tuple(pod.demand for pod in trace.read_pods(pods))
    return Cell(pods.stem, trace.read_nodes(nodes), demands)


def scenario(name: str) -> Cell:
    """The machines and the tasks of a scenario's first seed, all at once."""
    from sim.scenario import read

    found = read(name)
    sizes = found.workload.draw(found.cluster, found.seeds[0]).demand.tolist()
    return Cell(found.name, found.cluster.nodes(), _demands(sizes))


def _demands(sizes: Sequence[Sequence[int]]) -> tuple[Demand, ...]:
    """Equal sizes share their demand."""
    known: dict[tuple[int, ...], Demand] = {}
    return tuple(known.setdefault(tuple(size), Demand(size[0], size[1], size[2])) for size in sizes)


def chosen(
    google: Path | None, nodes: Path | None, pods: Path | None, scenario_name: str | None
) -> Cell:
    """What the options name.

    Raises:
        InputError: they name none, or more than one.
    """
    both = nodes is not None and pods is not None
    if [google is not None, both, scenario_name is not None].count(True) != 1 or (
        (nodes is None) != (pods is None)
    ):
        raise InputError(
            "name one cell to pack", "Give --google FILE, --nodes and --pods, or --scenario."
        )
    if google is not None:
        return google2011(google)
    if nodes is not None and pods is not None:
        return openb(nodes, pods)
    return scenario(scenario_name or "")
