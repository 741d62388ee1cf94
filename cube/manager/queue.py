"""Pending tasks, in the order in which they are tried.

Owns who waits and for what: `ready` tasks go into the next round; `parked` ones fit nowhere and
wait until a row gains room for their shape; `delayed` ones wait for a time; `blocked` ones for
another service. It never places anything.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from cube.fleet import Fleet
from cube.spec import Demand
from cube.task import Task

Key = tuple[int, int, int, str]  # (-priority, submit revision, index, id)


def queue_key(task: Task, priority: int) -> Key:
    """Rule 11: by priority, submit revision, index."""
    index = int(task.index) if task.index.isdecimal() else 0
    return (-priority, task.submitted, index, task.id)


class Queue:
    """Who is tried next."""

    def __init__(self, waits: Callable[[Key], bool]) -> None:
        """`waits` tells whether the task of a key still waits, under that very key."""
        self._waits = waits
        self._ready: list[Key] = []
        self._parked: dict[Demand, list[Key]] = {}
        self._delayed: list[tuple[float, Key]] = []
        self._blocked: dict[str, dict[Key, None]] = {}  # job -> who waits for it to change

    def push(self, key: Key) -> None:
        """Try this one in the next round."""
        heapq.heappush(self._ready, key)

    def delay(self, key: Key, until: float) -> None:
        """Not before `until`."""
        heapq.heappush(self._delayed, (until, key))

    def block(self, key: Key, job: str) -> None:
        """Not before something in `job` changes."""
        self._blocked.setdefault(job, {})[key] = None

    def park(self, key: Key, demand: Demand) -> None:
        """It fits nowhere now."""
        heapq.heappush(self._parked.setdefault(demand, []), key)

    def pop(self) -> Key | None:
        """The first that is ready, or None."""
        return heapq.heappop(self._ready) if self._ready else None

    def first(self) -> Key | None:
        """The first that is ready, left where it is."""
        return self._ready[0] if self._ready else None

    def due(self, now: float) -> None:
        """Let the delayed ones in whose time has come."""
        while self._delayed and self._delayed[0][0] <= now:
            self.push(heapq.heappop(self._delayed)[1])

    def unblock(self, job: str) -> None:
        """Something in `job` changed: look at its waiting tasks again."""
        for key in self._blocked.pop(job, ()):
            self.push(key)

    def gained(self, fleet: Fleet, row: int) -> None:
        """A row gained room: let in as many parked tasks of each shape as may fit there."""
        for demand in list(self._parked):
            if fleet.fits(row, demand):
                self._unpark(demand, _fitting(fleet, row, demand))

    def opened(self) -> None:
        """A node takes tasks that took none: let all learn what that changes.

        It may not fit there either, but why it waits is another story now.
        """
        for demand in list(self._parked):
            self._unpark(demand, len(self._parked[demand]))

    def thinned(self, service: str) -> None:
        """Fewer instances of a service are about: its rules may let in one of its own anywhere.

        Tasks of a job that is kept together are parked under its name: they come and go together.
        """
        for demand in [d for d in self._parked if d.service == service]:
            self._unpark(demand, len(self._parked[demand]))

    def _unpark(self, demand: Demand, count: int) -> None:
        """Try up to `count` of the tasks parked under `demand` again.

        One that has ended meanwhile, or waits elsewhere too, takes nobody's turn.
        """
        keys, latest = self._parked[demand], None
        while keys and count:
            key = heapq.heappop(keys)
            if key != latest and self._waits(key):
                self.push(key)
                count -= 1
            latest = key
        if not keys:
            del self._parked[demand]

    def __len__(self) -> int:
        """All entries, those that nobody waits under any more included."""
        lists = (*self._parked.values(), *self._blocked.values())
        return len(self._ready) + len(self._delayed) + sum(map(len, lists))

    def __bool__(self) -> bool:
        """Is anyone ready?"""
        return bool(self._ready)


def _fitting(fleet: Fleet, row: int, demand: Demand) -> int:
    """How many tasks of this size fit into a row at the most; 1 where only the row can tell."""
    if demand.ports:
        return 1
    info, used = fleet.info(row), fleet.used_of(row)
    capacity = (info.cpu_milli, info.memory_mib, info.disk_mib)
    each = zip(capacity, used, demand.size, strict=True)
    most = [(c - u) // need for c, u, need in each if need > 0]
    if demand.gpu is not None:
        most.append(fleet.devices.places(row, demand.gpu))
    return max(1, min(most, default=1))
