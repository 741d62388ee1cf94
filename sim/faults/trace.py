"""The digest of a run: every message handled and every state saved, without a floating score."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from cube.messages import Assign, Fact, Placed, Report, RunDue, Save, Wanted
from cube.task import Task

MICROS = 1_000_000
LINES = 1000  # digested at once
T = TypeVar("T")


class Trace:
    """Two runs that are equal in this are equal."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._lines: list[str] = []  # not yet in the digest
        self._tasks: set[str] = set()
        self._listed: dict[object, tuple[tuple[Any, ...], str]] = {}

    @property
    def tasks(self) -> int:
        """How many tasks there were in all."""
        return len(self._tasks)

    def note(self, actor: str, message: Any, now: float) -> None:
        """A message was handled."""
        kind = type(message)
        if kind is Report:
            facts = self._list((message.node, message.whole), message.facts, _fact)
            what = f"{message.node} {message.seq} {message.whole} {facts}"
        elif kind is Assign:
            what = f"{message.generation[1:]} {self._list(actor, message.tasks, _wanted)}"
        elif kind is Placed:
            what = str([(d.uid, d.row) for d in message.decisions])
        elif kind is RunDue:
            what = str(message.key)
        else:
            what = ""
        self._lines.append(f"{round(now * MICROS)} {actor} {kind.__name__} {what}\n")
        if len(self._lines) >= LINES:
            self._digest()

    def saved(self, save: Save) -> None:
        """The manager decided something."""
        for record in save.records:
            if isinstance(record, Task):
                uid = record.uid
                self._tasks.add(uid)
                line = f"{uid} {record.state} {record.node} {record.attempt}\n"
                self._lines.append(line)

    def hexdigest(self) -> str:
        """Of all so far."""
        self._digest()
        return self._hash.hexdigest()

    def _digest(self) -> None:
        self._hash.update("".join(self._lines).encode())
        self._lines.clear()

    def _list(
        self, about: object, things: tuple[T, ...], told: Callable[[T], tuple[object, ...]]
    ) -> str:
        """What is listed about a node, as text: most of the time, what was listed before."""
        latest = self._listed.get(about)
        if latest is None or latest[0] != things:
            latest = self._listed[about] = (things, str([told(thing) for thing in things]))
        return latest[1]


def _fact(fact: Fact) -> tuple[object, ...]:
    return (fact.uid, fact.attempt, fact.restart, int(fact.phase))


def _wanted(wanted: Wanted) -> tuple[object, ...]:
    return (wanted.uid, wanted.attempt, wanted.run)
