"""A command that somebody runs beside a task: the contract that engines share.

A session belongs to whoever started it and ends with them; the task knows nothing of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

STDOUT, STDERR = 1, 2
POLL_SECONDS = 0.5  # until a reader notices that it is to stop


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be run, and how it meets its user."""

    command: tuple[str, ...]
    tty: bool = False
    rows: int = 24
    columns: int = 80


class Session(Protocol):
    """One command that runs. Methods may be called from several threads."""

    def output(self, stop: threading.Event) -> Iterator[tuple[int, bytes]]:
        """What it says, with `STDOUT` or `STDERR` (a terminal has only the first).

        Ends with the command, or soon after `stop` is set.
        """

    def write(self, data: bytes) -> None:
        """Give it input; once it has ended nothing happens."""

    def end_input(self) -> None:
        """There is no more input."""

    def resize(self, rows: int, columns: int) -> None:
        """Its user's terminal has another size now."""

    def exit_code(self) -> int | None:
        """How it ended; None: it has not, or nobody knows."""

    def close(self) -> None:
        """Its user is gone: end it as far as the engine can. Closing twice is harmless."""
