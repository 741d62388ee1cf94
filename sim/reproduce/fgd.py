"""Weng et al., *Beware of Fragmentation* (USENIX ATC 2023): how much GPU is allocated, and by whom.

The trace's pods come in a random order, some of them again or some of them not, until the GPUs that
arrived are 130 % of those that there are; each is placed or left out, and none leaves. The figure
is the share of GPUs allocated when 130 % have arrived.

Owns the workload, the runs and the figure. The authors' choices that matter: nodes are permuted
once, and of nodes with equal scores the first wins; the figure at k % is the mean over the arrivals
at which the arrived GPUs, rounded, are k % of capacity; typical pods are those of the trace.
"""

from __future__ import annotations

import math
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cube.messages import NodeInfo
from cube.policies import Fgd, Policy, make_policy
from cube.spec import WHOLE_GPU_MILLI, Demand
from sim.errors import InputError
from sim.packing import pack
from sim.reproduce import heuristics
from sim.streams import Streams
from sim.traces.openb import Pod
from sim.workers import work_all

ARRIVED_PERCENT = 130  # of GPU capacity
LEAST_TOLERANCE = 0.4  # points; else three published standard deviations

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Figure(NamedTuple):
    """A published mean over seeds with its standard deviation, in %."""

    mean: float
    deviation: float

    @property
    def tolerance(self) -> float:
        """How far another mean may be from it, in points."""
        return max(3 * self.deviation, LEAST_TOLERANCE)


@dataclass(frozen=True)
class Run:
    """One policy with one seed.

    `allocated` is float64[131]: the share of GPUs allocated in %, by the share that arrived.
    """

    policy: str
    seed: int
    allocated: Floats
    placed: int
    unplaced: int
    seconds: float


@dataclass(frozen=True)
class Line:
    """One policy over all seeds, beside what was published for it."""

    policy: str
    mean: float
    deviation: float
    n: int
    published: Figure | None
    seconds: float  # of the slowest run

    @property
    def within(self) -> bool | None:
        """Is it as near as it has to be? None: nothing was published."""
        if self.published is None:
            return None
        return abs(self.mean - self.published.mean) <= self.published.tolerance


@dataclass(frozen=True)
class Result:
    """All runs on one pair of files."""

    variant: str
    nodes: int
    gpus: int
    pods: int
    runs: tuple[Run, ...]

    def lines(self) -> list[Line]:
        """One line for each policy, in the order of their runs."""
        published = figures().get(self.variant, {})
        lines = []
        for policy in dict.fromkeys(run.policy for run in self.runs):
            runs = [run for run in self.runs if run.policy == policy]
            last = [float(run.allocated[ARRIVED_PERCENT]) for run in runs]
            mean = math.fsum(last) / len(last)
            deviation = float(np.std(last, ddof=1)) if len(last) > 1 else math.nan
            slowest = max(run.seconds for run in runs)
            lines.append(Line(policy, mean, deviation, len(last), published.get(policy), slowest))
        return lines


@cache
def figures() -> dict[str, dict[str, Figure]]:
    """What was published, by variant of the pods and policy."""
    return {
        variant: {policy: Figure(*values) for policy, values in found.items()}
        for variant, found in source().items()
        if isinstance(found, dict)
    }


@cache
def source() -> dict[str, Any]:
    """The section of the published figures, with where they come from."""
    text = files("sim.reproduce").joinpath("published.toml").read_text("utf-8")
    section: dict[str, Any] = tomllib.loads(text)["fgd"]
    return section


# --- policies ----------------------------------------------------------------------------


def _fgd(pods: Sequence[Pod], seed: int) -> Policy:
    made = Fgd(rounded=True)
    made.expect(Counter(pod.demand for pod in pods))
    return made


POLICIES: dict[str, Callable[[Sequence[Pod], int], Policy]] = {
    "random": lambda pods, seed: heuristics.AnyDevice(seed),
    "dot-product": lambda pods, seed: heuristics.dot_product(),
    "best-fit": lambda pods, seed: heuristics.best_fit(),
    "fgd": _fgd,
    "epvm": lambda pods, seed: make_policy("epvm"),
    "round-robin": lambda pods, seed: make_policy("round-robin"),
}


# --- runs --------------------------------------------------------------------------------


def reproduce(
    nodes: Sequence[NodeInfo],
    pods: Sequence[Pod],
    variant: str,
    seeds: Sequence[int],
    *,
    policies: Sequence[str] = tuple(POLICIES),
    processes: int = 1,
    progress: Callable[[int], None] = lambda done: None,
) -> Result:
    """Every policy with every seed.

    Args:
        nodes: the machines.
        pods: the trace that is resampled.
        variant: what was published is looked up under this name.
        seeds: of the order of nodes and pods.
        policies: of `POLICIES`.
        processes: worked side by side; the figures do not depend on it.
        progress: told how many runs are done.

    Raises:
        InputError: there are no GPUs, or none is asked for.
    """
    gpus = sum(len(info.gpus) for info in nodes)
    if not gpus or not any(pod.demand.gpu for pod in pods):
        raise InputError("there is no GPU to allocate", "Give nodes that have, and pods that need.")
    jobs = [partial(work, nodes, pods, policy, seed) for policy in policies for seed in seeds]
    runs: list[Run] = []
    for run in work_all(jobs, processes=processes):
        runs.append(run)
        progress(len(runs))
    runs.sort(key=lambda run: (policies.index(run.policy), run.seed))
    return Result(variant, len(nodes), gpus, len(pods), tuple(runs))


def work(nodes: Sequence[NodeInfo], pods: Sequence[Pod], policy: str, seed: int) -> Run:
    """One policy with one seed."""
    streams = Streams(seed)
    order = streams.generator("nodes").permutation(len(nodes))
    capacity = WHOLE_GPU_MILLI * sum(len(info.gpus) for info in nodes)
    demands = resampled(pods, capacity * ARRIVED_PERCENT // 100, streams.generator("pods"))
    packing = pack([nodes[i] for i in order], demands, POLICIES[policy](pods, seed))
    need = np.array([demand.gpu_milli for demand in demands], np.int64)
    placed = packing.rows >= 0
    curve = allocation(need, placed, capacity)
    unplaced = int(np.count_nonzero(~placed))
    return Run(policy, seed, curve, packing.placed, unplaced, packing.seconds)


def resampled(pods: Sequence[Pod], goal_milli: int, generator: np.random.Generator) -> list[Demand]:
    """The pods in random order, then more of them drawn, or some dropped, to meet the goal.

    Args:
        pods: the trace.
        goal_milli: thousandths of GPUs, altogether; the next pod that is drawn would exceed it.
        generator: of the order and the draws.
    """
    demands = [pods[i].demand for i in generator.permutation(len(pods))]
    total = sum(demand.gpu_milli for demand in demands)
    while total > goal_milli:
        total -= demands.pop(int(generator.integers(len(demands)))).gpu_milli
    while True:
        demand = pods[int(generator.integers(len(pods)))].demand
        if total + demand.gpu_milli > goal_milli:
            return demands
        total += demand.gpu_milli
        demands.append(demand)


def allocation(need: Ints, placed: NDArray[np.bool_], capacity: int) -> Floats:
    """Allocated GPUs in % of capacity by arrived ones, float64[131].

    The mean over the arrivals at that share; where there is none, as after the one before.

    Args:
        need: thousandths of GPUs of each arrival, int64[arrivals].
        placed: whether it found a place, bool[arrivals].
        capacity: thousandths of GPUs that there are.
    """
    arrived = np.rint(np.cumsum(need) * 100 / capacity).astype(np.int64)
    allocated = np.cumsum(np.where(placed, need, 0)) * 100 / capacity
    curve = np.zeros(ARRIVED_PERCENT + 1)
    for percent in range(ARRIVED_PERCENT + 1):
        here = np.flatnonzero(arrived == percent)
        if here.size:
            curve[percent] = allocated[here].mean()
        elif percent:
            before = np.searchsorted(arrived, percent)  # arrivals are in order
            curve[percent] = allocated[before - 1] if before else 0.0
    return curve
