"""Threads that carry out an engine's work: in order within a lane, side by side across lanes.

Owns the threads and the timers of one engine. Knows nothing of what the work is.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from itertools import count

log = logging.getLogger(__name__)

Job = Callable[[], None]


class Pool:
    """A few threads that share one queue of (lane, job).

    Jobs of one lane run one after the other, in the order of submission. A job of the lane
    `Pool.ALONE` starts after everything submitted before it and before everything after it.
    """

    ALONE = object()

    def __init__(self, name: str, threads: int = 4) -> None:
        self._changed = threading.Condition()
        self._queue: deque[tuple[Hashable, Job]] = deque()
        self._timers: list[tuple[float, int, Hashable, Job]] = []
        self._order = count()
        self._active: set[Hashable] = set()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, lane: Hashable, job: Job, after: float = 0.0) -> None:
        """Do `job` in its lane, `after` seconds from now; not at all once closed."""
        with self._changed:
            if self._closed:
                return
            if after > 0.0:
                due = time.monotonic() + after
                heapq.heappush(self._timers, (due, next(self._order), lane, job))
            else:
                self._queue.append((lane, job))
            self._changed.notify()

    def close(self, timeout: float = 10.0) -> None:
        """Drop what waits, let what runs finish (up to `timeout` seconds in all)."""
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._timers.clear()
            self._changed.notify_all()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (taken := self._next()) is not None:
            lane, job = taken
            try:
                job()
            except Exception:
                log.exception("a job of an engine failed")
            with self._changed:
                self._active.discard(lane)
                self._changed.notify_all()

    def _next(self) -> tuple[Hashable, Job] | None:
        with self._changed:
            while not self._closed:
                self._ring()
                taken = self._take()
                if taken is not None:
                    return taken
                self._changed.wait(self._seconds_to_timer())
            return None

    def _ring(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, lane, job = heapq.heappop(self._timers)
            self._queue.append((lane, job))
            self._changed.notify()

    def _take(self) -> tuple[Hashable, Job] | None:
        if Pool.ALONE in self._active:
            return None
        for i, (lane, job) in enumerate(self._queue):
            if lane is Pool.ALONE and (i > 0 or self._active):
                return None
            if lane not in self._active:
                del self._queue[i]
                self._active.add(lane)
                return lane, job
        return None

    def _seconds_to_timer(self) -> float | None:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
