"""Commands that run beside tasks, over HTTP: what they say is one response, other requests feed it.

Owns the running ones by number. A command ends with its response. See `cube.frames` for its form.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from cube.engine.session import Session
from cube.frames import ENDED, STARTED, frame
from cube.serving.streams import Bell, LiveResponse, from_thread


class Sessions:
    """Those of one server. Numbers cannot be guessed."""

    def __init__(self, bell: Bell) -> None:
        """`bell`: when it is closed, all end."""
        self._bell = bell
        self._running: dict[str, Session] = {}

    def find(self, number: str) -> Session | None:
        """The command of that number, while it runs."""
        return self._running.get(number)

    def respond(self, session: Session) -> LiveResponse:
        """What it says until it ends."""
        number = secrets.token_hex(16)
        self._running[number] = session
        return LiveResponse(self._frames(number), "application/octet-stream")

    async def _frames(self, number: str) -> AsyncGenerator[bytes]:
        """When nobody listens any more, it is closed."""
        session, stop = self._running[number], threading.Event()
        try:
            yield frame(STARTED, json.dumps({"exec": number}).encode())
            async with aclosing(from_thread(_said(session, stop), stop, self._bell)) as said:
                async for piece in said:
                    yield piece
        finally:
            del self._running[number]
            threading.Thread(target=session.close, daemon=True).start()  # it may wait for an end


def _said(session: Session, stop: threading.Event) -> Iterator[bytes]:
    for stream, piece in session.output(stop):
        yield frame(stream, piece)
    yield frame(ENDED, json.dumps({"exit_code": session.exit_code()}).encode())
