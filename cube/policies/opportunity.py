"""E-PVM: a task goes where it raises the cluster's cost least, in three versions.

Owns the formula and the powers in it. Source: Y. Amir, B. Awerbuch, A. Barak, R. S. Borgstrom,
A. Keren, *An Opportunity Cost Approach for Job Assignment in a Scalable Computing Cluster*,
IEEE Transactions on Parallel and Distributed Systems 11(7), 2000.

A node costs `sum_r b ** (used_r / capacity_r)`, so a task that needs `d_r` costs it

    sum_r  b ** ((used_r + d_r) / capacity_r)  -  b ** (used_r / capacity_r)
  = sum_r  b ** (used_r / capacity_r)  *  (b ** (d_r / capacity_r) - 1).

The first factor changes when the row does, the second never: one power per changed row and
resource is all that a placement costs. See `cube.policies.powers`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable
from typing import Final

import numpy as np

from cube.fleet import Fleet, Floats, Rows
from cube.policies.policy import Policy, PolicyError
from cube.policies.powers import Load, Powers
from cube.spec import Demand

LIEB_SQUARE_ICE: Final = 1.5396007178390020  # (4/3) ** 1.5
_MOST_TABLES = 256  # demands whose factors are kept


class OpportunityCost(Policy):
    """The marginal cost of an exponential load function, over some dimensions of a node."""

    row_local = True

    def __init__(self, **parameters: object) -> None:
        super().__init__(**parameters)
        self._costs: dict[int, MarginalCosts] = {}  # by number of dimensions

    @abstractmethod
    def load(self, fleet: Fleet, demand: Demand | None = None) -> Load:
        """How load is measured now for such a demand; by default for one without GPUs."""

    def basis(self, fleet: Fleet) -> Hashable:
        """The base, and the number of jobs that counts as full."""
        return self.load(fleet)

    def score(self, fleet: Fleet, demand: Demand, rows: Rows) -> Floats:
        """The marginal cost; a row too small for the task costs what is beyond its capacity."""
        return self._costs_of(fleet, self.load(fleet, demand)).of(demand, rows)

    def _costs_of(self, fleet: Fleet, load: Load) -> MarginalCosts:
        costs = self._costs.get(load.dimensions)
        if costs is None or costs.fleet is not fleet or costs.load is not load:
            costs = self._costs[load.dimensions] = MarginalCosts(fleet, load)
        return costs


class MarginalCosts:
    """What tasks cost on the rows of one fleet, under one measure of load."""

    def __init__(self, fleet: Fleet, load: Load) -> None:
        self.fleet = fleet
        self.load = load
        self._powers = Powers(fleet, load)
        self._factors: dict[tuple[int, ...], Floats] = {}  # by demand

    def of(self, demand: Demand, rows: Rows) -> Floats:
        """The marginal cost of `demand` on `rows`, shape (len(rows),)."""
        fleet = self.fleet
        size = demand.size if demand.gpu is None else (*demand.size, demand.gpu_milli)
        factors = self._factors.get(size)
        if factors is None or len(factors) != fleet.kind_count:
            factors = self._factor(demand, size)
        terms = (self._powers.at(rows) * factors.take(fleet.kind_at(rows), axis=0)).T
        total: Floats = terms[0]
        for term in terms[1:]:  # in this order, which NumPy's own sums do not promise
            total = total + term
        return total

    def _factor(self, demand: Demand, size: tuple[int, ...]) -> Floats:
        """`b ** (d / c) - 1`, shape (kinds of node, dimensions)."""
        if len(self._factors) >= _MOST_TABLES:
            self._factors.clear()
        factors = np.array([self.load.factors(demand, kind) for kind in self.fleet.kinds])
        self._factors[size] = factors
        return factors


class Epvm(OpportunityCost):
    """E-PVM over CPU, memory, disk and GPU, with n nodes: `b = n`, or the `base` given.

    score = sum_r  b ** ((used_r + need_r) / capacity_r)  -  b ** (used_r / capacity_r)

    This is the paper's cost with all sizes known. A cluster of one counts as two nodes.
    """

    name = "epvm"

    def __init__(self, base: float | None = None) -> None:
        super().__init__(base=base)
        self._base = None if base is None else _checked(self.name, "base", base, 1)
        self._loads = _loads(self._base or 2.0)

    def load(self, fleet: Fleet, demand: Demand | None = None) -> Load:
        """All resources that are needed, by the number of nodes unless a base was given."""
        base = self._base or max(2, fleet.count)
        if base != self._loads[0].base:
            self._loads = _loads(base)
        return self._loads[demand is not None and demand.gpu is not None]


def _loads(base: float) -> tuple[Load, Load]:
    """Without and with GPUs: what a task does not need adds nothing, and is left out."""
    return Load(base, (0, 1, 2)), Load(base, (0, 1, 2, 3))


class EpvmPaper(OpportunityCost):
    """E-PVM as the paper runs it, where a job's CPU need is unknown: CPU load is a count of jobs.

    score =   n ** ((memory_used + memory_need) / memory)  -  n ** (memory_used / memory)
            + n ** ((jobs + 1) / max_jobs)                 -  n ** (jobs / max_jobs)

    The most jobs that a node can hold is discovered: `max_jobs` starts at 1 and doubles whenever
    a node is seen to have more. Where nodes offer `overcommit` times the memory that they have,
    it is what they have that counts: the base of the memory's power is n ** overcommit.
    """

    name = "epvm-paper"

    def __init__(self, max_jobs: int = 1, overcommit: int = 1) -> None:
        super().__init__(max_jobs=max_jobs, overcommit=overcommit)
        self.max_jobs = int(_checked(self.name, "max_jobs", max_jobs, 0))
        self._overcommit = int(_checked(self.name, "overcommit", overcommit, 0))
        self._fleet: Fleet | None = None
        self._seen = 0  # the revision up to which rows were looked at
        self._load = Load(2.0, (1,), self.max_jobs)

    def load(self, fleet: Fleet, demand: Demand | None = None) -> Load:
        """Memory, and jobs out of the most that were ever seen on a node."""
        if fleet is not self._fleet or fleet.revision != self._seen:
            self._discover(fleet)
        load = self._load
        base = float(max(2, fleet.count)) ** self._overcommit
        limit = self.max_jobs * self._overcommit
        if load.base != base or load.jobs_limit != limit:
            load = self._load = Load(base, (1,), limit)
        return load

    def _discover(self, fleet: Fleet) -> None:
        changed = fleet.rows_since(self._seen) if fleet is self._fleet else None
        tasks = fleet.tasks if changed is None else fleet.tasks.take(changed)
        self._fleet, self._seen = fleet, fleet.revision
        most = int(tasks.max(initial=0))
        while most > self.max_jobs:
            self.max_jobs *= 2


class EpvmBook(OpportunityCost):
    """The teaching version, kept so that its difference can be shown.

    With L = 1.5396 (Lieb's square ice constant) instead of n, and a fixed `max_jobs` = 4:

    memory = L ** ((memory_used + memory_need) / memory)  -  L ** (memory_used / memory)  +  jobs
    cpu    = L ** load  -  L ** load  +  jobs
    jobs   = L ** ((tasks + 1) / max_jobs)  -  L ** (tasks / max_jobs)
    score  = memory + cpu

    The CPU terms cancel, so CPU plays no part, and the job term counts twice. `max_jobs` is only a
    divisor: it refuses nobody. Source: T. Boring, *Build an Orchestrator in Go (From Scratch)*,
    Manning, chapter 10. It counts measured memory besides the allocated; here only what is
    allocated counts, so that the version can be compared with the others.
    """

    name = "epvm-book"

    def __init__(self, base: float = LIEB_SQUARE_ICE, max_jobs: int = 4) -> None:
        super().__init__(base=base, max_jobs=max_jobs)
        checked = _checked(self.name, "base", base, 1), _checked(self.name, "max_jobs", max_jobs, 0)
        self._load = Load(checked[0], (1,), int(checked[1]), jobs_weight=2.0)

    def load(self, fleet: Fleet, demand: Demand | None = None) -> Load:
        """Memory, and twice the jobs."""
        return self._load


def _checked(name: str, parameter: str, value: float, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > least:
        raise PolicyError(f"policy {name}: {parameter} must be a number above {least:g}, "
                          f"not {value!r}")  # fmt: skip
    return float(value)
