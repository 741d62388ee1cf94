"""The digest of a run: every message handled and every state saved, without a floating score."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

from cube.messages import Assign, Placed, Report, RunDue, Save
from cube.task import Task

MICROS = 1_000_000


class Trace:
    """Two runs that are equal in this are equal."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._tasks: set[str] = set()

    @property
    def tasks(self) -> int:
        """How many tasks there were in all."""
        return len(self._tasks)

    def note(self, actor: str, message: Any, now: float) -> None:
        """A message was handled."""
        kind = type(message)
        told = TOLD.get(kind)
        what = "" if told is None else told(message)
        self._hash.update(f"{round(now * MICROS)} {actor} {kind.__name__} {what}\n".encode())

    def saved(self, save: Save) -> None:
        """The manager decided something."""
        for record in save.records:
            if isinstance(record, Task):
                uid = record.uid
                self._tasks.add(uid)
                line = f"{uid} {record.state} {record.node} {record.attempt}\n"
                self._hash.update(line.encode())

    def hexdigest(self) -> str:
        """Of all so far."""
        return self._hash.hexdigest()


def _report(report: Report) -> str:
    facts = [(f.uid, f.attempt, f.restart, int(f.phase)) for f in report.facts]
    return f"{report.node} {report.seq} {report.whole} {facts}"


def _assign(assign: Assign) -> str:
    tasks = [(w.uid, w.attempt, w.run) for w in assign.tasks]
    return f"{assign.generation[1:]} {tasks}"


def _placed(placed: Placed) -> str:
    return str([(d.uid, d.row) for d in placed.decisions])


def _due(due: RunDue) -> str:
    return str(due.key)


# What is told of a message besides its kind, its actor and its time.
TOLD: Final[dict[type, Callable[[Any], str]]] = {
    Report: _report,
    Assign: _assign,
    Placed: _placed,
    RunDue: _due,
}
