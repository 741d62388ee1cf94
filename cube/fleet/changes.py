"""The journal of changed rows, by which readers keep what they derived from a fleet true.

Owns the order of changes. It is bounded: who asks for more than it remembers is told to look at
everything.
"""

from __future__ import annotations

import numpy as np

from cube.fleet.arrays import Rows


class Changes:
    """One entry per change; the revision is the number of entries ever made."""

    def __init__(self, remembered: int) -> None:
        self.revision = 0
        self.latest = -1  # the row that changed last
        self._start = 0  # the revision before the oldest entry
        self._allocate(np.empty(0, np.intp), remembered)

    def _allocate(self, entries: Rows, remembered: int) -> None:
        self._entries = np.empty(2 * remembered, np.intp)
        self._entries[: len(entries)] = entries
        self._cells = self._entries.data
        self._end = len(entries)

    def note(self, row: int) -> None:
        """The row changed."""
        if self._end == len(self._entries):
            self.remember(len(self._entries) // 2)
        self._cells[self._end] = self.latest = row
        self._end += 1
        self.revision += 1

    def remember(self, count: int) -> None:
        """Keep at least the latest `count` entries from now on; drop older ones."""
        entries = self._entries[: self._end]
        self._start += max(0, len(entries) - count)
        self._allocate(entries[-count:].copy(), count)

    def since(self, revision: int) -> Rows | None:
        """The rows changed after `revision`, oldest first, with repeats; None: too long ago."""
        if revision < self._start:
            return None
        return self._entries[revision - self._start : self._end]
