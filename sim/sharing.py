"""A machine's CPU, shared fairly by what runs on it; and what happens when its memory runs out.

`ProcessorSharing` keeps a virtual clock that runs as fast as every task gets on, so a start or an
end costs O(log tasks): nobody's remaining work is touched. With one core and tasks that each use
all of it, this is the M/G/1 queue with processor sharing: mean time run / (1 - load).
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

_SAME = 1e-9  # seconds of work that are no difference


class ProcessorSharing(Generic[Key]):
    """Tasks that together want more than there is all get on slower by the same factor.

    A task that wants d of C milli-cores gets d·min(1, C/D), D being what all want together, as
    Linux's fair scheduler gives to groups whose shares are as d. Work is in seconds at full speed.

    Args:
        cpu_milli: C.
        speed: of these cores, relative to those that work is measured on.
    """

    def __init__(self, cpu_milli: int, speed: float = 1.0) -> None:
        self.cpu_milli = cpu_milli
        self.speed = speed
        self.drag = 1.0  # everything takes so many times as long: paging, for instance
        self._wanted = 0
        self._now = 0.0
        self._virtual = 0.0  # seconds of work that a task would have done that ran all the time
        self._ends: list[tuple[float, int, Key]] = []  # virtual end, order of arrival, task
        self._running: dict[Key, tuple[int, int]] = {}  # milli-cores wanted, order of arrival
        self._count = 0

    def __len__(self) -> int:
        return len(self._running)

    @property
    def rate(self) -> float:
        """Seconds of work that every task does in a second now."""
        return self.speed * min(1.0, self.cpu_milli / max(self._wanted, 1)) / self.drag

    def pass_to(self, now: float) -> None:
        """Let time pass. To be called before anything changes."""
        self._virtual += (now - self._now) * self.rate
        self._now = now

    def add(self, key: Key, cpu_milli: int, work_seconds: float) -> None:
        """A task starts that wants `cpu_milli`."""
        self._count += 1
        self._running[key] = (cpu_milli, self._count)
        self._wanted += cpu_milli
        heapq.heappush(self._ends, (self._virtual + work_seconds, self._count, key))

    def remove(self, key: Key) -> None:
        """A task is there no longer, whether its work was done or not."""
        self._wanted -= self._running.pop(key)[0]
        if not self._running:  # nothing refers to the virtual clock: keep its digits few
            self._ends.clear()
            self._virtual = 0.0

    def due(self) -> float | None:
        """Seconds from now until the next task is done; None: nothing runs."""
        self._drop_removed()
        if not self._ends:
            return None
        return max(0.0, self._ends[0][0] - self._virtual) / self.rate

    def done(self) -> list[Key]:
        """The task that is due next and those done with it, in order. They are to be removed."""
        self._drop_removed()
        found: list[Key] = []
        while self._ends and (not found or self._ends[0][0] <= self._virtual + _SAME):
            end = heapq.heappop(self._ends)
            self._virtual = max(self._virtual, end[0])  # rounding must not leave a rest for ever
            found.append(end[2])
            self._drop_removed()
        return found

    def _is_there(self, end: tuple[float, int, Key]) -> bool:
        return self._running.get(end[2], (0, 0))[1] == end[1]

    def _drop_removed(self) -> None:
        while self._ends and not self._is_there(self._ends[0]):
            heapq.heappop(self._ends)


class Memory(Generic[Key]):
    """What tasks truly use of a machine's memory, whatever they reserved."""

    def __init__(self, memory_mib: int) -> None:
        self.memory_mib = memory_mib
        self.used_mib = 0
        self._held: dict[Key, tuple[int, int]] = {}  # MiB used, MiB reserved; newest last

    @property
    def is_short(self) -> bool:
        """Is more in use than there is?"""
        return self.used_mib > self.memory_mib

    def add(self, key: Key, used_mib: int, reserved_mib: int) -> None:
        """A task starts and uses that much until it ends."""
        self._held[key] = (used_mib, reserved_mib)
        self.used_mib += used_mib

    def remove(self, key: Key) -> None:
        """A task gave its memory back."""
        self.used_mib -= self._held.pop(key)[0]

    def victims(self) -> list[Key]:
        """Whom to kill so that the rest fits: who exceeds its reservation most, newest first."""
        order = list(reversed(self._held.items()))
        order.sort(key=lambda item: item[1][1] - item[1][0])  # stable: newest first among equals
        over, chosen = self.used_mib - self.memory_mib, []
        for key, (used, _) in order:
            if over <= 0:
                break
            over -= used
            chosen.append(key)
        return chosen
