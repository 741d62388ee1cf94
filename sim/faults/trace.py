"""The digest of a run: every message handled and every state saved, without a floating score."""

from __future__ import annotations

import hashlib
from typing import Any

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
        match message:
            case Report():
                facts = [(f.uid, f.attempt, f.restart, int(f.phase)) for f in message.facts]
                what = f"{message.node} {message.seq} {message.whole} {facts}"
            case Assign():
                tasks = [(w.uid, w.attempt, w.run) for w in message.tasks]
                what = f"{message.generation[1:]} {tasks}"
            case Placed():
                what = str([(d.uid, d.row) for d in message.decisions])
            case RunDue():
                what = str(message.key)
            case _:
                what = ""
        line = f"{round(now * MICROS)} {actor} {type(message).__name__} {what}\n"
        self._hash.update(line.encode())

    def saved(self, save: Save) -> None:
        """The manager decided something."""
        for record in save.records:
            if isinstance(record, Task):
                self._tasks.add(record.uid)
                line = f"{record.uid} {record.state} {record.node} {record.attempt}\n"
                self._hash.update(line.encode())

    def hexdigest(self) -> str:
        """Of all so far."""
        return self._hash.hexdigest()
