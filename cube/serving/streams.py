"""Responses that go on: events as they happen, output as it is printed.

Owns what such a response holds (a place at the bell, a thread that reads) and lets go of it as soon
as the client is gone or the server stops. A slow client slows down only its own response.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress

import anyio
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

log = logging.getLogger(__name__)

PIECES = 64  # read ahead of a slow client, at most


class Bell:
    """Wakes those who wait, from any thread, without ever blocking who rings."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._stops: set[threading.Event] = set()
        self.closed = False

    def ring(self) -> None:
        """Something happened."""
        with self._lock:
            for event, loop in self._waiting.items():
                with suppress(RuntimeError):  # its loop has ended
                    loop.call_soon_threadsafe(event.set)

    def close(self) -> None:
        """The server stops: let every stream end."""
        with self._lock:
            self.closed = True
            for stop in self._stops:
                stop.set()
        self.ring()

    @contextmanager
    def heard(self) -> Iterator[asyncio.Event]:
        """An event that is set with every ring, for a coroutine of the running loop."""
        event = asyncio.Event()
        with self._lock:
            self._waiting[event] = asyncio.get_running_loop()
        try:
            yield event
        finally:
            with self._lock:
                del self._waiting[event]

    @contextmanager
    def sets(self, stop: threading.Event) -> Iterator[None]:
        """Have `stop` set when the bell is closed."""
        with self._lock:
            self._stops.add(stop)
            if self.closed:
                stop.set()
        try:
            yield
        finally:
            with self._lock:
                self._stops.discard(stop)


class LiveResponse(StreamingResponse):
    """Sends what an async iterator yields, and ends it at once when the client goes away."""

    def __init__(self, content: AsyncGenerator[bytes], media_type: str) -> None:
        super().__init__(content, headers={"Cache-Control": "no-store"}, media_type=media_type)
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send while watching whether anybody still listens."""
        async with anyio.create_task_group() as group, aclosing(self._content):

            async def watch() -> None:
                with suppress(HTTPException):  # it sends more than may be: as good as gone
                    await self.listen_for_disconnect(receive)
                group.cancel_scope.cancel()

            group.start_soon(watch)
            await self.stream_response(send)
            group.cancel_scope.cancel()


async def from_thread(
    source: Iterator[bytes], stop: threading.Event, bell: Bell
) -> AsyncGenerator[bytes]:
    """The pieces of a blocking iterator, which a thread of its own reads until `stop` is set.

    `stop` is set when the stream is left or `bell` closed; `source` is to end soon after.
    """
    pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
    room = threading.Semaphore(PIECES)
    loop = asyncio.get_running_loop()

    def hand_over(piece: bytes | None) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it everybody who waited
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

    def read() -> None:
        try:
            for piece in source:
                room.acquire()
                if stop.is_set():
                    break
                hand_over(piece)
        except Exception:
            log.exception("reading a task's output failed")
        finally:
            hand_over(None)

    with bell.sets(stop):
        threading.Thread(target=read, name="cube-logs", daemon=True).start()
        try:
            while (piece := await pieces.get()) is not None:
                room.release()
                yield piece
        finally:
            stop.set()
            room.release()
