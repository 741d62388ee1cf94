"""A store that lives as long as its process: for the simulator and for tests.

It keeps the record objects themselves; nothing is written or copied.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import islice
from threading import Lock
from typing import Any, TypeVar

from cube.store.contract import AGE_SECONDS, KEPT, Kept, StoreError, check_records
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

T = TypeVar("T")


class MemoryStore:
    """Implements `Store`. While `broken` is not empty, every use fails with it as the reason."""

    def __init__(self, kept: Kept = KEPT) -> None:
        self.broken = ""
        self._kept = kept
        self._lock = Lock()
        self._saved = Saved({}, {}, {}, {}, {})
        self._ended: dict[str, None] = {}  # uids of ended tasks, in order of their last change
        self._events: list[Event] = []
        self._aged_at = float("-inf")  # the newest event when old ones were last looked for

    def load(self) -> Saved:
        """See `Store.load`."""
        with self._lock:
            self._check()
            saved = self._saved
            return Saved(
                dict(saved.meta),
                dict(saved.jobs),
                dict(saved.tasks),
                dict(saved.volumes),
                dict(saved.answers),
                dict(saved.node_marks),
                dict(saved.tokens),
                dict(saved.node_keys),
            )

    def save(self, records: Sequence[Record]) -> None:
        """See `Store.save`."""
        check_records(records)
        with self._lock:
            self._check()
            for record in records:
                self._put(record)
            self._prune()

    def events(
        self, after_revision: int = 0, limit: int = 1000, job: str | None = None
    ) -> list[Event]:
        """See `Store.events`."""
        with self._lock:
            self._check()
            start = bisect_right(self._events, after_revision, key=_revision)
            found: list[Event] = []
            for event in islice(self._events, start, None):
                if len(found) >= limit and event.revision != found[-1].revision:
                    break
                if job is None or event.job == job:
                    found.append(event)
            return found

    def close(self) -> None:
        """Nothing to let go of."""

    def _check(self) -> None:
        if self.broken:
            raise StoreError(self.broken)

    def _put(self, record: Record) -> None:
        saved = self._saved
        match record:
            case Task():
                uid = record.uid
                saved.tasks[uid] = record
                self._ended.pop(uid, None)
                if record.state.final:
                    self._ended[uid] = None
            case Event():
                self._add_event(record)
            case Job():
                saved.jobs[record.name] = record
            case Meta():
                saved.meta[record.key] = record.value
            case Answer():
                saved.answers.pop(record.request, None)
                saved.answers[record.request] = record
            case Volume():
                saved.volumes[record.name] = record
            case NodeMark():
                saved.node_marks[record.node] = record
            case Token():
                saved.tokens[record.name] = record
            case NodeKey():
                saved.node_keys[record.node] = record
            case Forget():
                self._forget(record)

    def _add_event(self, event: Event) -> None:
        events = self._events
        if events and events[-1].revision > event.revision:
            events.insert(bisect_right(events, event.revision, key=_revision), event)
        else:
            events.append(event)

    def _forget(self, record: Forget) -> None:
        saved = self._saved
        tables: dict[str, dict[str, Any]] = {
            "job": saved.jobs,
            "task": saved.tasks,
            "volume": saved.volumes,
            "node mark": saved.node_marks,
            "token": saved.tokens,
            "node key": saved.node_keys,
        }
        tables[record.kind].pop(record.key, None)
        if record.kind == "task":
            self._ended.pop(record.key, None)

    def _prune(self) -> None:
        saved, kept = self._saved, self._kept
        for request in _surplus(saved.answers, kept.answers):
            del saved.answers[request]
        for uid in _surplus(self._ended, kept.ended_tasks):
            del self._ended[uid], saved.tasks[uid]
        del self._events[: len(_surplus(self._events, kept.events))]
        if self._events and self._events[-1].at - self._aged_at >= AGE_SECONDS:
            self._aged_at = self._events[-1].at
            limit = kept.event_limit(self._aged_at)
            young = (i for i, event in enumerate(self._events) if event.at >= limit)
            del self._events[: next(young)]


def _surplus(rows: Collection[T], kept: int) -> list[T]:
    """The oldest rows beyond `kept`, once they are 1 % more, so that pruning stays cheap."""
    surplus = len(rows) - kept
    return list(islice(rows, surplus)) if surplus > kept // 100 else []


def _revision(event: Event) -> int:
    return event.revision
