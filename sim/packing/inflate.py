"""What a policy leaves room for: tasks come and none leaves, until they ask for k % of everything.

Tasks are drawn with replacement from those of a cell. Told are how much was placed of what came,
how full machines are on the way, and when a task of each class was first turned away. After Weng
et al., *Beware of Fragmentation*, USENIX ATC 2023, whose Monte-Carlo inflation this is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cube.policies import Policy
from cube.spec import Demand
from sim.packing import KINDS, pack
from sim.packing.source import Cell
from sim.streams import Streams

FULL = 0.9  # of a machine's CPU: more than this counts as crowded

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Inflated:
    """One policy with one seed. Curves have an entry per whole per cent of demand that arrived.

    Attributes:
        policy: its text.
        seed: of the tasks that came.
        resource: whose capacity the per cents are of.
        allocated: share of that capacity in use.
        crowded: machines with more than 90 % of their CPU in use.
        fullest: the largest share of any machine's CPU in use.
        placed: tasks with a place.
        arrived: tasks that came.
        first_rejected: by class, the per cent at which one was first turned away.
    """

    policy: str
    seed: int
    resource: str
    allocated: Floats
    crowded: NDArray[np.int64]
    fullest: Floats
    placed: NDArray[np.int64]
    arrived: NDArray[np.int64]
    first_rejected: dict[str, float]


def inflate(cell: Cell, policy: Policy, seed: int, until_percent: int) -> Inflated:
    """Let tasks come until they ask for `until_percent` % of the scarcest resource."""
    resource = KINDS.index(cell.scarcest)
    total = int(cell.capacity[:, resource].sum())
    chosen = _arrivals(cell, resource, until_percent / 100 * total, seed)
    needs = cell.needs[chosen]
    demands = [cell.demands[i] for i in chosen.tolist()]
    rows = pack(cell.nodes, demands, policy).rows
    arrived = 100 * np.cumsum(needs[:, resource]) / total
    return Inflated(
        str(policy),
        seed,
        cell.scarcest,
        *_curves(cell, needs, rows, arrived, resource, until_percent),
        first_rejected=_first_rejected(cell, demands, rows, arrived),
    )


def _arrivals(cell: Cell, resource: int, enough: float, seed: int) -> NDArray[np.int64]:
    """Int64[tasks]: which tasks come, in order, until their demand is enough."""
    each = cell.needs[:, resource].mean()
    count, streams = int(1.2 * enough / each) + 100, Streams(seed)
    while True:
        drawn = (streams.uniform("inflate", 0, count) * len(cell.demands)).astype(np.int64)
        demand = np.cumsum(cell.needs[drawn, resource])
        if demand[-1] >= enough:
            return drawn[: int(np.searchsorted(demand, enough)) + 1]
        count *= 2


def _curves(
    cell: Cell,
    needs: NDArray[np.int64],
    rows: NDArray[np.int64],
    arrived: Floats,
    resource: int,
    until_percent: int,
) -> tuple[Floats, NDArray[np.int64], Floats, NDArray[np.int64], NDArray[np.int64]]:
    capacity = cell.capacity
    used = np.zeros_like(capacity)
    allocated, fullest = np.zeros(until_percent + 1), np.zeros(until_percent + 1)
    crowded, placed, came = np.zeros((3, until_percent + 1), dtype=np.int64)
    edges = np.searchsorted(arrived, np.arange(until_percent + 1), side="right")
    before = 0
    for percent, until in enumerate(edges.tolist()):
        there = np.flatnonzero(rows[before:until] >= 0) + before
        np.add.at(used, rows[there], needs[there])
        share = used[:, 0] / np.maximum(capacity[:, 0], 1)
        allocated[percent] = used[:, resource].sum() / capacity[:, resource].sum()
        crowded[percent], fullest[percent] = int((share > FULL).sum()), share.max()
        placed[percent] = placed[percent - 1] + len(there) if percent else len(there)
        came[percent], before = until, until
    return allocated, crowded, fullest, placed, came


def _first_rejected(
    cell: Cell, demands: list[Demand], rows: NDArray[np.int64], arrived: Floats
) -> dict[str, float]:
    largest = max(node.cpu_milli for node in cell.nodes)
    first: dict[str, float] = {}
    for i in np.flatnonzero(rows < 0).tolist():
        first.setdefault(class_of(demands[i], largest), float(arrived[i]))
    return dict(sorted(first.items()))


def class_of(demand: Demand, largest_cpu_milli: int) -> str:
    """Its GPUs, or else its CPU as a part of the largest machine, to the next power of two."""
    if demand.gpu is not None:
        return "a share of a GPU" if demand.gpu_milli < 1000 else f"{demand.gpu.count} GPU"
    part = 1
    while part < 1024 and demand.cpu_milli * part * 2 <= largest_cpu_milli:
        part *= 2
    return f"CPU up to 1/{part}"
