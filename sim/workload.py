"""Which tasks arrive when, how large they are, how long they truly run and what they truly use.

`Workload` describes; `Workload.draw` gives the arrivals of one seed as columns. They depend on
the seed and the cluster's capacity only, never on a policy: `Arrivals.digest` proves it.

Offered load. With capacity C_r of resource r, mean demand d_r, mean time h for which a task holds
its resources (start latency + run) and arrival rate a (tasks/s), the load of r is a·d_r·h / C_r.
`load` fixes the rate so that the scarcest resource, the one whose C_r/d_r is least, has it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from sim import traces
from sim.arrivals import MICROS as MICROS
from sim.arrivals import Arrivals as Arrivals
from sim.arrivals import Ints, jobs_of, micros
from sim.cluster import RESOURCES, Cluster
from sim.description import Count, Description, Positive, Seconds, Share, Whole
from sim.durations import Durations
from sim.errors import InputError
from sim.images import Images
from sim.processes import Bursts, Waves
from sim.sizes import DEFAULT_SHAPES as DEFAULT_SHAPES
from sim.sizes import HeavyTail
from sim.sizes import Shape as Shape
from sim.streams import Streams


class StartLatency(Description):
    """Seconds from a worker's word to its engine until the task runs: uniform between two."""

    least_seconds: Seconds = 0.5
    most_seconds: Seconds = 1.5

    @model_validator(mode="after")
    def _in_order(self) -> StartLatency:
        if self.least_seconds > self.most_seconds:
            raise ValueError("least_seconds is above most_seconds")
        return self

    @property
    def mean_seconds(self) -> float:
        """The middle."""
        return (self.least_seconds + self.most_seconds) / 2


class Usage(Description):
    """What tasks truly use, as shares of what they reserve: uniform between two, each.

    Felt only where the machines' CPU or memory is shared (`[machine]`).
    """

    cpu_least: Positive = 1.0
    cpu_most: Positive = 1.0
    memory_least: Positive = 1.0
    memory_most: Positive = 1.0

    @model_validator(mode="after")
    def _in_order(self) -> Usage:
        if self.cpu_least > self.cpu_most or self.memory_least > self.memory_most:
            raise ValueError("the least is above the most")
        return self


class Trace(Description):
    """A file of real tasks; see `python -m sim traces`."""

    format: traces.Name
    path: str  # from the folder in which the simulator is called


class Workload(Description):
    """A stream of batch tasks, as jobs of `tasks_per_job` equal ones, or those of a trace.

    Of a trace come times, sizes and exit codes; start latency and usage are drawn here too.
    """

    arrivals: Literal["poisson", "waves", "bursts", "trace"] = "poisson"
    trace: Trace | None = None
    tasks: Count = 20_000
    load: Annotated[float, Field(strict=True, gt=0, le=100)] = 0.85
    tasks_per_job: Count = 1
    prefill: Share = 0.0  # of the tasks that run in equilibrium: there from the start
    failure_share: Share = 0.0  # tasks that end with exit code 1
    retries: Whole = 0  # times that a failed task is placed anew
    durations: Durations = Durations()
    start: StartLatency = StartLatency()
    waves: Waves = Waves()
    bursts: Bursts = Bursts()
    images: Images | None = None  # None: there is nothing to pull
    usage: Usage | None = None  # None: exactly what is reserved
    sizes: HeavyTail | None = None  # replaces the shapes
    shapes: Annotated[tuple[Shape, ...], Field(min_length=1)] = DEFAULT_SHAPES

    @classmethod
    def poisson(cls, **parameters: object) -> Workload:
        """Jobs arrive at random at a constant rate; parameters are the fields of this class.

        Raises:
            InputError: there is no such field, or its value makes no sense.
        """
        workload: Workload = cls().but(**parameters, arrivals="poisson")
        return workload

    @property
    def all_shapes(self) -> tuple[Shape, ...]:
        """The shapes that tasks have."""
        return self.shapes if self.sizes is None else self.sizes.shapes()

    @property
    def hold_seconds(self) -> float:
        """Mean time for which a task holds its resources."""
        return float(self.durations.mean_seconds + self.start.mean_seconds)

    @model_validator(mode="after")
    def _trace_is_there(self) -> Workload:
        if (self.arrivals == "trace") != (self.trace is not None):
            raise ValueError('arrivals = "trace" and a table [workload.trace] go together')
        return self

    def rate(self, cluster: Cluster) -> tuple[float, str]:
        """Tasks per second that offer `load` (a trace: its own), and the scarcest resource."""
        if self.trace is not None:
            return _rate_of(traces.read(self.trace.format, Path(self.trace.path)), cluster)
        shapes = self.all_shapes
        demand = np.average(_sizes(shapes), axis=0, weights=[s.weight for s in shapes]).tolist()
        capacity = cluster.capacity().sum(axis=0).tolist()
        rates = {
            resource: self.load * have / (need * self.hold_seconds)
            for resource, have, need in zip(RESOURCES, capacity, demand, strict=True)
            if need > 0
        }
        scarcest = min(rates, key=rates.__getitem__)
        return rates[scarcest], scarcest

    def draw(self, cluster: Cluster, seed: int) -> Arrivals:
        """The arrivals of one seed.

        Raises:
            InputError: the cluster lacks a resource that every task needs, or more tasks would
                be there from the start than there are.
        """
        if self.trace is not None:
            return self._replayed(self.trace, Streams(seed))
        rate, scarcest = self.rate(cluster)
        if rate == 0:
            raise InputError(f"the nodes have no {scarcest}", "Give them some or ask for none.")
        streams, n = Streams(seed), self.tasks
        first = jobs_of(n, self.tasks_per_job)
        job_of = np.arange(n) // self.tasks_per_job
        jobs = len(first) - 1
        there = self._there_from_the_start(rate)
        shapes = self.all_shapes
        shape = self._choose(shapes, streams.uniform("shape", 0, jobs))[job_of]
        sizes = _sizes(shapes)
        failed = streams.uniform("failure", 0, n) < self.failure_share
        run = self.durations.draw(streams, n)
        rest = min(n, there * self.tasks_per_job)
        run[:rest] = self.durations.residual(streams.uniform("residual", 0, rest))
        used_cpu, used_memory = self._used(sizes[shape], streams)
        return Arrivals(
            at_micros=micros(self._times(streams, jobs, there, rate))[job_of],
            shape=shape,
            start_micros=self._starts(streams, n),
            run_micros=np.maximum(1, micros(run)),
            exit_code=failed.astype(np.int64),
            sizes=sizes,
            first=first,
            image=self._images_of(streams, job_of),
            retries=self.retries,
            used_cpu_milli=used_cpu,
            used_memory_mib=used_memory,
        )

    def _images_of(self, streams: Streams, job_of: Ints) -> Ints:
        if self.images is None:
            return np.empty(0, np.int64)
        return self.images.choose(streams, int(job_of[-1]) + 1)[job_of]

    def _replayed(self, trace: Trace, streams: Streams) -> Arrivals:
        """The tasks of a trace."""
        read = traces.read(trace.format, Path(trace.path))
        used_cpu, used_memory = self._used(read.demand, streams)
        return replace(
            read,
            start_micros=self._starts(streams, len(read)),
            used_cpu_milli=used_cpu,
            used_memory_mib=used_memory,
            image=self._images_of(streams, np.repeat(np.arange(read.jobs), np.diff(read.first))),
            retries=self.retries,
        )

    def _starts(self, streams: Streams, tasks: int) -> Ints:
        least, most = self.start.least_seconds, self.start.most_seconds
        return micros(least + (most - least) * streams.uniform("start", 0, tasks))

    def _there_from_the_start(self, rate: float) -> int:
        """Jobs that arrive at time 0: Little's law says how many tasks run in equilibrium."""
        tasks = self.prefill * rate * self.hold_seconds
        if tasks > self.tasks:
            raise InputError(
                f"{tasks:.0f} tasks would be there from the start, of {self.tasks}",
                "Lower `prefill` or raise `tasks`.",
            )
        return round(tasks / self.tasks_per_job)

    def _times(self, streams: Streams, jobs: int, there: int, rate: float) -> NDArray[np.float64]:
        """Float64[jobs] of seconds, rising; the first `there` are 0."""
        gaps = streams.exponential("arrival", 0, jobs)
        gaps[:there] = 0.0
        due = np.cumsum(gaps) * self.tasks_per_job / rate
        match self.arrivals:
            case "waves":
                return self.waves.times(due)
            case "bursts":
                return self.bursts.times(due, streams)
            case _:
                return np.asarray(due)

    @staticmethod
    def _choose(shapes: tuple[Shape, ...], uniform: NDArray[np.float64]) -> Ints:
        edges = np.cumsum([shape.weight for shape in shapes])
        return np.asarray(np.searchsorted(edges[:-1], uniform * edges[-1], side="right"))

    def _used(self, demand: Ints, streams: Streams) -> tuple[Ints, Ints]:
        """What each task uses of CPU and memory; two empty columns: what it reserves."""
        usage, n = self.usage, len(demand)
        if usage is None:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        cpu, memory = streams.uniform("used cpu", 0, n), streams.uniform("used memory", 0, n)
        cpu = usage.cpu_least + (usage.cpu_most - usage.cpu_least) * cpu
        memory = usage.memory_least + (usage.memory_most - usage.memory_least) * memory
        return _share(demand[:, 0], cpu), _share(demand[:, 1], memory)


def _share(reserved: Ints, share: NDArray[np.float64]) -> Ints:
    """At least 1 of whatever unit it is."""
    return np.maximum(1, np.rint(reserved * share)).astype(np.int64)


def _rate_of(tasks: Arrivals, cluster: Cluster) -> tuple[float, str]:
    """Tasks per second of a trace, and the resource of which it asks for the largest share."""
    work = (tasks.demand * tasks.run_micros[:, None].astype(np.float64)).sum(axis=0)
    shares = work / np.maximum(cluster.capacity().sum(axis=0), 1)
    seconds = max(int(tasks.at_micros[-1]), 1) / MICROS
    return len(tasks) / seconds, RESOURCES[int(shares.argmax())]


def _sizes(shapes: tuple[Shape, ...]) -> Ints:
    """Int64[shapes, 3]: milli-cores, MiB of memory, MiB of disk."""
    return np.array([[getattr(s, r) for r in RESOURCES] for s in shapes], dtype=np.int64)
