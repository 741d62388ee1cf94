"""Commands in containers, over the connection that Docker hijacks for each.

Docker cannot end such a command: closing takes its input and output away, and a shell ends by that.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from docker.api.client import APIClient
from docker.errors import APIError

from cube.engine.session import POLL_SECONDS, STDOUT, Wish

END_SECONDS = 2.0  # between the end of the output and that of the command
SIZE_TRIES = 20  # to give a terminal its first size
HEADER = 8  # bytes before each piece without a terminal: the stream, three zeros, the length


class DockerSession:
    """A `Session` in one container."""

    def __init__(self, api: APIClient, container: str, wish: Wish) -> None:
        """Start it.

        Raises:
            APIError: the container does not run.
        """
        self._api, self._tty = api, wish.tty
        made: dict[str, Any] = api.exec_create(
            container, list(wish.command), stdin=True, tty=wish.tty
        )
        self._id = str(made["Id"])
        start: Callable[..., Any] = api.exec_start
        self._hijacked = start(self._id, tty=wish.tty, socket=True)
        self._socket: socket.socket = self._hijacked._sock
        if wish.tty:
            self._give_size(wish)

    def _give_size(self, wish: Wish) -> None:
        """Docker answers before the command runs, and until then its terminal takes no size."""
        for _ in range(SIZE_TRIES):
            with suppress(APIError):
                self._api.exec_resize(self._id, height=wish.rows, width=wish.columns)
                return
            time.sleep(END_SECONDS / 40)

    def output(self, stop: threading.Event) -> Iterator[tuple[int, bytes]]:
        """See `Session`."""
        pieces = self._pieces(stop)
        if self._tty:
            yield from ((STDOUT, piece) for piece in pieces)
            return
        held = b""
        for piece in pieces:
            held += piece
            while len(held) >= HEADER:
                end = HEADER + int.from_bytes(held[4:HEADER], "big")
                if len(held) < end:
                    break
                yield held[0], held[HEADER:end]
                held = held[end:]

    def _pieces(self, stop: threading.Event) -> Iterator[bytes]:
        while not stop.is_set():
            try:
                ready, _, _ = select.select([self._socket], [], [], POLL_SECONDS)
                piece = self._socket.recv(65536) if ready else None
            except (OSError, ValueError):  # closed meanwhile
                return
            if piece == b"":
                return
            if piece:
                yield piece

    def write(self, data: bytes) -> None:
        """See `Session`."""
        with suppress(OSError):
            self._socket.sendall(data)

    def end_input(self) -> None:
        """See `Session`."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def resize(self, rows: int, columns: int) -> None:
        """See `Session`."""
        with suppress(APIError):  # it has ended, or has not quite begun
            self._api.exec_resize(self._id, height=rows, width=columns)

    def exit_code(self) -> int | None:
        """See `Session`."""
        end = time.monotonic() + END_SECONDS
        while (state := self._api.exec_inspect(self._id))["Running"]:
            if time.monotonic() > end:  # it has closed its output, and goes on
                return None
            time.sleep(END_SECONDS / 40)
        code: int | None = state["ExitCode"]
        return code

    def close(self) -> None:
        """See `Session`."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._hijacked._response.close()  # docker-py hangs it there, lest it be collected
        self._socket.close()
