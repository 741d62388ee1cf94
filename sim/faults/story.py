"""What happened to one task or node, message by message: the first thing to read of a failure."""

from __future__ import annotations

from collections import deque
from typing import Any

from cube.messages import (
    Assign,
    Placed,
    Report,
    RunDue,
    Save,
    Tick,
)
from cube.task import Task

REMEMBERED = 100_000  # messages


class Story:
    """The latest messages of a run, with what the manager saved."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._lines: deque[tuple[float, str, Any]] = deque(maxlen=remembered)

    def note(self, now: float, actor: str, thing: Any) -> None:
        """Something happened to an actor: a message, a save, or a fault as text."""
        self._lines.append((now, actor, thing))

    def forget(self) -> None:
        """Let go of everything."""
        self._lines.clear()

    def of(self, subject: str, last: int = 60) -> list[str]:
        """The latest lines that concern a task, a job or a node; "" is everything."""
        told = (
            f"{now:12.6f}  {actor:<18} {text}"
            for now, actor, thing in self._lines
            if (text := _told(thing, subject)) and (text != "-")
        )
        return list(deque(told, maxlen=last))


def _told(thing: Any, subject: str) -> str:
    """One thing as it concerns the subject, or "" if it does not."""
    match thing:
        case str():
            return thing if thing.startswith("!") or subject in thing else ""
        case Tick():
            return ""
        case Save():
            states = [_state(r) for r in thing.records if isinstance(r, Task) and subject in r.uid]
            return f"saves {'; '.join(states)}" if states else ""
        case Report():
            facts = [
                f"{f.uid} a{f.attempt} r{f.restart} f{len(f.failures)} {f.phase.name}"
                f"{' final' if f.final else ''}"
                for f in thing.facts
                if subject in f.uid or subject == thing.node
            ]
            whole = "whole " if thing.whole else ""
            head = f"{whole}Report of {thing.node} ({thing.life}, {thing.seq})"
            return f"{head}: {'; '.join(facts)}" if facts else ""
        case Assign():
            tasks = [
                f"{w.uid} a{w.attempt} f{len(w.failures)}{'' if w.run else ' stop'}"
                for w in thing.tasks
                if subject in w.uid or subject == thing.node
            ]
            if not tasks and subject != thing.node:
                return ""
            head = f"Assign to {thing.node} {tuple(thing.generation[1:])} for {thing.answers}"
            return f"{head}: {'; '.join(tasks) or 'nothing'}"
        case Placed():
            rows = [f"{d.uid} on {d.node}" for d in thing.decisions if subject in d.uid]
            return f"Placed {'; '.join(rows)}" if rows else ""
        case RunDue():
            return f"{thing}" if subject in thing.key.uid else ""
        case _:
            text = str(thing)
            return text[:200] if subject in text else ""


def _state(task: Task) -> str:
    run = f"a{task.attempt} r{task.restart} p{task.phase} f{len(task.failures)}"
    return f"{task.uid} {task.state} on {task.node} {run}"
