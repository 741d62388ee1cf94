"""What `reproduce epvm` assumes: scenarios drawn from the ranges of `epvm.toml`.

Owns the machines and jobs of each scenario. Knows no policy and no result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from sim.arrivals import Arrivals, jobs_of, micros
from sim.cluster import Cluster, NodeGroup
from sim.description import Count, Description, Positive, Whole
from sim.durations import Durations
from sim.machine import Machine
from sim.scenario import Control, Scenario, parse_as
from sim.streams import Streams
from sim.workload import StartLatency, Workload

OVERCOMMIT = 100  # nodes offer so many times what they have: the paper refuses no job
JOB_MILLI = 1000  # a job alone takes all of a machine's cycles
MB = 1000  # of memory, in our units: no size is rounded by more than a thousandth


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
