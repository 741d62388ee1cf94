"""Powers of node loads, kept true row by row: the one place where policies exponentiate.

NumPy's `power` and `exp` round differently for scalars, for arrays and with AVX-512, so that a
cached score might differ from a fresh one in its last bit, and two machines might place a task
differently. Here every power is one call of the C library's `pow` or `expm1`, whatever the number
of rows; all else is exact or rounds once, as IEEE 754 says.
"""

from __future__ import annotations

import math
from itertools import repeat
from typing import Final, NamedTuple, TypeAlias, cast

import numpy as np

from cube.fleet import Fleet, Floats, Rows
from cube.spec import Demand

_LOG_MOST: Final = 250 * math.log(10)  # more would overflow


Sizes: TypeAlias = tuple[int, int, int, int]  # CPU, memory, disk, GPU


class Load(NamedTuple):
    """How loaded a node is: the share used of some resources, and of a number of jobs.

    Powers are one table, with a row for each of `resources` and one more where jobs count.
    """

    base: float
    resources: tuple[int, ...]  # 0 CPU, 1 memory, 2 disk, 3 GPU
    jobs_limit: int = 0  # jobs that count as full; 0: jobs are not counted
    jobs_weight: float = 1.0

    @property
    def dimensions(self) -> int:
        """How many shares there are."""
        return len(self.resources) + (self.jobs_limit > 0)

    def factors(self, demand: Demand, size: Sizes) -> list[float]:
        """By what each dimension's power rises with the demand: `base ** (d / c) - 1`, weighted."""
        log = math.log(self.base)
        needs = (*demand.size, demand.gpu_milli)
        rises = [_rise(needs[r], size[r], log) for r in self.resources]
        if self.jobs_limit:
            rises.append(self.jobs_weight * _rise(1, self.jobs_limit, log))
        return rises


def _rise(need: int, size: int, log: float) -> float:
    if not need:
        return 0.0
    return math.expm1(min(need / size * log, _LOG_MOST)) if size else math.exp(_LOG_MOST)


def power(base: float, exponent: float) -> float:
    """`base ** exponent`; what is too large for a float is infinite."""
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf


def powers(base: float, exponents: Floats) -> Floats:
    """`base ** exponent` for each, bit for bit the same however many there are."""
    return np.array(list(map(power, repeat(base), exponents.tolist())), np.float64)


class Powers:
    """`base ** load` by dimension and row; after a change only the changed rows are raised anew."""

    def __init__(self, fleet: Fleet, load: Load) -> None:
        self.fleet = fleet
        self.load = load
        self._raise_all()

    def at(self, rows: Rows) -> Floats:
        """The powers of `rows`, shape (len(rows), dimensions)."""
        fleet = self.fleet
        if self._seen != fleet.revision:
            changed = fleet.rows_since(self._seen)
            if changed is None or changed.size > fleet.count or fleet.capacity != self._capacity:
                self._raise_all()
            else:
                self._raise(set(changed.tolist()))
        return self._table.take(rows, axis=0)

    def _raise_all(self) -> None:
        fleet, load = self.fleet, self.load
        self._capacity, self._seen = fleet.capacity, fleet.revision
        self._table = np.ones((fleet.capacity, load.dimensions))
        self._cells = [cast("memoryview[float]", dimension.data) for dimension in self._table.T]
        self._resources = [  # jobs come last, if at all
            (fleet.size_cells[r], fleet.free_cells[r], cells)
            for r, cells in zip(load.resources, self._cells, strict=False)
        ]
        shares = []
        for r in load.resources:
            size, free = fleet.size_columns[r], fleet.free_columns[r]
            shares.append(np.where(size > 0, (size - free) / np.maximum(size, 1), 0.0))
        if load.jobs_limit:
            shares.append(fleet.tasks / load.jobs_limit)
        for dimension, share in zip(self._table.T, shares, strict=True):
            dimension[: fleet.count] = powers(load.base, share)

    def _raise(self, rows: set[int]) -> None:
        fleet, base, jobs_limit = self.fleet, self.load.base, self.load.jobs_limit
        for row in rows:
            for size, free, cells in self._resources:
                capacity = size[row]
                try:
                    cells[row] = math.pow(base, (capacity - free[row]) / capacity)
                except ZeroDivisionError:  # a resource that the node lacks is not loaded
                    cells[row] = 1.0
                except OverflowError:
                    cells[row] = math.inf
            if jobs_limit:
                self._cells[-1][row] = power(base, fleet.tasks_of(row) / jobs_limit)
        self._seen = fleet.revision
