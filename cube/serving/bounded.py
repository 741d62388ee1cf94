"""A listening socket with room for so many connections: who comes when it is full is hung up on.

Every open connection holds a descriptor, of which a process has few, and its store, its workers and
its users share them. Connections count from the first packet, so those that never finish TLS do.
"""

from __future__ import annotations

import logging
import resource
import socket
from typing import Any
from weakref import WeakSet

log = logging.getLogger("cube")

MOST = 4096
SHARE = 4  # of the process's descriptors, a listener has one part of so many


class BoundedSocket(socket.socket):
    """Listens; `accept` refuses what is more than `most`."""

    def __init__(self, family: int, most: int | None = None) -> None:
        """`most` connections at once; None: as many as the process can well spare."""
        # Named TCP, so that asyncio lets small answers out at once (TCP_NODELAY).
        super().__init__(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._most = spare() if most is None else most
        self._taken: WeakSet[_Taken] = WeakSet()
        self._is_full = False

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection.

        Raises:
            ConnectionAbortedError: there are too many; it was closed.
        """
        plain, address = super().accept()
        full = len(self._taken) >= self._most
        if full and not self._is_full:
            log.warning("there are %d connections: no more are taken until one ends", self._most)
        self._is_full = full
        if full:
            plain.close()
            raise ConnectionAbortedError
        taken = _Taken(plain, self._taken)
        self._taken.add(taken)
        return taken, address


class _Taken(socket.socket):
    """Counts until it is closed."""

    def __init__(self, plain: socket.socket, among: WeakSet[_Taken]) -> None:
        self._among = among
        super().__init__(plain.family, plain.type, plain.proto, plain.detach())

    def close(self) -> None:
        """Close it, and make room."""
        self._among.discard(self)
        super().close()


def spare() -> int:
    """How many connections a listener of this process may have."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if descriptors < 0 else min(MOST, max(1, descriptors // SHARE))
