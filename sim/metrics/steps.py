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


@dataclass(frozen=True)
class Levels:
    """What each change's row holds just after it, and which change of that row came before.

    Args:
        after: int64[changes, resources].
        by_row: int64[changes], the changes row by row, each row's in order of time.
        first: bool[changes] in that order: is it the first change of its row?
    """

    after: Ints
    by_row: Ints
    first: NDArray[np.bool_]

    @classmethod
    def of(cls, seen: Observation) -> Levels:
        """Those of a run."""
        by_row = np.argsort(seen.change_row, kind="stable")
        rows = seen.change_row[by_row]
        first = np.diff(rows, prepend=-1) != 0
        starts = np.flatnonzero(first)
        lengths = np.diff(np.append(starts, len(rows)))
        after = np.empty((len(rows), seen.capacity.shape[1]), dtype=np.int64)
        for resource in range(after.shape[1]):
            taken = amounts(seen, resource)[by_row]
            sums = np.cumsum(taken)
            after[by_row, resource] = sums - np.repeat(sums[starts] - taken[starts], lengths)
        return cls(after, by_row, first)

    def gains(self, values: Floats, empty: Floats) -> Floats:
        """Float64[changes]: how much each change adds to a value of its row.

        `values` are those after each change, float64[changes]; `empty` that of each row before its
        first change, float64[changes] too.
        """
        mine = values[self.by_row]
        earlier = np.concatenate((mine[:1], mine[:-1]))
        gains = np.empty(len(values))
        gains[self.by_row] = mine - np.where(self.first, empty[self.by_row], earlier)
        return gains


def over_nodes(seen: Observation, levels: Levels, value: Callable[[Ints, Ints], Floats]) -> Steps:
    """The sum over nodes of `value(used, capacity)`, both int64[n, resources]."""
    values = np.empty(len(levels.after))
    for start in range(0, len(values), _BLOCK):
        part = slice(start, start + _BLOCK)
        values[part] = value(levels.after[part], seen.capacity[seen.change_row[part]])
    empty = value(np.zeros_like(seen.capacity), seen.capacity)
    first = float(empty.sum())
    gains = levels.gains(values, empty[seen.change_row])
    return from_changes(seen, first + np.cumsum(gains), first)


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
