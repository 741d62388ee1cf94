"""Notices at once when a shim ends, whether or not it is our child.

Owns one descriptor (pidfd) per shim, which names the process surely, and the thread that waits.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

from cube.messages import RunKey


class ShimWatch:
    """The shims that are believed to live."""

    def __init__(self, name: str, on_end: Callable[[RunKey], None]) -> None:
        """`on_end` is called once per shim, on the watching thread."""
        self._on_end = on_end
        self._lock = threading.Lock()
        self._fds: dict[RunKey, int] = {}
        self._runs: dict[int, tuple[RunKey, int]] = {}  # by descriptor: run and pid
        self._epoll = select.epoll()
        self._wake = os.eventfd(0)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._thread = threading.Thread(target=self._wait, name=name, daemon=True)
        self._thread.start()

    def add(self, key: RunKey, pid: int) -> bool:
        """Watch the shim of a run; False if there is no such process any more."""
        with self._lock:
            if key in self._fds:
                return True
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                return False
            self._fds[key] = fd
            self._runs[fd] = (key, pid)
        self._epoll.register(fd, select.EPOLLIN)
        return True

    def signal(self, key: RunKey, number: signal.Signals) -> None:
        """Send a signal to a run's shim; nothing if it has ended."""
        with self._lock, suppress(ProcessLookupError):
            if key in self._fds:
                signal.pidfd_send_signal(self._fds[key], number)

    def pids(self) -> dict[RunKey, int]:
        """The shims that live, by run."""
        with self._lock:
            return dict(self._runs.values())

    def close(self) -> None:
        """Stop watching. The shims live on."""
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        with self._lock:
            for fd in (self._wake, *self._runs):
                os.close(fd)
            self._epoll.close()
            self._fds.clear()
            self._runs.clear()

    def _wait(self) -> None:
        while True:
            for fd, _ in self._epoll.poll():
                if fd == self._wake:
                    return
                self._ended(fd)

    def _ended(self, fd: int) -> None:
        self._epoll.unregister(fd)
        with self._lock:
            key, pid = self._runs.pop(fd)
            del self._fds[key]
            os.close(fd)
        with suppress(ChildProcessError):  # the child of an earlier Cube
            os.waitpid(pid, os.WNOHANG)
        self._on_end(key)
