"""What is told of the runs on a node: all of them, or those that changed.

Owns which changes nobody was told yet, and the facts as last told: whole reports repeat most of
them. When something is due is owned by `reports`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cube.messages import Fact, Generation, NodeInfo, Report
from cube.worker.reports import Key, Reports
from cube.worker.runs import Held


class Telling:
    """Turns runs into reports."""

    def __init__(self, reports: Reports, held: Mapping[Key, Held]) -> None:
        self._reports = reports
        self._held = held
        self._changed: dict[Key, None] = {}
        self._facts: dict[Key, Fact] = {}
        self._whole: tuple[Fact, ...] | None = None  # all facts, while none is stale

    def changed(self, key: Key) -> None:
        """There is news of it, to be told at once."""
        self._changed[key] = None
        self._whole = None

    def stale(self, key: Key) -> None:
        """There is news of it that the next whole report may tell."""
        self._facts.pop(key, None)
        self._whole = None

    def forget(self, key: Key) -> None:
        """It is here no longer."""
        self._changed.pop(key, None)
        self.stale(key)
        self._reports.forget(key)

    def whole(self, now: float, echoes: Generation | None, info: NodeInfo | None) -> Report | None:
        """Tell all that is here; None until the engine has told us what that is."""
        if info is None and not self._reports.engine_error:
            return None
        for key in self._changed:
            self.stale(key)
        self._changed = {}
        if self._whole is None:
            self._whole = tuple([self._facts.get(key) or self._fact(key) for key in self._held])
        return self._reports.whole(self._whole, now, echoes, info)

    def changes(self, now: float, echoes: Generation | None) -> Report | None:
        """Tell what changed, if anything did."""
        keys, self._changed = self._changed, {}
        return self.again(keys, now, echoes) if keys else None

    def again(self, keys: Iterable[Key], now: float, echoes: Generation | None) -> Report | None:
        """Tell of these; before the first whole report there is nothing to change."""
        known = [key for key in keys if key in self._held]
        if not self._reports.started:
            return None
        return self._reports.changes(known, [self._fact(key) for key in known], now, echoes)

    def _fact(self, key: Key) -> Fact:
        fact = self._facts[key] = self._held[key].fact()
        return fact
