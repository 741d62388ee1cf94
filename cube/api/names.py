"""Where services are reached, as nodes ask for it to tell their containers.

Owns one answer for all of them: it is looked up once in a moment, however many ask.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable

from cube.messages import Snapshot
from cube.views.endpoints import reached

MOMENT_SECONDS = 1.0


class KnownNames:
    """Used from several threads."""

    def __init__(self, look: Callable[[], Snapshot]) -> None:
        self._look = look
        self._at = -MOMENT_SECONDS
        self._version = ""
        self._body = b""
        self._lock = threading.Lock()

    def since(self, version: str) -> bytes:
        """What is new to one who knows that version; empty if nothing is. May wait for the manager.

        Raises:
            NoAnswer: the manager does not answer.
        """
        with self._lock:
            if time.monotonic() - self._at >= MOMENT_SECONDS:
                names = reached(self._look())
                text = json.dumps(names, sort_keys=True)
                self._version = hashlib.sha256(text.encode()).hexdigest()[:16]
                self._body = json.dumps({"version": self._version, "names": names}).encode()
                self._at = time.monotonic()
            return b"" if version == self._version else self._body
