"""The sizes of a run's tasks: which there are, how frequent, and what is small or large.

All are relative to the run's own workload and cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.metrics.steps import Floats, Ints
from sim.observation import Observation

CLASSES = ("small", "medium", "large")
TYPICAL_SHARE = 0.95  # of the tasks have a typical size
MOST_TYPICAL = 100  # sizes at most


@dataclass(frozen=True)
class Sizes:
    """Each size once.

    Args:
        sizes: int64[k, resources].
        counts: int64[k], tasks of each.
        of_task: int64[tasks], which size each task has.
        classes: int64[k], places in `CLASSES`.
    """

    sizes: Ints
    counts: Ints
    of_task: Ints
    classes: Ints

    @classmethod
    def of(cls, seen: Observation) -> Sizes:
        """Those of a run."""
        arrivals = seen.arrivals
        used = np.bincount(arrivals.shape, minlength=len(arrivals.sizes))
        sizes, place = np.unique(arrivals.sizes, axis=0, return_inverse=True)
        place = place.ravel()
        counts = np.bincount(place, weights=used, minlength=len(sizes)).astype(np.int64)
        return cls(sizes, counts, place[arrivals.shape], _classes(seen, sizes, counts))

    def typical(self) -> tuple[Ints, Floats]:
        """Int64[k, resources] of the most frequent sizes, and float64[k], their shares (sum 1)."""
        order = np.argsort(-self.counts, kind="stable")
        covered = np.cumsum(self.counts[order]) / self.counts.sum()
        kept = order[: min(int(np.searchsorted(covered, TYPICAL_SHARE)) + 1, MOST_TYPICAL)]
        return self.sizes[kept], self.counts[kept] / self.counts[kept].sum()

    def most_frequent(self, size_class: int) -> Ints | None:
        """Int64[resources]: the most frequent size of a class; None if it has no task."""
        counts = np.where(self.classes == size_class, self.counts, 0)
        return self.sizes[counts.argmax()] if counts.any() else None

    def class_of_task(self) -> Ints:
        """Int64[tasks], places in `CLASSES`."""
        return np.asarray(self.classes[self.of_task])


def _classes(seen: Observation, sizes: Ints, counts: Ints) -> Ints:
    """The smallest tasks that make a third of all demand are small, the largest that do large.

    Size is the dominant share, the largest over resources of demand / capacity of the cluster; a
    size belongs where the middle of what its tasks ask for lies.
    """
    share = (sizes / np.maximum(seen.capacity.sum(axis=0), 1)).max(axis=1)
    order = np.argsort(share, kind="stable")
    demand = (share * counts)[order]
    middle = (np.cumsum(demand) - demand / 2) / max(float(demand.sum()), np.finfo(float).tiny)
    third = np.floor(np.round(middle * len(CLASSES), 9)).astype(np.int64)
    classes = np.empty(len(sizes), dtype=np.int64)
    classes[order] = np.minimum(third, len(CLASSES) - 1)
    return classes
