"""Serves the API from a thread: a socket, the server, and its orderly end.

Owns the listening socket. Only loopback addresses are served, because nothing here encrypts.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

GRACE_SECONDS = 3  # for requests under way when the server stops


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
    def parse(cls, text: str) -> Listen:
        """Read `HOST:PORT`, `HOST`, `:PORT` or `[IPV6]:PORT`.

        Raises:
            ListenError: it is none of these, or not on this machine alone.
        """
        host, colon, port = text.rpartition(":")
        if not colon or text.endswith("]"):
            host, port = text, "0"
        if not (port.isascii() and port.isdecimal() and int(port) < 65536):
            raise ListenError(f"{text} is not an address.\nWrite HOST:PORT, as in 127.0.0.1:0.", 2)
        listen = cls(host.strip("[]") or "127.0.0.1", int(port))
        listen.check()
        return listen

    def check(self) -> None:
        """See that only this machine can reach it.

        Raises:
            ListenError: it is on a network.
        """
        try:
            loopback = self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            loopback = False
        if not loopback:
            raise ListenError(
                f"Cube does not listen on {self.host}: serving a network needs TLS, which this"
                " version does not have.\nUse 127.0.0.1.",
                2,
            )

    def bind(self) -> socket.socket:
        """A socket that listens there.

        Raises:
            ListenError: the address is taken or may not be used.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((self.host, self.port))
            made.listen(256)
        except OSError as error:
            made.close()
            taken = error.errno == errno.EADDRINUSE
            raise ListenError(
                f"Cube cannot listen on {self.host}:{self.port}: {error.strerror}.\n"
                "Choose another port with --listen HOST:PORT.",
                6 if taken else 1,
            ) from error
        return made


class ServerThread:
    """A server that runs until `stop`."""

    def __init__(self, app: FastAPI, bound: socket.socket) -> None:
        host, port = bound.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._socket = bound
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="warning",
                access_log=False,
                ws="none",
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._thread = threading.Thread(target=self._run, name="cube-api", daemon=True)

    def start(self) -> None:
        """Serve from now on; whoever connects before the thread is up waits in the socket."""
        self._thread.start()

    def stop(self) -> None:
        """End it: what is under way gets `GRACE_SECONDS`."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])
