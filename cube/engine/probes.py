"""Tests over the network whether a task serves: does it take a connection, or answer a GET?

Only asks, within a time that holds for all of it. A task that answers slowly, without end or with
nonsense has failed, and costs nobody more than that time.
"""

from __future__ import annotations

import re
import socket
import time

from cube.spec import PortCheck

MOST_BYTES = 64 * 1024  # of an answer that are read, so that its sender sees no broken connection
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? (\d{3})\b")


def probe(check: PortCheck, host: str, port: int) -> str:
    """Test once. "" if it passed, else what was asked and what came of it.

    Args:
        check: what to ask; its port is the container's.
        host: the address at which the task is reached.
        port: where `check.port` is reached there.
    """
    deadline = time.monotonic() + check.timeout_seconds
    try:
        with socket.create_connection((host, port), check.timeout_seconds) as peer:
            if check.path is None:
                return ""
            request = f"GET {check.path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            request += "User-Agent: cube\r\nAccept: */*\r\nConnection: close\r\n\r\n"
            peer.sendall(request.encode())
            answer = _read(peer, deadline)
    except TimeoutError:
        return f"{check}: no answer in {check.timeout_seconds:g} s"
    except OSError as error:
        return f"{check}: {(error.strerror or str(error)).lower()}"
    status = _STATUS.match(answer)
    if status is None:
        return f"{check}: what answered is not HTTP"
    return "" if 200 <= int(status[1]) < 400 else f"{check}: answered {int(status[1])}"


def _read(peer: socket.socket, deadline: float) -> bytes:
    """The beginning of an answer. The status suffices, but who sends more is let finish.

    Raises:
        TimeoutError: there was no status in time.
        OSError: the connection broke.
    """
    answer = b""
    while len(answer) < MOST_BYTES:
        left = deadline - time.monotonic()
        try:
            if left <= 0.0:
                raise TimeoutError
            peer.settimeout(left)
            more = peer.recv(MOST_BYTES)
        except TimeoutError:
            if b"\n" in answer:
                break
            raise
        if not more:
            break
        answer += more
    return answer
