"""Runs the commands of health checks beside plain processes, as Docker does in containers.

Owns the processes of the tests under way. A test has the environment and the directory of its task.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

from cube.spec import HealthCheck


class Commands:
    """The tests of one engine's tasks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def close(self) -> None:
        """Cut off what is being tested."""
        with self._lock:
            self._closed = True
            for command in self._running:
                _kill(command)

    def test(self, check: HealthCheck, pid: int) -> str:
        """Test the task with this pid once. "" if it passed, else what the command came to."""
        kind, *words = check.test
        argv = ["/bin/sh", "-c", words[0]] if kind == "CMD-SHELL" else words
        try:
            command = self._start(argv, Path(f"/proc/{pid}"))
        except OSError as error:
            return f"{argv[0]}: {error.strerror}"
        if command is None:
            return "the engine was closed"
        try:
            code = command.wait(check.timeout_seconds)
        except subprocess.TimeoutExpired:
            return f"{argv[0]}: no end in {check.timeout_seconds:g} s"
        finally:
            with self._lock:
                self._running.discard(command)
            _kill(command)
            command.wait()
        return f"{argv[0]}: exited {code}" if code else ""

    def _start(self, argv: list[str], task: Path) -> subprocess.Popen[bytes] | None:
        """The command beside a task; None once closed.

        Raises:
            OSError: the task is gone, or the command cannot be run.
        """
        pairs = (task / "environ").read_bytes().split(b"\0")
        env = dict(pair.split(b"=", 1) for pair in pairs if b"=" in pair)
        with self._lock:
            if self._closed:
                return None
            command = subprocess.Popen(
                argv,
                cwd=os.readlink(task / "cwd"),
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._running.add(command)
        return command


def _kill(command: subprocess.Popen[bytes]) -> None:
    if command.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
