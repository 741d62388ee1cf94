"""Commands beside a plain process: in its directory, with its environment, on a terminal or not."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cube.engine.session import POLL_SECONDS, STDERR, STDOUT, Wish

NOT_FOUND, NOT_RUN = 127, 126  # exit codes, as shells have them


class ProcessSession:
    """A `Session` beside the process `pid`."""

    def __init__(self, pid: int, wish: Wish) -> None:
        """Start it.

        Raises:
            OSError: the process has ended, or the command cannot be run.
        """
        content = Path(f"/proc/{pid}/environ").read_bytes()
        pairs = (pair.partition(b"=") for pair in content.split(b"\0") if b"=" in pair)
        environment = {name: value for name, _, value in pairs}
        directory = os.readlink(f"/proc/{pid}/cwd")
        self._lock = threading.Lock()
        self._tty = wish.tty
        if wish.tty:
            self._outputs = {self._start_on_terminal(wish, environment, directory): STDOUT}
            return
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            wish.command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._input: int | None = os.dup(self._process.stdin.fileno())
        self._process.stdin.close()
        self._outputs = {
            os.dup(self._process.stdout.fileno()): STDOUT,
            os.dup(self._process.stderr.fileno()): STDERR,
        }
        self._process.stdout.close()
        self._process.stderr.close()

    def _start_on_terminal(
        self, wish: Wish, environment: dict[bytes, bytes], directory: str
    ) -> int:
        ours, theirs = os.openpty()
        self._input = ours
        self.resize(wish.rows, wish.columns)
        # Only a session's leader may take the terminal; `setsid` makes one of the command.
        leading = [setsid, "--ctty"] if (setsid := shutil.which("setsid")) else []
        try:
            self._process = subprocess.Popen(
                [*leading, *wish.command],
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                cwd=directory,
                env={b"TERM": b"xterm", **environment},
                start_new_session=not leading,
            )
        finally:
            os.close(theirs)
        return ours

    def output(self, stop: threading.Event) -> Iterator[tuple[int, bytes]]:
        """See `Session`."""
        open_ones = dict(self._outputs)
        while open_ones and not stop.is_set():
            try:
                ready, _, _ = select.select(list(open_ones), [], [], POLL_SECONDS)
                pieces = [(fd, _read(fd)) for fd in ready]
            except (OSError, ValueError):  # closed meanwhile
                return
            for fd, piece in pieces:
                if piece:
                    yield open_ones[fd], piece
                else:
                    del open_ones[fd]

    def write(self, data: bytes) -> None:
        """See `Session`."""
        with suppress(OSError):
            while data and self._input is not None:
                data = data[os.write(self._input, data) :]

    def end_input(self) -> None:
        """See `Session`."""
        if self._tty:
            self.write(b"\x04")  # what a terminal takes for the end
            return
        with self._lock, suppress(OSError):
            if self._input is not None:
                os.close(self._input)
            self._input = None

    def resize(self, rows: int, columns: int) -> None:
        """See `Session`."""
        if self._tty and self._input is not None:
            with suppress(OSError):
                size = struct.pack("HHHH", rows, columns, 0, 0)
                fcntl.ioctl(self._input, termios.TIOCSWINSZ, size)

    def exit_code(self) -> int | None:
        """See `Session`."""
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(POLL_SECONDS)
            return code if code >= 0 else 128 - code
        return None

    def close(self) -> None:
        """See `Session`: a command that runs on is hung up on, then killed."""
        for number in (signal.SIGHUP, signal.SIGKILL):
            with suppress(OSError):
                os.killpg(os.getpgid(self._process.pid), number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(POLL_SECONDS)
                break
        with self._lock:
            for fd in {*self._outputs, self._input} - {None}:
                with suppress(OSError):
                    os.close(fd)  # type: ignore[arg-type]
            self._input, self._outputs = None, {}


def _read(fd: int) -> bytes:
    """The next piece; empty at the end, which a terminal tells as an error."""
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""
