"""A store that fails, and of which there are copies from earlier times."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cube.store import MemoryStore
from cube.store.contract import StoreError
from cube.task import Record, Saved


class FaultyStore(MemoryStore):
    """A memory store whose saves can fail. Loading always works: what is durable can be read."""

    def __init__(self, saved: Saved | None = None) -> None:
        super().__init__()
        if saved is not None:
            self._saved = saved
        self.watch: Callable[[Sequence[Record]], None] = lambda records: None
        self._failing: list[tuple[str, int]] = []
        self._count = 0

    def fail(self, why: str, every: int) -> None:
        """Let every so-manieth save fail."""
        self._failing.append((why, every))

    def mend(self) -> None:
        """End one of the failures."""
        if self._failing:
            self._failing.pop()

    @property
    def content(self) -> Saved:
        """What is durable now: to be looked at, not to be kept."""
        return self._saved

    @property
    def failing(self) -> bool:
        """Does it fail now?"""
        return bool(self._failing)

    def save(self, records: Sequence[Record]) -> None:
        """See `Store.save`."""
        self._count += 1
        for why, every in self._failing:
            if self._count % every == 0:
                raise StoreError(why)
        super().save(records)
        self.watch(records)

    def copy(self) -> FaultyStore:
        """Another store with the same content."""
        return FaultyStore(self.load())
