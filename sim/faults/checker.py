"""What a checker is, and what it raises. The checkers themselves are listed in `checkers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cube.messages import Effect, Snapshot
from cube.task import Record

if TYPE_CHECKING:
    from sim.faults.ordeal import Ordeal


class Broken(Exception):
    """A promise was not kept. `subject` is the task, job or node that it was made to."""

    def __init__(self, promise: str, text: str, subject: str = "") -> None:
        super().__init__(f"{promise}: {text}")
        self.promise = promise
        self.subject = subject


class Checker:
    """Looks at one promise. `actors` is how the names begin of those whose messages it looks at."""

    actors: str | tuple[str, ...] = ""

    def __init__(self, ordeal: Ordeal) -> None:
        self.ordeal = ordeal

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        """An actor has handled a message."""

    def saved(self, records: Sequence[Record]) -> None:
        """These have become durable."""

    def full(self, now: float, known: Snapshot | None) -> None:
        """Between two events: look at everything. `known`: by the manager, if there is one now."""

    def store_replaced(self) -> None:
        """The manager has another store from here on."""
