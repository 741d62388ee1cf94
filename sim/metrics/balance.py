"""How full the cluster is, and how evenly: utilisation, allocation ratio, imbalance, headroom.

A resource counts as used from the manager's placement until the manager has learnt of the end.
"""

from __future__ import annotations

import heapq
import math

import numpy as np
from numpy.typing import NDArray

from sim.metrics.steps import Floats, Steps, amounts, demanded, from_changes
from sim.metrics.window import Window


def utilisation(window: Window, resource: int) -> Steps:
    """Reserved share of the cluster's capacity: sum of used / sum of capacity."""
    used = window.used(resource)
    return Steps(used.micros, used.values / max(window.seen.capacity[:, resource].sum(), 1))


def allocation_ratio(window: Window, resource: int) -> float:
    """Reserved share of what could be reserved: of the demand, or of the capacity if that is less.

    Weng et al., Beware of Fragmentation (USENIX ATC 2023), divide by the capacity, which their
    demand exceeds.
    """
    wanted = demanded(window.seen, resource)
    capacity = float(window.seen.capacity[:, resource].sum())
    could = window.mean(Steps(wanted.micros, np.minimum(wanted.values, capacity)))
    return window.mean(window.used(resource)) / could if could else math.nan


def headroom(window: Window, resource: int) -> float:
    """Share of the capacity that is free at the busiest moment of the window."""
    return 1.0 - utilisation(window, resource).largest(*window.micros)


def imbalance(window: Window, resource: int) -> Steps:
    """Coefficient of variation over nodes: deviation / mean of u_i = used_i / capacity_i.

    Population deviation; 0 while nothing is reserved. Nodes that lack the resource are left out.
    """
    mean, square = _moments(window, resource)
    deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
    return from_changes(window.seen, np.where(mean > 0, deviation / np.where(mean, mean, 1.0), 0.0))


def jain(window: Window, resource: int) -> Steps:
    """(sum u)² / (n · sum u²): 1 if all nodes are equally full, 1/n if one has all; 1 if empty.

    Jain, Chiu, Hawe, A Quantitative Measure of Fairness and Discrimination, DEC-TR-301, 1984.
    """
    mean, square = _moments(window, resource)
    values = np.where(mean > 0, mean**2 / np.where(mean, square, 1.0), 1.0)
    return from_changes(window.seen, values, 1.0)


def max_over_mean(window: Window, resource: int) -> Steps:
    """The fullest node's u_i over the mean of all; 1 while nothing is reserved."""
    mean, _ = _moments(window, resource)
    values = np.where(mean > 0, _fullest(window, resource) / np.where(mean, mean, 1.0), 1.0)
    return from_changes(window.seen, values, 1.0)


def _moments(window: Window, resource: int) -> tuple[Floats, Floats]:
    """Float64[changes] of the mean of u and of u² over nodes; exactly 0 where nothing is used."""
    before, after = _shares(window, resource)
    nodes = int((window.seen.capacity[:, resource] > 0).sum()) or 1
    used = np.cumsum(amounts(window.seen, resource)) > 0
    mean = np.where(used, np.cumsum(after - before) / nodes, 0.0)
    return mean, np.where(used, np.cumsum(after**2 - before**2) / nodes, 0.0)


def _shares(window: Window, resource: int) -> tuple[Floats, Floats]:
    """How full each change's node is before and after it; 0 where it lacks the resource."""
    capacity = window.seen.capacity[window.seen.change_row, resource]
    per_unit = np.where(capacity > 0, 1.0 / np.maximum(capacity, 1), 0.0)
    before = window.before[:, resource]
    after = before + amounts(window.seen, resource)
    return np.asarray(before * per_unit), np.asarray(after * per_unit)


def _fullest(window: Window, resource: int) -> NDArray[np.float64]:
    """The largest u after each change: a heap whose outdated entries are dropped at its top."""
    _, after = _shares(window, resource)
    current = [0.0] * len(window.seen.node_names)
    heap = [(0.0, row) for row in range(len(current))]
    largest = []
    for row, share in zip(window.seen.change_row.tolist(), after.tolist(), strict=True):
        current[row] = share
        heapq.heappush(heap, (-share, row))
        if len(heap) > 4 * len(current) + 64:
            heap = [(-u, i) for i, u in enumerate(current)]
            heapq.heapify(heap)
        while -heap[0][0] != current[heap[0][1]]:
            heapq.heappop(heap)
        largest.append(-heap[0][0])
    return np.array(largest)
