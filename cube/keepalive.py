"""Connections at rest whose other end is gone: the kernel asks, and closes them.

Knows sockets, and nothing of what is said over them.
"""

from __future__ import annotations

import socket

_KEEP_ALIVE = (  # 15 s of silence, then three questions 5 s apart
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", None), 15),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPINTVL", None), 5),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPCNT", None), 3),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
)


def stay(connection: socket.socket) -> None:
    """Have the kernel notice when the other end is gone while nobody speaks."""
    for level, option, value in _KEEP_ALIVE:
        if option is not None:
            connection.setsockopt(level, option, value)
