"""Follows a Docker engine's events, and notices when the engine goes away and comes back.

Owns the stream and its thread. Passes events on; what they mean is the engine's business.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from docker.api.client import APIClient
from docker.errors import APIError
from docker.types import CancellableStream

from cube.engine.docker.connect import knock
from cube.engine.docker.errors import UNREACHABLE, unreachable_reason
from cube.engine.docker.streams import cut, release

Event = dict[str, Any]

RETRY_SECONDS = (0.1, 0.3, 1.0, 3.0)  # between attempts to reach an engine that is gone


class Watch:
    """One stream of events that is opened again whenever it breaks."""

    def __init__(
        self,
        url: str,
        clients: tuple[APIClient, APIClient],
        labels: list[str],
        *,
        name: str,
        on_event: Callable[[Event], None],
        on_down: Callable[[str], None],
        on_back: Callable[[bool], None],
    ) -> None:
        """Subscribe; from here on nothing is missed.

        Args:
            url: of the engine.
            clients: for calls and for streams.
            labels: only events of things with these labels.
            name: of the thread.
            on_event: gets each event, also some of them twice.
            on_down: gets the reason when the engine does not answer; may be called again.
            on_back: told when events flow again, and whether the engine was restarted.
        """
        self._url = url
        self._api, self._streams = clients
        self._filters = {"type": ["container"], "label": labels}
        self._on_event, self._on_down, self._on_back = on_event, on_down, on_back
        self._closed = threading.Event()
        self._latest = self._latest_event()
        self._stream = self._open()
        self._thread = threading.Thread(target=self._follow, name=name, daemon=True)
        self._thread.start()

    def reopen(self) -> None:
        """Break the stream: the engine has been seen not to answer."""
        cut(self._stream)

    def close(self) -> None:
        """End the stream and its thread."""
        self._closed.set()
        self.reopen()
        self._thread.join(5.0)

    def _follow(self) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(*UNREACHABLE):
                for event in self._stream:
                    self._latest = event
                    self._on_event(event)
            release(self._stream)
            self._come_back()
        release(self._stream)

    def _come_back(self) -> None:
        failures = 0
        while not self._closed.is_set():
            try:
                knock(self._url)
                self._api.ping()  # unlike the stream, it gives up on a hung engine
                restarted = self._was_restarted()
                self._stream = self._open()
            except (APIError, OSError, *UNREACHABLE) as error:
                self._on_down(unreachable_reason(error))
                self._closed.wait(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1
            else:
                self._on_back(restarted)
                return

    def _open(self) -> CancellableStream[Event]:
        since = None if self._latest is None else int(self._latest["time"])
        return self._streams.events(since=since, filters=self._filters, decode=True)

    def _was_restarted(self) -> bool:
        """Engines keep recent events in memory: one that forgot our latest was restarted."""
        if self._latest is None:
            return False
        moment, second = self._latest["timeNano"], int(self._latest["time"])
        return all(event["timeNano"] != moment for event in self._recent(second, second + 1))

    def _latest_event(self) -> Event | None:
        now = datetime.fromisoformat(self._api.info()["SystemTime"])
        recent = self._recent(1, int(now.timestamp()))
        return max(recent, key=lambda event: int(event["timeNano"]), default=None)

    def _recent(self, since: int, until: int) -> list[Event]:
        """What the engine remembers between two whole seconds of its clock."""
        stream = self._api.events(since=since, until=until, decode=True)
        try:
            return list(stream)
        finally:
            release(stream)
