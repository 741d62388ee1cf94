"""What is free but of no use: stranded capacity, fragmentation, holes, refused demand.

All are relative to the run's own workload: its mean task, its typical sizes, its classes of size.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from sim.metrics.metric import Figure
from sim.metrics.steps import Floats, Ints
from sim.metrics.window import Window, since_submit

WAITED_SECONDS = 0.1  # less is the control plane's own latency: it has not waited for room


def stranded(window: Window, resource: int) -> float:
    """Share of the capacity that stays free although another resource of its node is used up.

    A node is thought filled with the workload's mean task, cut as fine as need be, until one
    resource ends; what is then left of the others is stranded. The notion is that of Verma et al.,
    Large-scale Cluster Management at Google with Borg (EuroSys 2015), section 3.2.
    """
    found = window.sizes
    need = np.average(found.sizes, axis=0, weights=found.counts)
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
    sizes, shares = window.sizes.typical()
    value = partial(_unusable, sizes=sizes, shares=shares, resource=resource)
    return _of_capacity(window, resource, window.mean(window.over_nodes(value)))


def _unusable(used: Ints, capacity: Ints, sizes: Ints, shares: Floats, resource: int) -> Floats:
    free = np.ascontiguousarray((capacity - used).T)
    refused = np.zeros(len(used))
    for size, share in zip(sizes.tolist(), shares.tolist(), strict=True):
        fits = [have >= need for have, need in zip(free, size, strict=True) if need]
        refused += share * ~np.logical_and.reduce(fits)
    return np.asarray(free[resource] * refused)


def hole_filling(window: Window, size_class: int) -> float:
    """How many more tasks of the class's most frequent size would fit; NaN: no such tasks.

    Verma, Korupolu, Wilkes, Evaluating Job Packing in Warehouse-scale Computing (CLUSTER 2014).
    """
    size = window.sizes.most_frequent(size_class)
    if size is None:
        return math.nan
    return window.mean(window.over_nodes(partial(_holes, size=size)))


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
    mine = window.sizes.class_of_task() == size_class
    if not mine.any():
        return Figure(math.nan)
    waits = since_submit(seen, seen.placed_micros)
    refused = mine & (waits > WAITED_SECONDS)
    at = seen.arrivals.at_micros
    if refused.any():
        return Figure(float(_demand(window, at[refused][:1])[0]))
    return Figure(float(_demand(window, at[mine]).max()), censored=1)


def _demand(window: Window, micros: Ints) -> Floats:
    """The largest over resources of demand / capacity, at those times."""
    capacity = window.seen.capacity.sum(axis=0).tolist()
    steps = zip(window.demanded, capacity, strict=True)
    return np.asarray(np.max([found.at(micros) / c for found, c in steps if c], axis=0))


def _of_capacity(window: Window, resource: int, amount: float) -> float:
    capacity = float(window.seen.capacity[:, resource].sum())
    return amount / capacity if capacity else math.nan
