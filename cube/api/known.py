"""Who is let in, as doors know it: the manager's word, asked for after each of its saves.

Owns that copy. What follows from it is decided by `cube.access`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from cube.api.backend import Backend
from cube.messages import Access


class KnownAccess:
    """Tokens and node keys. Used from several threads."""

    def __init__(self, backend: Backend, changed: Callable[[Access], None] | None = None) -> None:
        """`changed` is told of each new word, before anybody is let in by it."""
        self._backend = backend
        self._changed = changed
        self._known = Access((), {})
        self._saves = 1
        self._seen = 0  # how many saves `_known` has seen
        self._lock = threading.Lock()
        backend.world.on_saved(self._saved)

    @property
    def is_current(self) -> bool:
        """Will `now` answer without asking?"""
        return self._seen == self._saves

    def now(self) -> Access:
        """As the manager knows it. May wait for it.

        Raises:
            NoAnswer: the manager does not answer.
        """
        with self._lock:
            saves = self._saves
            if self._seen != saves:
                self._known = self._backend.access()
                if self._changed is not None:
                    self._changed(self._known)
                self._seen = saves
            return self._known

    def clock(self) -> float:
        """The time by which tokens expire."""
        return self._backend.world.now()

    def _saved(self) -> None:
        self._saves += 1
