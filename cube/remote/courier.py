"""Brings messages to an actor on another machine: a thread of its own, and few messages that wait.

`carry` never blocks. What waits is bounded, and what a newer message makes needless is dropped, so
that a slow or dead machine delays nobody and hears only what still matters. A message that cannot
be brought is lost.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from cube.remote.line import Refused, Unreachable

log = logging.getLogger("cube")

WAITING = 64  # messages at most; beyond, the oldest is lost
CLOSE_SECONDS = 1.0


class Way(Protocol):
    """Leads to one receiver. Used by the courier's thread alone."""

    def bring(self, message: Any) -> None:
        """Take one message there.

        Raises:
            Unreachable: nobody answered.
            Refused: the receiver said no.
        """

    def close(self) -> None:
        """Let go of connections."""


class Courier:
    """Takes messages to one other machine until it is closed."""

    def __init__(
        self,
        whom: str,
        way: Way,
        supersedes: Callable[[Any], bool],
        rest_seconds: float = 0.0,
    ) -> None:
        """Made for one receiver.

        Args:
            whom: the receiver, for the log.
            way: leads there.
            supersedes: does a message say all that those before it said?
            rest_seconds: between tries where somebody refused us for good.
        """
        self._rest_seconds = rest_seconds
        self._whom = whom
        self._way = way
        self._supersedes = supersedes
        self._waiting: deque[Any] = deque(maxlen=WAITING)
        self._changed = threading.Condition()
        self._closed = False
        self._trouble = ""  # as last logged
        self._thread = threading.Thread(target=self._run, name=f"cube-to-{whom}", daemon=True)
        self._thread.start()

    def carry(self, message: Any) -> None:
        """Take this there, soon."""
        with self._changed:
            if self._supersedes(message):
                self._waiting.clear()
            self._waiting.append(message)
            self._changed.notify()

    def close(self) -> None:
        """Bring nothing any more; what is under way may still arrive. Waits for nobody."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def join(self) -> None:
        """Wait until it has closed, but not for a receiver that is gone."""
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while (message := self._next()) is not None:
            try:
                self._way.bring(message)
                self._works()
            except Unreachable as error:
                self._fails(f"{error}", "")
            except Refused as error:
                self._fails(str(error), error.remedy)
                if error.lasts:
                    self._rest()
            except Exception:
                log.exception("%s could not be told a %s", self._whom, type(message).__name__)
        self._way.close()

    def _next(self) -> Any:
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            return None if self._closed else self._waiting.popleft()

    def _rest(self) -> None:
        """Whoever refuses us will do so again: ask slowly."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, self._rest_seconds)

    def _works(self) -> None:
        if self._trouble:
            log.warning("%s is reached again", self._whom)
            self._trouble = ""

    def _fails(self, what: str, remedy: str) -> None:
        """Log it once, until it changes."""
        if what != self._trouble:
            log.warning("%s is not reached: %s%s", self._whom, what, f" {remedy}" if remedy else "")
            self._trouble = what
