"""Serves an application from a thread: the server and its orderly end.

Owns the listening socket. Where there is TLS, every request is told who is at the other end.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from typing import Final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from cube.keepalive import stay
from cube.serving.listening import host_port

GRACE_SECONDS = 3  # for requests under way when the server stops
REQUEST_SECONDS = 30.0  # until a request is there as a whole
PEER: Final = "peer_certificate"  # in a request's state: DER, as TLS has checked it


class ServerThread:
    """A server that runs until `stop`."""

    def __init__(
        self,
        app: ASGIApp,
        bound: socket.socket,
        tls: ssl.SSLContext | None = None,
        *,
        idle_seconds: int = 5,
        name: str = "cube-api",
    ) -> None:
        """`idle_seconds`: how long a connection may rest between two requests."""
        host, self.port = bound.getsockname()[:2]
        self.url = f"http{'s' if tls else ''}://{host_port(host, self.port)}"
        self._socket = bound
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                loop="asyncio",  # others do not ask the socket for connections: see `bounded`
                http=_Protocol,
                log_config=None,
                log_level="warning",
                access_log=False,
                ws="none",
                lifespan="off",
                server_header=False,
                timeout_keep_alive=idle_seconds,
                timeout_graceful_shutdown=GRACE_SECONDS,
                ssl_context_factory=None if tls is None else lambda *_: tls,
            )
        )
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

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


class _Protocol(H11Protocol):
    """Tells whose certificate the other end has shown; waits for nobody who is slow."""

    _deadline: asyncio.TimerHandle | None = None  # for the request that is being received

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        stay(transport.get_extra_info("socket"))
        connection: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if connection is not None and connection.context.verify_mode is ssl.CERT_REQUIRED:
            self.app_state = {**self.app_state, PEER: connection.getpeercert(binary_form=True)}
        self._expect()

    def data_received(self, data: bytes) -> None:
        self._expect()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE and self.conn.their_state is not h11.SEND_BODY:
            self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops: a connection at rest is cut, as its other end need not answer."""
        super().shutdown()
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()

    def _expect(self) -> None:
        """Whoever has not said all of a request by then is cut off."""
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
