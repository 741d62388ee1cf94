"""What is free but of no use: stranded capacity, fragmentation, holes, refused demand.

All are relative to the run's own workload: its mean task, its typical sizes, its classes of size.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from sim.metrics.metric import Figure
from sim.metrics.steps import Floats, Ints, demanded
from sim.metrics.window import Window, since_submit
from sim.observation import Observation

CLASSES = ("small", "medium", "large")
TYPICAL_SHARE = 0.95  # of the tasks have the sizes that fragmentation looks at
MOST_TYPICAL = 100  # sizes at most
WAITED_SECONDS = 0.1  # less is the control plane's own latency: it has not waited for room


def stranded(window: Window, resource: int) -> float:
    """Share of the capacity that stays free although another resource of its node is used up.

    A node is thought filled with the workload's mean task, cut as fine as need be, until one
    resource ends; what is then left of the others is stranded. The notion is that of Verma et al.,
    Large-scale Cluster Management at Google with Borg (EuroSys 2015), section 3.2.
    """
    need = window.seen.arrivals.demand.mean(axis=0)
    value = partial(_left_by, need=need, resource=resource)
    return _of_capacity(window, resource, window.mean(window.over_nodes(value)))


def _left_by(used: Ints, capacity: Ints, need: Floats, resource: int) -> Floats:
    free = capacity - used
    asked = need > 0
    fill = np.maximum((free[:, asked] / need[asked]).min(axis=1), 0.0)
    return np.asarray(free[:, resource] - need[resource] * fill)


def fragmentation(window: Window, resource: int) -> float:
    """Share of the capacity that is free where a task drawn from the workload does not fit.

    Weng et al., Beware of Fragmentation (USENIX ATC 2023), section 3: for each node, the expected
    amount that a typical task cannot be given, here for any resource. Typical are the most
    frequent sizes that make 95 % of the tasks (at most 100 sizes).
    """
    sizes, shares = typical(window.seen)
    value = partial(_unusable, sizes=sizes, shares=shares, resource=resource)
    return _of_capacity(window, resource, window.mean(window.over_nodes(value)))


def _unusable(used: Ints, capacity: Ints, sizes: Ints, shares: Floats, resource: int) -> Floats:
    free = capacity - used
    refused = np.zeros(len(free))
    for size, share in zip(sizes, shares.tolist(), strict=True):
        refused += share * (free < size).any(axis=1)
    return np.asarray(free[:, resource] * refused)


def typical(seen: Observation) -> tuple[Ints, Floats]:
    """Int64[k, resources] of the most frequent sizes, and float64[k], their shares (sum 1)."""
    sizes, counts = np.unique(seen.arrivals.demand, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    covered = np.cumsum(counts[order]) / counts.sum()
    kept = order[: min(int(np.searchsorted(covered, TYPICAL_SHARE)) + 1, MOST_TYPICAL)]
    return sizes[kept], counts[kept] / counts[kept].sum()


def hole_filling(window: Window, size_class: int) -> float:
    """How many more tasks of the class's most frequent size would fit; NaN: no such tasks.

    Verma, Korupolu, Wilkes, Evaluating Job Packing in Warehouse-scale Computing (CLUSTER 2014).
    """
    mine = size_classes(window.seen) == size_class
    if not mine.any():
        return math.nan
    sizes, counts = np.unique(window.seen.arrivals.demand[mine], axis=0, return_counts=True)
    return window.mean(window.over_nodes(partial(_holes, size=sizes[counts.argmax()])))


def _holes(used: Ints, capacity: Ints, size: Ints) -> Floats:
    asked = size > 0
    return np.asarray(((capacity - used)[:, asked] // size[asked]).min(axis=1), dtype=np.float64)


def first_rejected(window: Window, size_class: int) -> Figure:
    """The demand, as a share of the capacity, at which a task of the class first found no room.

    Demand is that of all tasks present, of the resource of which most is asked. Looks at the whole
    run, since the demand rises while the cluster fills. Where none was refused the largest demand
    that one met is a lower bound (`censored` 1). NaN: no such tasks.
    """
    seen = window.seen
    mine = size_classes(seen) == size_class
    if not mine.any():
        return Figure(math.nan)
    waits = since_submit(seen, seen.placed_micros)
    refused = mine & (waits > WAITED_SECONDS)
    at = seen.arrivals.at_micros
    if refused.any():
        return Figure(float(_demand(seen, at[refused][:1])[0]))
    return Figure(float(_demand(seen, at[mine]).max()), censored=1)


def _demand(seen: Observation, micros: Ints) -> Floats:
    """The largest over resources of demand / capacity, at those times."""
    capacity = seen.capacity.sum(axis=0)
    shares = [demanded(seen, r).at(micros) / c for r, c in enumerate(capacity.tolist()) if c]
    return np.asarray(np.max(shares, axis=0))


def size_classes(seen: Observation) -> Ints:
    """Int64[tasks], places in `CLASSES`: the smallest tasks that make a third of all demand, ...

    Size is the dominant share, the largest over resources of demand / capacity of the cluster.
    """
    capacity = np.maximum(seen.capacity.sum(axis=0), 1)
    sizes, shape, counts = np.unique(
        seen.arrivals.demand, axis=0, return_inverse=True, return_counts=True
    )
    share = (sizes / capacity).max(axis=1)
    order = np.argsort(share, kind="stable")
    demand = (share * counts)[order]
    middle = (np.cumsum(demand) - demand / 2) / max(float(demand.sum()), np.finfo(float).tiny)
    classes = np.empty(len(sizes), dtype=np.int64)
    third = np.floor(np.round(middle * len(CLASSES), 9)).astype(np.int64)
    classes[order] = np.minimum(third, len(CLASSES) - 1)
    return np.asarray(classes[shape.ravel()])


def _of_capacity(window: Window, resource: int, amount: float) -> float:
    capacity = float(window.seen.capacity[:, resource].sum())
    return amount / capacity if capacity else math.nan
