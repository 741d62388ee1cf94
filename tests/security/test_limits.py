"""How much a stranger or a member may send, how slowly, and from how many connections at once."""

from __future__ import annotations

import http.client
import logging
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from cube.api.gate import MAX_BODY_BYTES, MAX_OPEN_BODY_BYTES
from cube.api.machines import MAX_REPORT_BYTES
from cube.serving import ServerThread
from cube.serving.bounded import MOST, BoundedSocket, spare
from cube.worker_api.app import MAX_ASSIGNMENT_BYTES
from tests.security.site import NODE, PATIENCE, Site

BODIES = {  # where bodies are read, and how long they may be
    "job": ("users", "POST", "/v1/jobs", MAX_BODY_BYTES),
    "join": ("users", "POST", "/v1/join", MAX_OPEN_BODY_BYTES),
    "report": ("machines", "POST", f"/v1/nodes/{NODE}/reports", MAX_REPORT_BYTES),
    "assignment": ("worker", "PUT", "/v1/assignment", MAX_ASSIGNMENT_BYTES),
}
CHUNK = b"10000\r\n" + b" " * 0x10000 + b"\r\n"


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("body", BODIES)
def test_body_that_is_too_long_is_refused(here: Site, body: str, announced: bool) -> None:
    app, method, path, most = BODIES[body]
    door = here.doors[app]
    made = door.connection()
    made.putrequest(method, path)
    for name, value in door.headers().items():
        made.putheader(name, value)
    if announced:
        made.putheader("Content-Length", str(most + 1))
        made.endheaders()
    else:
        made.putheader("Transfer-Encoding", "chunked")
        made.endheaders()
        with suppress(OSError):  # it need not read on once it has refused
            for _ in range(most // 0x10000 + 1):
                made.send(CHUNK)
    answer = made.getresponse()
    said = answer.read()
    made.close()
    assert answer.status == 413
    assert b"larger than" in said
    here.is_well()


def test_longest_body_is_read(here: Site) -> None:
    """It is refused for what it says."""
    for app, method, path, most in BODIES.values():
        answer = here.doors[app].ask(method, path, b" " * most)
        assert answer.status in (400, 422), path


def test_stream_of_somebody_who_sends_too_much_ends(here: Site, caplog) -> None:
    door = here.doors["users"]
    made = door.connection()
    made.putrequest("GET", "/v1/events?follow=1")
    for name, value in door.headers().items():
        made.putheader(name, value)
    made.putheader("Transfer-Encoding", "chunked")
    made.endheaders()
    with caplog.at_level(logging.WARNING), suppress(OSError, http.client.IncompleteRead):
        for _ in range(MAX_BODY_BYTES // 0x10000 + 1):
            made.send(CHUNK)
        made.getresponse().read()  # to its end
    made.close()
    here.is_well()
    assert "failure" not in caplog.text


@pytest.mark.parametrize("app", ["users", "machines", "worker"])
def test_trickle_is_cut_off(here: Site, monkeypatch, app: str) -> None:
    """However often something comes, the whole of a request is there in time or never."""
    monkeypatch.setattr("cube.serving.server.REQUEST_SECONDS", 0.3)
    door = here.doors[app]
    for head in (b"GET /v1/health HTTP/1.1\r\nX: ", b"POST /v1/health HTTP/1.1\r\nHost: h\r\n"
                 b"Cube-Version: 0.1.0\r\nContent-Length: 1000000\r\n\r\n"):  # fmt: skip
        raw = socket.create_connection(("127.0.0.1", door.port), PATIENCE)
        with raw, door.context.wrap_socket(raw, server_hostname="127.0.0.1") as slow:
            slow.sendall(head)
            slow.settimeout(0.02)
            assert ends(slow)


def ends(slow: socket.socket) -> bool:
    """Sends a byte now and then until it is cut off."""
    for _ in range(1000):
        try:
            slow.sendall(b"x")
            if slow.recv(1000) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


# --- connections ---------------------------------------------------------------------------


async def hello(scope, receive, send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def small() -> Iterator[ServerThread]:
    """A server with room for two."""
    bound = BoundedSocket(socket.AF_INET, 2)
    bound.bind(("127.0.0.1", 0))
    bound.listen()
    server = ServerThread(hello, bound)
    server.start()
    yield server
    server.stop()


def connected(server: ServerThread) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), PATIENCE)


def answers(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        return connection.recv(1000).startswith(b"HTTP/1.1 204")
    except ConnectionError:
        return False


def test_full_server_hangs_up_on_who_comes_then(small, caplog) -> None:
    with connected(small) as one, connected(small) as two:
        assert answers(one)
        assert answers(two)
        for _ in range(3):
            with connected(small) as three:
                assert not answers(three)
        assert answers(one)
        two.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        while two.recv(1000):
            pass
        with connected(small) as four:
            assert answers(four)
    told = [r.getMessage() for r in caplog.records]
    assert told == ["there are 2 connections: no more are taken until one ends"]


def test_small_answers_go_out_at_once(small, monkeypatch) -> None:
    """Else the second half of each waits 40 ms for the other end to say that the first came."""
    seen: list[int] = []
    monkeypatch.setattr(
        "cube.serving.server.stay",
        lambda taken: seen.append(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)),
    )
    with connected(small) as one:
        assert answers(one)
    assert seen == [1]


def test_room_is_a_share_of_what_the_process_has(monkeypatch) -> None:
    for limit, room in ((1024, 256), (65536, MOST), (-1, MOST), (2, 1)):
        monkeypatch.setattr("resource.getrlimit", lambda _, most=limit: (most, most))
        assert spare() == room
