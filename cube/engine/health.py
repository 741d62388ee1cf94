"""Has the health of tasks tested again and again, and tells when the verdict changes.

Owns the rhythm and the count of failures of the checks that Cube runs itself; a Docker engine runs
Compose's `healthcheck` by itself. How a test is made is the caller's business, and what follows
from a verdict is decided elsewhere.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from cube.engine.pool import Pool
from cube.messages import Health, RunKey
from cube.spec import HealthCheck, PortCheck

THREADS = 4
SOON_SECONDS = 1.0  # between tests while a task may still be starting, at the most

Rhythm = HealthCheck | PortCheck
Test = Callable[[], str]  # "" if it passed, else why not; takes no longer than its time-out


@dataclass(slots=True)
class _Watched:
    rhythm: Rhythm
    test: Test
    since: float
    failures: int = 0
    healthy: bool | None = None


class HealthChecks:
    """The checks of one engine's tasks."""

    def __init__(self, name: str, tell: Callable[[Health], None]) -> None:
        """`tell` hears of every change of a verdict. Threads are started with the first check."""
        self._name, self._tell = f"{name}-health", tell
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._watched: dict[RunKey, _Watched] = {}
        self._closed = False

    def watch(self, key: RunKey, rhythm: Rhythm, test: Test) -> None:
        """Test this run from now on, unless that is being done already."""
        with self._lock:
            if self._closed or key in self._watched:
                return
            if self._pool is None:
                self._pool = Pool(self._name, THREADS)
            watched = self._watched[key] = _Watched(rhythm, test, time.monotonic())
        self._again(key, watched, soon=True)

    def forget(self, key: RunKey) -> None:
        """The run has ended."""
        with self._lock:
            self._watched.pop(key, None)

    def verdict(self, key: RunKey) -> bool | None:
        """The latest verdict; None while there is none."""
        with self._lock:
            watched = self._watched.get(key)
            return None if watched is None else watched.healthy

    def close(self) -> None:
        """Test nothing any more."""
        with self._lock:
            self._closed = True
        if self._pool is not None:
            self._pool.close()

    def _again(self, key: RunKey, watched: _Watched, *, soon: bool) -> None:
        interval = watched.rhythm.interval_seconds
        after = min(interval, SOON_SECONDS) if soon else interval
        assert self._pool is not None
        self._pool.submit(key, partial(self._check, key, watched), after)

    def _check(self, key: RunKey, watched: _Watched) -> None:
        if self._closed or self._watched.get(key) is not watched:
            return
        failure = watched.test()
        with self._lock:
            if self._closed or self._watched.get(key) is not watched:
                return
            before, rhythm = watched.healthy, watched.rhythm
            starting = time.monotonic() - watched.since < rhythm.start_period_seconds
            starting = starting and before is None
            if not failure:
                watched.failures, watched.healthy = 0, True
            elif not starting:
                watched.failures += 1
                if watched.failures >= rhythm.retries:
                    watched.healthy = False
            after = watched.healthy
        self._again(key, watched, soon=starting and after is None)
        if after is not None and after != before:
            self._tell(Health(key, after, failure))
