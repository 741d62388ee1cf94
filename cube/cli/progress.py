"""Shows tasks on their way: a live table on a terminal, a line for each change elsewhere.

Writes to stderr, so that stdout holds only data. Decides nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cube.cli import tables
from cube.cli.exits import note
from cube.cli.printing import rich_table
from cube.cli.text import harmless

if TYPE_CHECKING:
    from rich.live import Live

    from cube.views import TaskView

COLUMNS = ("task", "state", "node", "")


class Progress:
    """Told of the tasks at each look; use it in a `with`."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, ...]] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True, highlight=False)
            self._live = Live(console=console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, tasks: Sequence[TaskView]) -> None:
        """Show them as they are now."""
        rows = {t["id"]: _row(t) for t in tasks}
        if rows == self._seen:
            return
        if self._live is not None:
            self._live.update(_table(list(rows.values())))
        else:
            for name, row in rows.items():
                if self._seen.get(name) != row:
                    note("  ".join(part for part in row if part))
        self._seen = rows


def _row(task: TaskView) -> tuple[str, ...]:
    row = (task["id"], tables.task_state(task), task["node"] or "", tables.task_note(task))
    return tuple(map(harmless, row))


def _table(rows: Sequence[Sequence[str]]) -> Any:
    return rich_table(COLUMNS, rows)
