"""E-PVM against round robin under contention, after Amir et al., IEEE TPDS 11(7), 2000.

Draws scenarios from the ranges of `epvm.toml` (what the paper leaves open), runs each under every
policy through the whole control plane, and sums up. What is assumed and what is known:
docs/reproductions.md. Nothing here is fitted to the published figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

import joblib
import numpy as np
from numpy.typing import NDArray

from cube.fleet import Fleet
from cube.policies import Policy, make_policy, policy
from cube.spec import Demand
from sim.arrivals import Arrivals, jobs_of, micros
from sim.cluster import Cluster, NodeGroup
from sim.description import Count, Description, Positive, Whole
from sim.durations import Durations
from sim.machine import Machine
from sim.scenario import Control, Scenario, parse_as
from sim.simulation import Progress, Simulation
from sim.statistics import Interval, interval
from sim.streams import Streams
from sim.workload import StartLatency, Workload

OVERCOMMIT = 100  # nodes offer so many times what they have: the paper refuses no job
JOB_MILLI = 1000  # a job alone takes all of a machine's cycles
MB = 1000  # of memory, in our units: no size is rounded by more than a thousandth
PUBLISHED = {"round-robin": 14.08, "differential": 10.7, "epvm": 9.6}
JUDGED = ("round-robin", "epvm-paper", "epvm")  # in the published order, worst first
ALL = ("round-robin", "differential", "epvm-paper", "epvm")
CUT = 0.25  # the least by which E-PVM must be below round robin


class Range(Description):
    """What a scenario draws a value from."""

    low: float
    high: float
    log: bool = False

    def at(self, uniform: float) -> float:
        """The value at a share of the way."""
        if self.log:
            return self.low * math.pow(self.high / self.low, uniform)
        return self.low + (self.high - self.low) * uniform


class WholeRange(Description):
    """The same for whole numbers, both ends included."""

    low: Whole
    high: Whole

    def at(self, uniform: float) -> int:
        """The value at a share of the way."""
        return min(self.high, self.low + int(uniform * (self.high - self.low + 1)))


class MachineType(Description):
    """One kind of machine."""

    name: str
    speed: Positive
    memory_mb: Count
    count: WholeRange


class Ranges(Description):
    """What is drawn for each scenario; the file says what each means."""

    load: Range
    work_alpha: Range
    work_limit: Range
    memory_alpha: Range
    memory_mean: Range
    memory_limit: Range
    jobs_full: Range


class Assumptions(Description):
    """`epvm.toml`."""

    scenarios: Count
    full_scenarios: Count
    jobs: Count
    thrash_factor: Positive
    machines: tuple[MachineType, ...]
    ranges: Ranges


def assumptions() -> Assumptions:
    """What was assumed before the first comparison."""
    text = files("sim.reproduce").joinpath("epvm.toml").read_text("utf-8")
    return parse_as(Assumptions, text, "epvm.toml")


@dataclass(frozen=True)
class Drawn:
    """One scenario with its jobs and what was drawn for it."""

    values: dict[str, float]
    scenario: Scenario
    arrivals: Arrivals


def draw(assumed: Assumptions, number: int) -> Drawn:
    """Scenario `number` of the space: the same in every run."""
    streams = Streams(number)
    uniform = iter(streams.generator("assumption").random(64).tolist())
    counts = [(kind, kind.count.at(next(uniform))) for kind in assumed.machines]
    there = [(kind, count) for kind, count in counts if count]
    values = {name: getattr(assumed.ranges, name).at(next(uniform)) for name in Ranges.model_fields}
    values["machines"] = float(sum(count for _, count in there))
    scenario = Scenario(
        name=f"epvm-{number}",
        seeds=(number,),
        warm_up=0.0,
        cluster=Cluster(groups=tuple(_group(kind, n, values["jobs_full"]) for kind, n in there)),
        workload=Workload(start=StartLatency(least_seconds=0.0, most_seconds=0.0)),
        machine=Machine(cpu="shared", memory="thrash", thrash_factor=assumed.thrash_factor),
        control=Control(reports_per_second=0.1),
    )
    return Drawn(values, scenario, _jobs(assumed.jobs, there, values, streams))


def _group(kind: MachineType, count: int, jobs_full: float) -> NodeGroup:
    return NodeGroup(
        name=kind.name,
        count=count,
        cpu_milli=round(OVERCOMMIT * jobs_full * kind.speed * JOB_MILLI),
        memory_mib=OVERCOMMIT * kind.memory_mb * MB,
        real_cpu_milli=JOB_MILLI,
        real_memory_mib=kind.memory_mb * MB,
        speed=kind.speed,
    )


def _jobs(
    jobs: int, there: list[tuple[MachineType, int]], values: dict[str, float], streams: Streams
) -> Arrivals:
    machines = sum(count for _, count in there)
    speed = sum(kind.speed * count for kind, count in there)
    memory_mb = sum(kind.memory_mb * count for kind, count in there) / machines
    mean_seconds = 10.0  # sets the unit of time, nothing else
    work = Durations(
        family="pareto",
        mean_seconds=mean_seconds,
        limit_seconds=mean_seconds * values["work_limit"],
        alpha=values["work_alpha"],
    ).draw(streams, jobs)
    most_mb = min(kind.memory_mb for kind, _ in there) * values["memory_limit"]
    memory = _memory(values, memory_mb, most_mb, jobs, streams)
    rate = values["load"] * speed / mean_seconds
    sizes, shape = np.unique(memory, return_inverse=True)
    nothing = np.zeros(jobs, dtype=np.int64)
    return Arrivals(
        at_micros=micros(np.cumsum(streams.exponential("arrival", 0, jobs)) / rate),
        shape=shape.astype(np.int64),
        start_micros=nothing,
        run_micros=micros(work),
        exit_code=nothing,
        sizes=np.stack([np.full_like(sizes, JOB_MILLI), sizes, np.zeros_like(sizes)], axis=1),
        first=jobs_of(jobs, 1),
    )


def _memory(
    values: dict[str, float], machine_mb: float, most_mb: float, jobs: int, streams: Streams
) -> NDArray[np.int64]:
    """Int64[jobs] of our units: Pareto with the mean asked for after the cut."""
    mean_mb = min(values["memory_mean"] * machine_mb, 0.9 * most_mb)
    tail = Durations(
        family="pareto", mean_seconds=mean_mb, limit_seconds=most_mb, alpha=values["memory_alpha"]
    )
    power, scale = -1 / values["memory_alpha"], tail.scale_seconds
    drawn = streams.uniform("memory", 0, jobs).tolist()
    sizes = [min(most_mb, scale * math.pow(1.0 - u, power)) for u in drawn]
    return np.asarray(np.maximum(1, np.rint(np.array(sizes) * MB)), dtype=np.int64)


@policy(row_local=True)
def differential(
    fleet: Fleet, task: Demand, rows: NDArray[np.intp], *, machines: int = 2
) -> NDArray[np.float64]:
    """Where a job of infinitesimal size would cost least: the slope of E-PVM's cost.

    Infinitesimal means the same small share of the mean machine's CPU and memory. Source: the
    authors' slides, where the slope stands in for sizes that nobody knows in advance.
    """
    base = math.log(machines) * OVERCOMMIT
    total = np.zeros(len(rows))
    for used, size in (
        (fleet.cpu_used_milli, fleet.cpu_milli),
        (fleet.memory_used_mib, fleet.memory_mib),
    ):
        there = size[rows]
        powers = [math.exp(base * u) for u in (used[rows] / there).tolist()]
        total = total + np.array(powers) / (there / size.mean())
    return total


def policies(machines: int) -> dict[str, Policy]:
    """By short name, for a cluster of so many machines: full is what they have, not offer."""
    n = max(2, machines)
    texts = {
        "round-robin": make_policy("round-robin"),
        "differential": make_policy(differential(machines=n)),
        "epvm-paper": make_policy(f"epvm-paper(overcommit={OVERCOMMIT})"),
        "epvm": make_policy(f"epvm(base={float(n) ** OVERCOMMIT!r})"),
    }
    assert tuple(texts) == ALL
    return texts


@dataclass(frozen=True)
class Line:
    """One scenario: what was drawn, and the mean slowdown under each policy."""

    number: int
    values: dict[str, float]
    slowdown: dict[str, float]
    digest: str


def work(number: int, assumed: Assumptions) -> Line:
    """Run one scenario under every policy."""
    drawn = draw(assumed, number)
    slowdown = {}
    for name, tried in policies(drawn.scenario.cluster.count).items():
        seen = Simulation(drawn.scenario, tried, drawn.arrivals, number).run()
        assert seen.final.all(), f"scenario {number} under {name} has no end"
        held = seen.ended_micros - drawn.arrivals.at_micros
        slowdown[name] = float((held / drawn.arrivals.run_micros).mean())
    return Line(number, drawn.values, slowdown, drawn.arrivals.digest)


@dataclass(frozen=True)
class Result:
    """All scenarios."""

    lines: tuple[Line, ...]

    def mean(self, name: str) -> Interval:
        """Mean slowdown over scenarios."""
        return interval([line.slowdown[name] for line in self.lines])

    def share(self, name: str) -> float:
        """The mean slowdown as a share of round robin's."""
        return self.mean(name).mean / self.mean("round-robin").mean

    def median(self, name: str) -> float:
        """Of the scenarios' mean slowdowns."""
        return float(np.median([line.slowdown[name] for line in self.lines]))

    @property
    def cut(self) -> Interval:
        """1 - E-PVM / round robin of the means; the interval by the delta method."""
        robin = np.array([line.slowdown["round-robin"] for line in self.lines])
        epvm = np.array([line.slowdown["epvm"] for line in self.lines])
        ratio = float(epvm.mean() / robin.mean())
        spread = interval(((epvm - ratio * robin) / robin.mean()).tolist())
        half = (spread.high - spread.low) / 2
        return Interval(1 - ratio, 1 - ratio - half, 1 - ratio + half, len(self.lines))

    @property
    def order_holds(self) -> bool:
        """Are the means in the published order?"""
        means = [self.mean(name).mean for name in JUDGED]
        return means == sorted(means, reverse=True)

    def failing(self) -> dict[str, float]:
        """The share of scenarios in which each part of the published result does not show."""
        found = [tuple(line.slowdown[name] for name in JUDGED) for line in self.lines]
        parts = {
            "round robin is not the worst": [robin <= max(a, b) for robin, a, b in found],
            "E-PVM is not the best": [epvm >= min(a, b) for a, b, epvm in found],
            "the order does not hold": [not a > b > c for a, b, c in found],
            f"E-PVM is less than {CUT:.0%} below round robin": [
                epvm > (1 - CUT) * robin for robin, _, epvm in found
            ],
        }
        return {part: sum(fails) / len(found) for part, fails in parts.items()}


def reproduce(scenarios: int, processes: int = 1, progress: Progress = lambda done: None) -> Result:
    """Run scenarios 1 to `scenarios`; `progress` is told how many are done."""
    lines: list[Line] = []
    for line in _lines(scenarios, processes):
        lines.append(line)
        progress(len(lines))
    return Result(tuple(sorted(lines, key=lambda line: line.number)))


def _lines(scenarios: int, processes: int) -> Iterator[Line]:
    assumed, numbers = assumptions(), range(1, scenarios + 1)
    if processes == 1:
        yield from (work(number, assumed) for number in numbers)
        return
    with joblib.parallel_config(backend="loky", n_jobs=processes, inner_max_num_threads=1):
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
        yield from parallel(joblib.delayed(work)(number, assumed) for number in numbers)
