"""The two resource scores of Kubernetes' scheduler, in its whole numbers from 0 to 100.

Owns two formulas. Source: Kubernetes 1.31, `pkg/scheduler/framework/plugins/noderesources`,
`least_allocated.go` and `most_allocated.go`, with the default resources: CPU and memory, each with
weight 1. Kubernetes adds scores of other plugins; of equal nodes it takes any, Cube the first.
"""

from __future__ import annotations

import numpy as np

from cube.fleet import Fleet, Floats, Ints, Rows
from cube.policies.policy import policy
from cube.spec import Demand

MOST = 100  # Kubernetes' MaxNodeScore


@policy(row_local=True)
def least_allocated(fleet: Fleet, task: Demand, rows: Rows) -> Floats:
    """The emptiest node: - mean over CPU and memory of (capacity - requested) * 100 / capacity."""
    size, requested = _requested(fleet, task, rows)
    score = np.where(requested <= size, (size - requested) * MOST // np.maximum(size, 1), 0)
    return _negated_mean(score)


@policy(row_local=True)
def most_allocated(fleet: Fleet, task: Demand, rows: Rows) -> Floats:
    """The fullest node: - mean over CPU and memory of requested * 100 / capacity."""
    size, requested = _requested(fleet, task, rows)
    score = np.where(size > 0, np.minimum(requested, size) * MOST // np.maximum(size, 1), 0)
    return _negated_mean(score)


def _requested(fleet: Fleet, task: Demand, rows: Rows) -> tuple[Ints, Ints]:
    """Capacity, and what is requested of it with the task; int64, shape (len(rows), 2)."""
    size = fleet.size_at(rows)[:, :2]
    return size, size - fleet.room_at(rows)[:, :2] + np.array(task.size[:2], np.int64)


def _negated_mean(score: Ints) -> Floats:
    """Whole numbers throughout, as in Kubernetes: the mean is rounded down as well."""
    mean: Ints = score.sum(axis=1) // score.shape[1]
    return -mean.astype(np.float64)
