"""Which tasks arrive when, how large they are and how long they truly run.

`Workload` describes; `Workload.draw` gives the arrivals of one seed as columns. They depend on
the seed and the cluster's capacity only, never on a policy: `Arrivals.digest` proves it.

Offered load. With capacity C_r of resource r, mean demand d_r, mean time h for which a task holds
its resources (start latency + run) and arrival rate a (tasks/s), the load of r is a·d_r·h / C_r.
`load` fixes the rate so that the scarcest resource, the one whose C_r/d_r is least, has it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from cube.spec import JobSpec, Kind, ReschedulePolicy, RestartPolicy, Spread, TaskSpec
from sim.cluster import RESOURCES, Cluster
from sim.description import Count, Description, Positive, Seconds, Share, Whole
from sim.durations import Durations
from sim.errors import InputError
from sim.streams import Streams

SERVICE = "task"  # the one service of every simulated job
MICROS = 1_000_000

Ints = NDArray[np.int64]


class Shape(Description):
    """What a task reserves, and how often such tasks come (`weight`, relative)."""

    cpu_milli: Count
    memory_mib: Count
    disk_mib: Whole = 0
    weight: Positive = 1.0


# Chosen by hand after what is published about production clusters (Reiss et al., Heterogeneity
# and Dynamicity of Clouds at Scale, SoCC 2012; Verma et al., Borg, EuroSys 2015): sizes fall on a
# few round values, most tasks are small, the few large ones make most of the demand, and memory
# per core varies from one to sixteen GiB. Mean: 1.4 cores and 4.7 GiB.
_SHAPES: tuple[tuple[int, int, float], ...] = (
    (100, 256, 4),
    (250, 512, 7),
    (250, 2048, 5),
    (500, 512, 6),
    (500, 1024, 9),
    (500, 2048, 7),
    (500, 4096, 5),
    (1000, 1024, 6),
    (1000, 2048, 8),
    (1000, 4096, 8),
    (1000, 8192, 4),
    (1000, 16384, 2),
    (2000, 4096, 6),
    (2000, 8192, 5),
    (2000, 16384, 3),
    (4000, 4096, 3),
    (4000, 8192, 4),
    (4000, 16384, 3),
    (6000, 12288, 3),
    (6000, 24576, 2),
)
DEFAULT_SHAPES = tuple(Shape(cpu_milli=c, memory_mib=m, weight=w) for c, m, w in _SHAPES)


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


class Workload(Description):
    """A stream of batch tasks. Jobs of `tasks_per_job` equal tasks arrive as a Poisson process."""

    arrivals: Literal["poisson"] = "poisson"
    tasks: Count = 20_000
    load: Annotated[float, Field(strict=True, gt=0, le=100)] = 0.85
    tasks_per_job: Count = 1
    failure_share: Share = 0.0  # tasks that end with exit code 1
    durations: Durations = Durations()
    start: StartLatency = StartLatency()
    shapes: Annotated[tuple[Shape, ...], Field(min_length=1)] = DEFAULT_SHAPES

    @classmethod
    def poisson(cls, **parameters: object) -> Workload:
        """Jobs arrive at random at a constant rate; parameters are the fields of this class.

        Raises:
            InputError: there is no such field, or its value makes no sense.
        """
        workload: Workload = cls().but(**parameters, arrivals="poisson")
        return workload

    def sizes(self) -> Ints:
        """Int64[shapes, 3]: milli-cores, MiB of memory, MiB of disk."""
        return np.array([[getattr(s, r) for r in RESOURCES] for s in self.shapes], dtype=np.int64)

    def rate(self, cluster: Cluster) -> tuple[float, str]:
        """Tasks per second that offer `load`, and the resource that is scarcest."""
        weights = [shape.weight for shape in self.shapes]
        demand = np.average(self.sizes(), axis=0, weights=weights).tolist()
        capacity = cluster.capacity().sum(axis=0).tolist()
        hold_seconds = self.durations.mean_seconds + self.start.mean_seconds
        rates = {
            resource: self.load * have / (need * hold_seconds)
            for resource, have, need in zip(RESOURCES, capacity, demand, strict=True)
            if need > 0
        }
        scarcest = min(rates, key=rates.__getitem__)
        return rates[scarcest], scarcest

    def draw(self, cluster: Cluster, seed: int) -> Arrivals:
        """The arrivals of one seed.

        Raises:
            InputError: the cluster lacks a resource that every task needs.
        """
        rate, scarcest = self.rate(cluster)
        if rate == 0:
            raise InputError(f"the nodes have no {scarcest}", "Give them some or ask for none.")
        streams, n = Streams(seed), self.tasks
        jobs = -(-n // self.tasks_per_job)
        job_of = np.arange(n) // self.tasks_per_job
        gaps = np.cumsum(streams.exponential("arrival", 0, jobs)) * self.tasks_per_job / rate
        edges = np.cumsum([shape.weight for shape in self.shapes])
        shape = np.searchsorted(
            edges[:-1], streams.uniform("shape", 0, jobs) * edges[-1], side="right"
        )
        least, most = self.start.least_seconds, self.start.most_seconds
        start = least + (most - least) * streams.uniform("start", 0, n)
        failed = streams.uniform("failure", 0, n) < self.failure_share
        return Arrivals(
            at_micros=_micros(gaps)[job_of],
            shape=shape[job_of].astype(np.int64),
            start_micros=_micros(start),
            run_micros=np.maximum(1, _micros(self.durations.draw(streams, n))),
            exit_code=failed.astype(np.int64),
            sizes=self.sizes(),
            tasks_per_job=self.tasks_per_job,
        )


def _micros(seconds: NDArray[np.float64]) -> Ints:
    return np.rint(seconds * MICROS).astype(np.int64)


@dataclass(frozen=True)
class Arrivals:
    """The tasks of one seed in order of arrival; every column is int64[tasks].

    `run_micros` is the true duration that no policy knows; `sizes` is int64[shapes, 3].
    """

    at_micros: Ints
    shape: Ints
    start_micros: Ints
    run_micros: Ints
    exit_code: Ints
    sizes: Ints
    tasks_per_job: int
    _specs: dict[tuple[int, int], TaskSpec] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.at_micros)

    @property
    def demand(self) -> Ints:
        """Int64[tasks, 3]: what each task reserves."""
        return self.sizes[self.shape]

    @property
    def digest(self) -> str:
        """Hex digest of every column: equal exactly when the tasks are equal."""
        total = hashlib.blake2b(digest_size=16)
        columns = (self.at_micros, self.start_micros, self.run_micros, self.exit_code)
        for column in (*columns, self.demand.ravel()):
            total.update(column.astype("<i8").tobytes())
        return total.hexdigest()

    @property
    def jobs(self) -> int:
        """Jobs altogether; the last may have fewer tasks."""
        return -(-len(self) // self.tasks_per_job)

    def first_of(self, job: int) -> int:
        """The first task of that job, whose arrival is the job's."""
        return job * self.tasks_per_job

    def job(self, job: int) -> JobSpec:
        """What is submitted; jobs of one shape and size share their task spec."""
        first = self.first_of(job)
        instances = min(self.tasks_per_job, len(self) - first)
        return JobSpec(f"job-{job}", (self._spec(int(self.shape[first]), instances),))

    def number(self, job: str, index: str) -> int:
        """The place in the columns of task `index` (from 1) of the job of that name."""
        return self.first_of(int(job[4:])) + int(index) - 1

    def name(self, number: int) -> str:
        """The task's id: `job-J/task/INDEX`."""
        job, index = divmod(number, self.tasks_per_job)
        return f"job-{job}/{SERVICE}/{index + 1}"

    def _spec(self, shape: int, instances: int) -> TaskSpec:
        spec = self._specs.get((shape, instances))
        if spec is None:
            cpu, memory, disk = self.sizes[shape].tolist()
            spec = self._specs[shape, instances] = TaskSpec(
                SERVICE,
                "simulated",
                Kind.BATCH,
                instances,
                cpu_milli=cpu,
                memory_mib=memory,
                disk_mib=disk,
                spread=Spread("none"),
                restart=RestartPolicy("none"),
                reschedule=ReschedulePolicy(attempts=0),
            )
        return spec
