"""How a command ends: the exit codes, and errors that say what, where and what to do.

Everything that a user may do wrong ends here as one `Failure`; nothing here knows what commands do.
"""

from __future__ import annotations

from enum import IntEnum
from typing import IO, Any

import click

from cube.cli.text import harmless, say


class ExitCode(IntEnum):
    """What the exit code of `cube` means."""

    OK = 0
    ERROR = 1
    USAGE = 2
    UNPLACED = 3
    UNHEALTHY = 4
    NOT_FOUND = 5
    CONFLICT = 6
    NOT_ALLOWED = 7
    NO_MANAGER = 8
    CHANGES = 10
    INTERRUPTED = 130


MEANING = {
    ExitCode.OK: "done",
    ExitCode.ERROR: "an error: a bad job file, an engine that does not answer, ...",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.UNPLACED: "something cannot be placed now; all that can run runs",
    ExitCode.UNHEALTHY: "a task failed, the deadline passed, or the roll-out halted",
    ExitCode.NOT_FOUND: "there is no such job, task or node",
    ExitCode.CONFLICT: "it is in use: a name, a port, a state directory",
    ExitCode.NOT_ALLOWED: "not allowed: a wrong token, missing permissions",
    ExitCode.NO_MANAGER: "no manager answers",
    ExitCode.CHANGES: "the plan has changes (only with `cube plan --exit-code`)",
    ExitCode.INTERRUPTED: "ended with Ctrl-C; a job that was submitted goes on",
}


class Failure(click.ClickException):
    """An error for the user: what is wrong, where it is, and what to do about it."""

    def __init__(
        self, what: str, *, where: str = "", remedy: str = "", code: int = ExitCode.ERROR
    ) -> None:
        super().__init__(what)
        self.where = where
        self.remedy = remedy
        self.code = int(code)

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """How the process ends."""
        return self.code

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it to stderr, what first, then where and the remedy, each on its line."""
        lines = [f"error: {self.message}"]
        lines += [f"  where: {self.where}"] if self.where else []
        lines += [f"  to do: {self.remedy}"] if self.remedy else []
        for line in lines:
            click.echo(harmless(line), file=file, err=True)


class ReaderLeft(Exception):
    """Nobody reads stdout any more; click itself would end with an error."""


def warn(text: str) -> None:
    """Tell the user of something that does not stop the command."""
    say(f"warning: {text}", err=True)


def note(text: str) -> None:
    """Tell the user how it goes, apart from the data on stdout."""
    say(text, err=True)
