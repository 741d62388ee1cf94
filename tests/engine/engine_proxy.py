"""Stands between a client and an engine's socket: a cable that can be pulled."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path


class Proxy:
    """Passes on what connects to `path`, until it is cut."""

    def __init__(self, path: Path, target: str) -> None:
        self.url = f"unix://{path}"
        self._path, self._target = path, target
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self.join()

    def join(self) -> None:
        """Connect (again)."""
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self._path))
        self._server.listen()
        self._begin(self._accept, self._server)

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        self._path.unlink()
        _end(self._server)
        for pair in self._pairs:
            for end in pair:
                _end(end)
        for thread in self._threads:
            thread.join()
        for pair in self._pairs:
            for end in pair:
                end.close()
        self._server.close()
        self._pairs.clear()
        self._threads.clear()

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = server.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._target)
                self._pairs.append((near, far))
                self._begin(_copy, near, far)
                self._begin(_copy, far, near)

    def _begin(self, target, *args: socket.socket) -> None:  # type: ignore[no-untyped-def]
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _end(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
