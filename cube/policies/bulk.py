"""Scores of many demands at once, for policies that know a faster way than one after the other.

Owns the interface between such a policy and the board of `cube.placement`. What it gives must be
bit for bit what `Policy.score` gives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from cube.fleet import Floats, Rows
from cube.spec import Demand


class Bulk(ABC):
    """What the demands in numbered slots cost on the rows of one fleet."""

    @abstractmethod
    def is_true(self) -> bool:
        """Does it still score as the policy would? Not once the policy's basis has changed."""

    @abstractmethod
    def enter(self, slot: int, demand: Demand) -> None:
        """The slot (one of those there are, or the next one) holds `demand` from now on."""

    @abstractmethod
    def score_row(self, row: int) -> Floats:
        """What one row costs each slot; shape (slots,). The next call writes over it."""

    @abstractmethod
    def score_rows(self, rows: Rows) -> Floats:
        """What `rows` cost each slot; shape (slots, len(rows))."""

    @abstractmethod
    def score_slot(self, slot: int, rows: Rows) -> Floats:
        """What `rows` cost one slot; shape (len(rows),)."""
