"""Measures what a node's own tasks use, and tells it when it has changed.

Owns the meter that an engine's pool keeps going, and the two readings: of plain processes from
/proc, of containers from their control groups. Never asks an engine, and never counts what is
not one of the node's tasks. What cannot be seen from here is not told, rather than guessed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from cube.engine import Emit
from cube.engine.capacity import MIB
from cube.engine.pool import Pool
from cube.engine.process.shim import stat_fields
from cube.messages import MachineMeasured, Measured, RunKey
from cube.task import MachineUse, TaskUse

LOAD_SECONDS = 5.0
CPU_STEP_MILLI = 10  # smaller changes, and those of 1 MiB, are not worth a message
MEMORY_STEP_MIB = 1
CGROUPS = Path("/sys/fs/cgroup")

K = TypeVar("K")


class Usage(NamedTuple):
    """What a run has used so far, and what it holds now."""

    cpu_seconds: float
    memory_bytes: int


class Meter(Generic[K]):
    """Emits `Measured` whenever the load has changed since it was last told."""

    def __init__(
        self,
        pool: Pool,
        emit: Emit,
        sample: Callable[[], Mapping[K, Usage] | None],
        seconds: float = LOAD_SECONDS,
        machine: Callable[[], MachineUse] | None = None,
    ) -> None:
        """Goes on for as long as the pool.

        Args:
            pool: whose threads measure.
            emit: tells the worker.
            sample: what each running run uses; None where that cannot be seen.
            seconds: between measurements.
            machine: what the whole machine uses; None where that cannot be seen.
        """
        self._machine = machine
        self._pool, self._emit, self._sample, self._seconds = pool, emit, sample, seconds
        self._before: tuple[float, Mapping[K, Usage]] | None = (time.monotonic(), {})
        self._told: Measured | None = Measured(0, 0)
        pool.submit(self, self._measure, seconds)

    def start_over(self) -> None:
        """Runs may have been taken over, and the worker may be a new one. Call it alone.

        What a run used before it was taken over is no load of now, so the next measurement is
        only a beginning; the one after it is told even if nothing has changed.
        """
        self._before = self._told = None

    def _measure(self) -> None:
        self._pool.submit(self, self._measure, self._seconds)
        if self._machine is not None:
            self._emit(MachineMeasured(self._machine()))
        usage = self._sample()
        if usage is None:
            return
        now, before = time.monotonic(), self._before
        self._before = (now, usage)
        if before is None:
            return
        load = load_between(before[1], usage, now - before[0])
        if self._told is None or is_news(load, self._told):
            self._told = load
            self._emit(load)


def load_between(before: Mapping[K, Usage], now: Mapping[K, Usage], seconds: float) -> Measured:
    """The load of the `seconds` between two samples.

    A run that was not there before has used all it has used since. Never more than the machine
    has: a process that ends while the sample is taken may be counted twice, or later.
    """
    nothing = Usage(0.0, 0)
    used = sum(
        max(0.0, usage.cpu_seconds - before.get(key, nothing).cpu_seconds)
        for key, usage in now.items()
    )
    milli = min(round(used / seconds * 1000), (os.cpu_count() or 1) * 1000)
    tasks = (
        TaskUse(key.uid, key.attempt, _milli(before.get(key, nothing), usage, seconds), _mib(usage))
        for key, usage in now.items()
        if isinstance(key, RunKey)
    )
    memory = round(sum(usage.memory_bytes for usage in now.values()) / MIB)
    return Measured(milli, memory, tuple(sorted(tasks)))


def _milli(before: Usage, now: Usage, seconds: float) -> int:
    return round(max(0.0, now.cpu_seconds - before.cpu_seconds) / seconds * 1000)


def _mib(usage: Usage) -> int:
    return round(usage.memory_bytes / MIB)


def is_news(load: Measured, told: Measured) -> bool:
    """Is it worth a message? That all is idle again always is."""
    return (
        abs(load.cpu_load_milli - told.cpu_load_milli) > CPU_STEP_MILLI
        or abs(load.memory_load_mib - told.memory_load_mib) > MEMORY_STEP_MIB
        or load == Measured(0, 0) != told
        or any(_differs(*pair) for pair in zip_longest(load.tasks, told.tasks))
    )


def _differs(task: TaskUse | None, told: TaskUse | None) -> bool:
    if task is None or told is None or task[:2] != told[:2]:
        return True
    cpu, memory = abs(task.cpu_milli - told.cpu_milli), abs(task.memory_mib - told.memory_mib)
    return cpu > CPU_STEP_MILLI or memory > MEMORY_STEP_MIB


# --- plain processes ---------------------------------------------------------------------


def process_usage(shims: Mapping[K, int]) -> dict[K, Usage]:
    """What the processes below each shim (a pid) use; a shim that is gone is left out.

    What has ended counts through whoever waited for it, in the end the shim. The memory is
    the resident set, so that pages shared by several processes count in each (proc(5)).
    """
    if not shims:
        return {}
    stats = {pid: fields for pid in _pids() if (fields := stat_fields(pid))}
    children: dict[int, list[int]] = {}
    for pid, fields in stats.items():
        children.setdefault(int(fields[1]), []).append(pid)
    return {key: _below(pid, stats, children) for key, pid in shims.items() if pid in stats}


def _pids() -> Iterable[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _below(shim: int, stats: Mapping[int, list[str]], children: Mapping[int, list[int]]) -> Usage:
    ticks = _ticks(stats[shim][13:15])  # of its own time and memory none is the task's
    pages = 0
    unseen = list(children.get(shim, ()))
    while unseen:
        pid = unseen.pop()
        ticks += _ticks(stats[pid][11:15])
        pages += int(stats[pid][21])
        unseen += children.get(pid, ())
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE"))


def _ticks(fields: Iterable[str]) -> int:
    return sum(int(field) for field in fields)


# --- containers --------------------------------------------------------------------------


def container_usage(ids: Collection[str], root: Path = CGROUPS) -> dict[str, Usage] | None:
    """What containers use, by id; one that has vanished is left out.

    None if there are some and none can be seen: they run on another machine, or this program
    has a view of the control groups of its own. Docker's drivers cgroupfs and systemd are known,
    each with either version of control groups. The memory includes cached files.
    """
    found = {id_: usage for id_ in ids if (usage := _container(root, id_)) is not None}
    return found if found or not ids else None


def _container(root: Path, id_: str) -> Usage | None:
    for group in (f"docker/{id_}", f"system.slice/docker-{id_}.scope"):
        nanoseconds = _read(root / "cpuacct" / group / "cpuacct.usage")
        if nanoseconds:
            memory = _read(root / "memory" / group / "memory.usage_in_bytes")
            return Usage(int(nanoseconds[0]) / 1e9, int((memory or ["0"])[0]))
        stat = _read(root / group / "cpu.stat")
        if stat:
            microseconds = int(stat[stat.index("usage_usec") + 1])
            memory = _read(root / group / "memory.current")  # the controller may be off
            return Usage(microseconds / 1e6, int((memory or ["0"])[0]))
    return None


def _read(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:  # not there, or removed while it is read
        return []
