"""Where a server listens: addresses as users write them, and sockets.

Owns the rule that a network is served only with TLS.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass

from cube.serving.bounded import BoundedSocket

_ANYWHERE = ("0.0.0.0", "::")


class ListenError(Exception):
    """It cannot listen there; `exit_code` tells kinds apart, the second line says what to do."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen; port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 0

    @classmethod
    def parse(cls, text: str, port: int = 0) -> Listen:
        """Read `HOST:PORT`, `HOST`, `:PORT` or `[IPV6]:PORT`; `port` is the one not given.

        Raises:
            ListenError: it is none of these.
        """
        host, colon, given = text.rpartition(":")
        if not colon or text.endswith("]"):
            host, given = text, str(port)
        if not (given.isascii() and given.isdecimal() and int(given) < 65536):
            raise ListenError(f"{text} is not an address.\nWrite HOST:PORT, as in 127.0.0.1:0.", 2)
        return cls(host.strip("[]") or "127.0.0.1", int(given))

    @property
    def is_loopback(self) -> bool:
        """Can only this machine reach it?"""
        return is_loopback(self.host)

    @property
    def is_anywhere(self) -> bool:
        """Is it every address of this machine?"""
        return self.host in _ANYWHERE

    def check_loopback(self) -> None:
        """See that only this machine can reach it, for what is served without TLS.

        Raises:
            ListenError: it is on a network.
        """
        if not self.is_loopback:
            raise ListenError(
                f"Cube does not listen on {self.host}: serving a network needs TLS, which this"
                " command does not have.\nUse 127.0.0.1; or, for several machines, cube manager.",
                2,
            )

    def bind(self, option: str = "--listen") -> socket.socket:
        """A socket that listens there; `option` names the address in errors.

        Raises:
            ListenError: the address is taken or may not be used.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        made = BoundedSocket(family)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((self.host, self.port))
            made.listen(256)
        except OSError as error:
            made.close()
            taken = error.errno == errno.EADDRINUSE
            raise ListenError(
                f"Cube cannot listen on {self.host}:{self.port}: {error.strerror}.\n"
                f"Choose another port with {option} HOST:PORT.",
                6 if taken else 1,
            ) from error
        return made


def is_loopback(host: str) -> bool:
    """Is that this machine, seen from itself only?"""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_port(host: str, port: int) -> str:
    """An address in one word, as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
