"""Functions of time that are constant between changes, and their exact integrals.

Nothing is sampled: what nodes hold changes only when a task takes or frees resources, so every sum
over nodes is a step function with a step at each change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.observation import NEVER, Observation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK = 1 << 16  # changes that are looked at together: bounds the memory of intermediate values


@dataclass(frozen=True)
class Steps:
    """A function of time: `values[i]` from `micros[i]` on, until `micros[i + 1]`."""

    micros: Ints
    values: Floats

    def integral(self, edges: Ints) -> Floats:
        """Float64[len(edges)] of the integral from the first change to each edge, in value·µs."""
        areas = np.diff(self.micros) * self.values[:-1]
        until = np.concatenate(([0.0], np.cumsum(areas)))
        at = np.maximum(np.searchsorted(self.micros, edges, side="right") - 1, 0)
        beyond = np.maximum(edges - self.micros[at], 0)
        return np.asarray(until[at] + beyond * self.values[at])

    def means(self, edges: Ints) -> Floats:
        """Float64[len(edges) - 1] of time-weighted means between neighbouring edges."""
        widths = np.maximum(np.diff(edges), 1)
        return np.asarray(np.diff(self.integral(edges)) / widths)

    def largest(self, first: int, last: int) -> float:
        """The largest value that holds for some time between two times."""
        lengths = np.diff(np.clip(np.append(self.micros, last), first, last))
        held = self.values[lengths > 0]
        return float(held.max()) if held.size else float(self.values[-1])

    def at(self, micros: Ints) -> Floats:
        """The values just after those times."""
        return self.values[np.searchsorted(self.micros, micros, side="right") - 1]


def amounts(seen: Observation, resource: int) -> Ints:
    """Int64[changes]: what each change takes (positive) or frees of a resource."""
    return np.asarray(seen.arrivals.demand[seen.change_task, resource] * seen.change_sign)


def levels_total(seen: Observation, resource: int) -> Steps:
    """What all tasks together reserve of a resource, in its unit."""
    return from_changes(seen, np.cumsum(amounts(seen, resource)))


def from_changes(seen: Observation, values: Floats | Ints, first: float = 0.0) -> Steps:
    """`first` at time 0, then `values` from each change on.

    Of changes at the same time the last one counts, since steps have no width.
    """
    start = np.zeros(1, dtype=np.int64)
    micros = np.concatenate((start, seen.change_micros))
    return Steps(micros, np.concatenate(([first], np.asarray(values, dtype=np.float64))))


def level_before(seen: Observation) -> Ints:
    """Int64[changes, resources]: what each change's row held just before it."""
    rows = seen.change_row
    order = np.argsort(rows, kind="stable")
    firsts = np.flatnonzero(np.diff(rows[order], prepend=-1))
    lengths = np.diff(np.append(firsts, len(rows)))
    before = np.empty((len(rows), seen.capacity.shape[1]), dtype=np.int64)
    for resource in range(before.shape[1]):
        taken = amounts(seen, resource)[order]
        sums = np.cumsum(taken) - taken
        before[order, resource] = sums - np.repeat(sums[firsts], lengths)
    return before


def over_nodes(seen: Observation, before: Ints, value: Callable[[Ints, Ints], Floats]) -> Steps:
    """The sum over nodes of `value(used, capacity)`, both int64[n, resources]."""
    gains = np.empty(len(before))
    for start in range(0, len(before), _BLOCK):
        part = slice(start, start + _BLOCK)
        capacity = seen.capacity[seen.change_row[part]]
        demand = seen.arrivals.demand[seen.change_task[part]]
        after = before[part] + demand * seen.change_sign[part, None]
        gains[part] = value(after, capacity) - value(before[part], capacity)
    empty = float(value(np.zeros_like(seen.capacity), seen.capacity).sum())
    return from_changes(seen, empty + np.cumsum(gains), empty)


def demanded(seen: Observation, resource: int) -> Steps:
    """What all tasks that have arrived and not ended ask for, placed or not, in its unit."""
    asked = seen.arrivals.demand[:, resource]
    ended = seen.ended_micros != NEVER
    micros = np.concatenate((seen.arrivals.at_micros, seen.ended_micros[ended]))
    changes = np.concatenate((asked, -asked[ended]))
    order = np.argsort(micros, kind="stable")
    start = np.zeros(1, dtype=np.int64)
    return Steps(
        np.concatenate((start, micros[order])),
        np.concatenate(([0.0], np.cumsum(changes[order]))),
    )
