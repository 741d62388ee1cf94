"""The tasks of one seed or of one trace, as columns in order of arrival.

Owns what is submitted, how tasks are named, and the digest that proves two runs met the same
tasks. Where the columns come from (drawn, or read from a trace) is said elsewhere.
"""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cube.spec import JobSpec, Kind, ReschedulePolicy, RestartPolicy, Spread, TaskSpec

SERVICE = "task"  # the one service of every simulated job
MICROS = 1_000_000
NO_IMAGE = "simulated"

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Arrivals:
    """Columns are int64[tasks] unless said otherwise; the tasks of a job are equal and adjacent.

    `run_micros` is the true duration that no policy knows; `used_*` is what a task truly uses,
    whatever it reserved; `image` is the number of its image. An empty column: as reserved, none.
    """

    at_micros: Ints
    shape: Ints  # a row of `sizes`
    start_micros: Ints
    run_micros: Ints
    exit_code: Ints
    sizes: Ints  # [shapes, 3]: milli-cores, MiB of memory, MiB of disk
    first: Ints  # [jobs + 1]: the first task of each job, and where the last one ends
    used_cpu_milli: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    used_memory_mib: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    image: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    retries: int = 0  # times that a failed task is placed anew
    _specs: dict[tuple[int, int, int], TaskSpec] = field(default_factory=dict, repr=False)

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
        for column in (
            self.at_micros,
            self.start_micros,
            self.run_micros,
            self.exit_code,
            self.demand.ravel(),
            self.first,
            self.used_cpu_milli,
            self.used_memory_mib,
            self.image,
        ):
            total.update(b"%d:" % len(column))
            total.update(column.astype("<i8").tobytes())
        return total.hexdigest()

    @property
    def jobs(self) -> int:
        """Jobs altogether."""
        return len(self.first) - 1

    @cached_property
    def _firsts(self) -> array[int]:
        return plain(self.first)

    def first_of(self, job: int) -> int:
        """The first task of that job, whose arrival is the job's."""
        return self._firsts[job]

    def job(self, job: int) -> JobSpec:
        """What is submitted; jobs of one shape, image and size share their task spec."""
        first = self._firsts[job]
        instances = self._firsts[job + 1] - first
        image = int(self.image[first]) if len(self.image) else -1
        return JobSpec(f"job-{job}", (self._spec(int(self.shape[first]), instances, image),))

    def number(self, job: str, index: str) -> int:
        """The place in the columns of task `index` (from 1) of the job of that name."""
        return self._firsts[int(job[4:])] + int(index) - 1

    def name(self, number: int) -> str:
        """The task's id: `job-J/task/INDEX`."""
        job = int(np.searchsorted(self.first, number, side="right")) - 1
        return f"job-{job}/{SERVICE}/{number - self._firsts[job] + 1}"

    def _spec(self, shape: int, instances: int, image: int) -> TaskSpec:
        key = (shape, instances, image)
        spec = self._specs.get(key)
        if spec is None:
            cpu, memory, disk = self.sizes[shape].tolist()
            spec = self._specs[key] = TaskSpec(
                SERVICE,
                NO_IMAGE if image < 0 else f"image-{image}",
                Kind.BATCH,
                instances,
                cpu_milli=cpu,
                memory_mib=memory,
                disk_mib=disk,
                spread=Spread("none"),
                restart=RestartPolicy("none"),
                reschedule=ReschedulePolicy(attempts=self.retries),
            )
        return spec


def jobs_of(tasks: int, tasks_per_job: int) -> Ints:
    """Int64[jobs + 1]: equal jobs one after another; the last may have fewer tasks."""
    return np.append(np.arange(0, tasks, tasks_per_job), tasks).astype(np.int64)


def micros(seconds: NDArray[np.float64]) -> Ints:
    """Whole microseconds, rounded to even."""
    return np.rint(seconds * MICROS).astype(np.int64)


def plain(column: Ints) -> array[int]:
    """The same integers in Python's own array: as small, and quicker to be asked for one."""
    return array("q", column.astype(np.int64).tobytes())
