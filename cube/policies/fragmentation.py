"""Fragmentation gradient descent: a task goes where it makes least of the free GPUs useless.

Owns the measure of fragmentation and the mix of typical tasks that it is measured by. Source:
Q. Weng et al., *Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation
Gradient Descent*, USENIX ATC 2023.

A typical task cannot use a node's free GPUs at all if its CPU or its GPUs do not fit there, or if
it needs none; else it cannot use the devices that are too full for it. With N typical tasks a
node's fragmentation is the mean over them of the thousandths that they cannot use:

    F = total - 1/N * sum over groups q of  tasks_q(CPU that is free) * usable_q(devices)

where a group are the tasks that need equal GPUs. N * F is a whole number, so F is exact.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from cube.fleet import Fleet, Floats, Ints, Mask, Rows
from cube.policies.policy import Policy, PolicyError
from cube.spec import WHOLE_GPU_MILLI, Demand, GpuNeed

Spec = tuple[int, GpuNeed | None]  # a task's CPU and GPUs: what fragmentation looks at

# The authors' scores are int(100 * sigmoid(x)): x is at least the k-th of these for score k.
_LEVELS: Final = np.array([math.log(k / (100 - k)) for k in range(1, 100)])


class Fgd(Policy):
    """Least new fragmentation: score = F once the task is placed - F, in thousandths of a GPU.

    Of the devices of a node a share gets the one that fragments least. Which tasks are typical is
    learnt from those that are placed, unless `expect` says it beforehand: the most frequent ones
    that make up the share `coverage` of all.

    `rounded=True` takes the score in the authors' hundred steps, -int(100 * sigmoid(-score/1000)).
    """

    name = "fgd"
    row_local = True

    def __init__(self, coverage: float = 0.95, rounded: bool = False) -> None:
        super().__init__(coverage=coverage, rounded=rounded)
        number = isinstance(coverage, int | float) and not isinstance(coverage, bool)
        if not number or not 0 < coverage <= 1:
            raise PolicyError(
                f"policy fgd: coverage must be a number above 0 and at most 1, not {coverage!r}"
            )
        self._coverage = coverage
        self._rounded = rounded
        self._learns = True
        self._seen: Counter[Spec] = Counter()
        self._learn_at = 1  # placements, by which the mix is taken anew
        self._mix = Mix({})
        self._version = 0  # of the mix

    def expect(self, tasks: Mapping[Demand, int]) -> None:
        """Take the mix from these tasks with how many there are of each, and learn no more."""
        self._learns = False
        self._seen = Counter()
        for demand, count in tasks.items():
            self._seen[demand.cpu_milli, demand.gpu] += count
        self._take_mix()

    def _take_mix(self) -> None:
        self._mix = Mix(typical(self._seen, self._coverage))
        self._version += 1

    def basis(self, fleet: Fleet) -> Hashable:
        """Which mix it is."""
        return self._version

    def score(self, fleet: Fleet, demand: Demand, rows: Rows) -> Floats:
        """How much more of the free GPUs is fragmented."""
        return self._cost(self._added(fleet, demand, rows).min(axis=1))

    def gpus(self, fleet: Fleet, row: int, demand: Demand) -> tuple[int, ...]:
        """Whole devices in order; of a share's candidates the one that scores best."""
        if demand.gpu is None or demand.gpu.milli == WHOLE_GPU_MILLI:
            return super().gpus(fleet, row, demand)
        added = self._added(fleet, demand, np.array([row]))[0]
        return (int(self._cost(added).argmin()),)

    def _cost(self, added: Ints) -> Floats:
        """The score of N times the added fragmentation."""
        cost: Floats = added / max(1, self._mix.tasks)
        if self._rounded:
            return -np.searchsorted(_LEVELS, -cost / 1000.0, side="right").astype(np.float64)
        return cost

    def placed(self, fleet: Fleet, row: int, demand: Demand) -> None:
        """Learn, ever more rarely."""
        if not self._learns:
            return
        self._seen[demand.cpu_milli, demand.gpu] += 1
        if self._seen.total() >= self._learn_at:
            self._learn_at = 2 * self._seen.total()
            self._take_mix()

    def _added(self, fleet: Fleet, demand: Demand, rows: Rows) -> Ints:
        """N times the fragmentation that is added, shape (len(rows), candidates).

        A share has a candidate per device, `_NEVER` where it does not fit; all others have one.
        """
        mix, need = self._mix, demand.gpu
        cpu = fleet.cpu_free_milli[rows]
        free = fleet.devices.free_at(rows)
        groups = mix.groups(fleet)
        allowed = groups.allows[fleet.devices.models_at(rows)]  # (rows, devices, groups)
        usable = _Usable(groups, free, allowed)
        before = mix.fragmented(cpu, free.sum(axis=1), usable.total())
        left = cpu - demand.cpu_milli
        if need is not None and need.milli < WHOLE_GPU_MILLI:
            fits = fleet.devices.fits_at(need, rows)
            after = np.full(free.shape, _NEVER)
            at, device = np.nonzero(fits)
            total = free.sum(axis=1)[at] - need.milli
            one = usable.less(at, device, need.milli)
            after[at, device] = mix.fragmented(left[at], total, one) - before[at]
            return after
        if need is not None:
            fits = fleet.devices.fits_at(need, rows)
            taken = fits & (np.cumsum(fits, axis=1) <= need.count)
            free = np.where(taken, 0, free)
            usable = _Usable(groups, free, allowed)
        after = mix.fragmented(left, free.sum(axis=1), usable.total()) - before
        return after[:, np.newaxis]


_NEVER: Final = np.int64(2**62)


def typical(seen: Mapping[Spec, int], coverage: float) -> dict[Spec, int]:
    """The most frequent that make up `coverage` of all; of equally frequent the larger first."""
    ranked = sorted(seen.items(), key=lambda item: (item[1], _rank(item[0])), reverse=True)
    wanted, found = coverage * sum(seen.values()), 0
    mix: dict[Spec, int] = {}
    for spec, count in ranked:
        if found >= wanted:
            break
        mix[spec] = count
        found += count
    return mix


def _rank(spec: Spec) -> tuple[int, int, int, tuple[str, ...]]:
    cpu, need = spec
    return (cpu, 0, 0, ()) if need is None else (cpu, need.milli, need.count, need.models)


@dataclass(frozen=True)
class Groups:
    """The GPUs that typical tasks need, as arrays over groups."""

    count: Ints
    milli: Ints
    allows: Mask  # shape (models + 1, groups): may a device of that model serve the group?


class Mix:
    """Typical tasks with their numbers, arranged for whole columns of nodes."""

    def __init__(self, mix: Mapping[Spec, int]) -> None:
        self.tasks = sum(mix.values())
        needs = {need: q for q, need in enumerate(dict.fromkeys(n for _, n in mix if n))}
        self._needs = list(needs)
        self._cpus = np.array(sorted({cpu for cpu, need in mix if need}), np.int64)
        exactly = np.zeros((len(self._cpus) + 1, len(needs)), np.int64)
        for (cpu, need), count in mix.items():
            if need is not None:
                exactly[1 + np.searchsorted(self._cpus, cpu), needs[need]] += count
        self._up_to = exactly.cumsum(axis=0)  # tasks of a group that need no more than that CPU
        self._groups: Groups | None = None

    def groups(self, fleet: Fleet) -> Groups:
        """The groups, on this fleet's models."""
        models = fleet.devices.models
        if self._groups is None or len(self._groups.allows) != len(models) + 1:
            allows = np.zeros((len(models) + 1, len(self._needs)), np.bool_)
            for q, need in enumerate(self._needs):
                allows[1:, q] = [not need.models or model in need.models for model in models]
            count = np.array([need.count for need in self._needs], np.int64)
            milli = np.array([need.milli for need in self._needs], np.int64)
            self._groups = Groups(count, milli, allows)
        return self._groups

    def fragmented(self, cpu_free: Ints, total: Ints, usable: Ints) -> Ints:
        """N * F.

        Args:
            cpu_free: free CPU, shape (n,).
            total: free GPUs in thousandths, shape (n,).
            usable: what each group could use of them if its CPU fits, shape (n, groups).
        """
        fitting = self._up_to[np.searchsorted(self._cpus, cpu_free, side="right")]
        used: Ints = (fitting * usable).sum(axis=1)
        return self.tasks * total - used


class _Usable:
    """What each group could use of the devices of each row."""

    def __init__(self, groups: Groups, free: Ints, allowed: Mask) -> None:
        self._groups = groups
        self._free = free
        self._allowed = allowed
        fits = allowed & (free[:, :, np.newaxis] >= groups.milli)
        self._devices: Ints = np.count_nonzero(fits, axis=1)
        self._sum: Ints = (free[:, :, np.newaxis] * fits).sum(axis=1)

    def total(self) -> Ints:
        """Thousandths, shape (rows, groups)."""
        return np.where(self._devices >= self._groups.count, self._sum, 0)

    def less(self, at: Rows, device: Rows, milli: int) -> Ints:
        """The same once `milli` of one device of each of the rows `at` is taken."""
        had = self._free[at, device][:, np.newaxis]
        allowed = self._allowed[at, device]
        fitted = allowed & (had >= self._groups.milli)
        fits = allowed & (had - milli >= self._groups.milli)
        devices = self._devices[at] - fitted + fits
        total = self._sum[at] - had * fitted + (had - milli) * fits
        return np.where(devices >= self._groups.count, total, 0)
