"""Runs the health checks of plain processes, as Docker does for containers.

Owns the threads that run checks and the count of failures. A check runs with the environment and
in the directory of its task. What follows from a verdict is not decided here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cube.engine.pool import Pool
from cube.messages import RunKey
from cube.spec import HealthCheck

THREADS = 2


@dataclass(slots=True)
class _Watched:
    check: HealthCheck
    pid: int
    since: float
    failures: int = 0
    healthy: bool | None = None


class HealthChecks:
    """The checks of one engine's tasks."""

    def __init__(self, name: str, tell: Callable[[RunKey, bool], None]) -> None:
        """`tell` hears of every change of a verdict."""
        self._tell = tell
        self._pool = Pool(f"{name}-health", THREADS)
        self._lock = threading.Lock()
        self._watched: dict[RunKey, _Watched] = {}
        self._probes: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def watch(self, key: RunKey, check: HealthCheck, pid: int) -> None:
        """Check the task with this pid from now on."""
        if check.test and check.test[0] == "NONE":
            return
        with self._lock:
            if key in self._watched:
                return
            watched = self._watched[key] = _Watched(check, pid, time.monotonic())
        self._pool.submit(key, partial(self._check, key, watched), check.interval_seconds)

    def forget(self, key: RunKey) -> None:
        """The task has ended."""
        with self._lock:
            self._watched.pop(key, None)

    def verdict(self, key: RunKey) -> bool | None:
        """The latest verdict; None while there is none."""
        with self._lock:
            watched = self._watched.get(key)
            return None if watched is None else watched.healthy

    def close(self) -> None:
        """Cut off what is being checked."""
        with self._lock:
            self._closed = True
            for probe in self._probes:
                _kill(probe)
        self._pool.close()

    def _check(self, key: RunKey, watched: _Watched) -> None:
        passed = self._probe(watched)
        with self._lock:
            if self._closed or self._watched.get(key) is not watched:
                return
            before, check = watched.healthy, watched.check
            starting = time.monotonic() - watched.since < check.start_period_seconds
            if passed:
                watched.failures, watched.healthy = 0, True
            elif not starting or before is not None:
                watched.failures += 1
                if watched.failures >= check.retries:
                    watched.healthy = False
            after = watched.healthy
        self._pool.submit(key, partial(self._check, key, watched), check.interval_seconds)
        if after is not None and after != before:
            self._tell(key, after)

    def _probe(self, watched: _Watched) -> bool:
        kind, *words = watched.check.test
        argv = ["/bin/sh", "-c", words[0]] if kind == "CMD-SHELL" else words
        here = Path(f"/proc/{watched.pid}")
        try:
            pairs = (here / "environ").read_bytes().split(b"\0")
            env = dict(pair.split(b"=", 1) for pair in pairs if b"=" in pair)
            with self._lock:
                if self._closed:
                    return False
                probe = subprocess.Popen(
                    argv,
                    cwd=os.readlink(here / "cwd"),
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
                self._probes.add(probe)
        except OSError:
            return False
        try:
            return probe.wait(watched.check.timeout_seconds) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            with self._lock:
                self._probes.discard(probe)
            _kill(probe)
            probe.wait()


def _kill(probe: subprocess.Popen[bytes]) -> None:
    if probe.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(probe.pid, signal.SIGKILL)
