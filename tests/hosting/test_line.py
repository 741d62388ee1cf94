"""One connection to another machine: what is sent again when it breaks, and what never is."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cube import __version__
from cube.remote.line import Line, Place, Unreachable
from cube.trust import Authority
from cube.trust.contexts import to_manager, users_listener

PATIENCE = 20.0  # seconds; a bound, never waited for
ANSWER = f"HTTP/1.1 200 OK\r\nCube-Version: {__version__}\r\nContent-Length: 0\r\n\r\n".encode()


class Server:
    """Answers the first request of each connection, and breaks off at the second."""

    def __init__(self, path: Path) -> None:
        now = time.time()
        authority = Authority(path / "ca.pem", "c0ffee", now)
        authority.manager(path / "manager.pem", ["127.0.0.1"], now)
        self.taken: list[bytes] = []  # bodies, one per connection or request
        self._context = users_listener(path / "manager.pem")
        self.trust = to_manager(authority.certificate)

    @contextmanager
    def serving(self) -> Iterator[Line]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=self._serve, args=(server,), daemon=True)
            thread.start()
            line = Line(Place("127.0.0.1", server.getsockname()[1]), self.trust)
            yield line
            line.close()
            server.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)

    def _serve(self, server: socket.socket) -> None:
        while True:
            try:
                raw, _ = server.accept()
            except OSError:
                return
            raw.settimeout(PATIENCE)
            with raw, self._context.wrap_socket(raw, server_side=True) as connection:
                self._take(connection)
                connection.sendall(ANSWER)
                self._take(connection)

    def _take(self, connection: ssl.SSLSocket) -> None:
        said = b""
        while not said.endswith(b"!"):
            piece = connection.recv(4096)
            if not piece:
                return
            said += piece
        self.taken.append(said.rpartition(b"\r\n\r\n")[2])


@pytest.fixture
def server(tmp_path) -> Server:
    return Server(tmp_path)


def test_request_is_sent_again_where_a_resting_connection_breaks(server) -> None:
    with server.serving() as line:
        line.call("POST", "/", b"one!")
        line.call("POST", "/", b"two!")
    assert server.taken == [b"one!", b"two!", b"two!"]


def test_input_of_a_command_is_never_sent_twice(server) -> None:
    """It would be typed twice."""
    with server.serving() as line:
        line.tell("/", b"one!", PATIENCE)
        with pytest.raises(Unreachable):
            line.tell("/", b"two!", PATIENCE)
        line.tell("/", b"three!", PATIENCE)
    assert server.taken == [b"one!", b"two!", b"three!"]
