"""What every store does, and how it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cube.task import (
    Answer,
    Event,
    Forget,
    Job,
    Meta,
    NodeKey,
    NodeMark,
    Record,
    Saved,
    Task,
    Token,
    Volume,
)

RECORDS = frozenset({Task, Job, Event, Meta, Answer, Volume, NodeMark, Token, NodeKey, Forget})


class StoreError(Exception):
    """The store cannot be read or written; the text says why and what to do."""


class StoreLocked(StoreError):
    """Another process works on the same store; `pid` is its id, if it could be read."""

    def __init__(self, text: str, pid: int | None = None) -> None:
        super().__init__(text)
        self.pid = pid


@dataclass(frozen=True, slots=True)
class Kept:
    """How much history is kept: the newest so many, by revision; older rows are dropped.

    So are events that are `event_days` older than the newest. Running work is never dropped.
    Between two loads a store may hold up to 1 % more, and what became too old in the last hour.
    """

    answers: int = 10_000
    ended_tasks: int = 100_000
    events: int = 100_000
    event_days: float = 30.0

    def event_limit(self, newest: float) -> float:
        """Events before this moment are too old if the newest is of `newest`."""
        return newest - self.event_days * 86400.0


AGE_SECONDS = 3600.0  # between two looks for events that are too old, by the events' own clock


KEPT = Kept()


class Store(Protocol):
    """Where the manager keeps what must survive it.

    `save` is called from one thread; `events` may be called from any, at the same time.
    """

    def load(self) -> Saved:
        """The latest record of every key.

        Raises:
            StoreError: it cannot be read.
        """
        ...

    def save(self, records: Sequence[Record]) -> None:
        """Make `records` durable, in order, all or none.

        Raises:
            StoreError: nothing of it was saved; saving again later may succeed.
        """
        ...

    def events(
        self, after_revision: int = 0, limit: int = 1000, job: str | None = None
    ) -> list[Event]:
        """The oldest `limit` events after that revision, of one job or of all, oldest first.

        Events of one revision stay together, even beyond `limit`, so that going on after the
        last one's revision misses nothing.

        Raises:
            StoreError: it cannot be read.
        """
        ...

    def close(self) -> None:
        """Let go of files and locks. Closing twice is harmless."""
        ...


def check_records(records: Sequence[Record]) -> None:
    """Refuse, before anything changes, what is not a record.

    Raises:
        TypeError: a core saved something else, which is a bug in it.
    """
    for record in records:
        if type(record) not in RECORDS:
            raise TypeError(f"a {type(record).__name__} is not a record")
