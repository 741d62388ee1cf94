"""What the machine uses as a whole, Cube's tasks and everything else on it, read with psutil.

Owns one reading after the other; never counts what tasks use (`cube.engine.load` does).
"""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from cube.engine.capacity import MIB
from cube.task import MachineUse


class Machine:
    """Tells what this machine used since it was last asked."""

    def __init__(self, disk: str | Path, *, shared: bool) -> None:
        """`disk`: a path on the file system that tasks fill. `shared`: several nodes are on it."""
        self._disk = str(disk)
        self._shared = shared
        self._before = (time.monotonic(), _busy_seconds())

    def use(self) -> MachineUse:
        """CPU between the last question and this one; memory and disk as they are now."""
        now, busy = time.monotonic(), _busy_seconds()
        (then, was_busy), self._before = self._before, (now, busy)
        milli = round((busy - was_busy) / max(now - then, 0.001) * 1000)
        cores = (psutil.cpu_count() or 1) * 1000
        memory, (disk_used, disk) = psutil.virtual_memory(), _disk_use(self._disk)
        return MachineUse(
            min(max(milli, 0), cores),
            cores,
            (memory.total - memory.available) // MIB,
            memory.total // MIB,
            disk_used // MIB,
            disk // MIB,
            self._shared,
        )


def disk_share(path: str) -> float:
    """How full the file system of `path` is, from 0 to 1; 0 where it cannot be seen."""
    used, size = _disk_use(path)
    return used / max(size, 1)


def _disk_use(path: str) -> tuple[int, int]:
    """Bytes used of those that unprivileged users can have; zeros where it cannot be seen."""
    try:
        disk = psutil.disk_usage(path)
    except OSError:
        return 0, 0
    return disk.used, disk.used + disk.free


def _busy_seconds() -> float:
    """CPU seconds since boot in which something was done; waiting for disks is none."""
    times = psutil.cpu_times()
    busy = ("user", "nice", "system", "irq", "softirq")  # time of guests is in user's and nice's
    return float(sum(getattr(times, name, 0.0) for name in busy))
