"""The fit heuristics of bin packing: first fit, best fit, worst fit.

Owns three formulas. Sources: M. R. Garey, R. L. Graham, J. D. Ullman, *Worst-case analysis of
memory allocation algorithms*, STOC 1972 (first and best fit); D. S. Johnson, *Fast algorithms for
bin packing*, J. Computer and System Sciences 8, 1974 (worst fit). Sizes with several dimensions
are summed as in R. Panigrahy, K. Talwar, L. Uyeda, U. Wieder, *Heuristics for vector bin packing*,
Microsoft Research, 2011.
"""

from __future__ import annotations

import numpy as np

from cube.fleet import GPU, Fleet, Floats, Rows
from cube.policies.policy import Policy
from cube.spec import Demand


def left_over(fleet: Fleet, demand: Demand, rows: Rows) -> Floats:
    """What share of each row stays free: sum over the asked resources of (free - need) / capacity.

    Returns:
        float64, shape (len(rows),). A resource of capacity 0 counts as 1, to stay a number.
    """
    size = np.maximum(fleet.size_at(rows), 1)
    free = fleet.room_at(rows)
    left = np.zeros(len(rows))
    for resource, need in enumerate(demand.size):
        if need:
            left += (free[:, resource] - need) / size[:, resource]
    if demand.gpu is not None:
        left += (fleet.gpu_free_milli[rows] - demand.gpu_milli) / size[:, GPU]
    return left


class FirstFit(Policy):
    """The first row that fits: score = row."""

    name = "first-fit"
    row_local = True

    def score(self, fleet: Fleet, demand: Demand, rows: Rows) -> Floats:
        """The row's number."""
        return rows.astype(np.float64)


class BestFit(Policy):
    """The row that is left with the least: score = sum_r (free_r - need_r) / capacity_r."""

    name = "best-fit"
    row_local = True

    def score(self, fleet: Fleet, demand: Demand, rows: Rows) -> Floats:
        """What stays free."""
        return left_over(fleet, demand, rows)


class WorstFit(Policy):
    """The row that is left with the most: score = -sum_r (free_r - need_r) / capacity_r."""

    name = "worst-fit"
    row_local = True

    def score(self, fleet: Fleet, demand: Demand, rows: Rows) -> Floats:
        """What stays free, negated."""
        return -left_over(fleet, demand, rows)
