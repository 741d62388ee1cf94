"""Prints data: aligned tables for people, JSON for programs.

On a terminal tables are drawn by rich and fit its width; in a pipe they are plain, whole and
without colour. Loads rich only on a terminal, and never decides what is shown.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from cube.cli.text import harmless

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STYLES: Final = {
    "alive": "green",
    "completed": "green",
    "draining": "yellow",
    "fail": "bold red",
    "failed": "bold red",
    "lost": "bold red",
    "ok": "green",
    "pending": "yellow",
    "running": "green",
    "scheduled": "cyan",
    "stopped": "dim",
    "stopping": "cyan",
    "suspect": "yellow",
    "unhealthy": "bold red",
    "unplaced": "yellow",
    "warn": "yellow",
}

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="A table for people or JSON for programs.",
)


def on_terminal() -> bool:
    """Does a person read stdout?"""
    return sys.stdout.isatty()


def print_json(value: Any) -> None:
    """One JSON document, indented."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """One JSON document on one line, at once: for streams."""
    click.echo(json.dumps(value, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table with a heading; cells are shown as text, None as nothing."""
    texts = [[_text(cell) for cell in row] for row in rows]
    if on_terminal():
        console().print(rich_table(columns, texts))
    else:
        for line in plain_lines(columns, texts):
            click.echo(line)


def plain_lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The table as lines: columns two blanks apart, nothing cut off."""
    lines = [[column.upper() for column in columns], *([*row] for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(columns))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """The table for a terminal: words that name a state are coloured."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    last = len(columns) - 1
    for k, column in enumerate(columns):
        table.add_column(column.upper(), overflow="fold", no_wrap=k not in (0, last))
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell.split(" ")[0], "")) for cell in row))
    return table


def console() -> Console:
    """The terminal, as wide as it is."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def local_time(time: str | float | None) -> str:
    """A time as people read it, local with its offset: `2026-03-01 12:30:05+01:00`."""
    if time is None or time == "":
        return ""
    at = (
        datetime.fromisoformat(time) if isinstance(time, str) else datetime.fromtimestamp(time, UTC)
    )
    return at.astimezone().isoformat(" ", "seconds")


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.4g}"
    return harmless(str(cell).replace("\n", " "))


def clear_screen() -> None:
    """Start anew at the top of the terminal; in a pipe, leave an empty line."""
    if on_terminal():
        click.clear()
    else:
        click.echo()


def print_title(text: str) -> None:
    """A heading over what follows."""
    if on_terminal():
        from rich.rule import Rule
        from rich.text import Text

        click.echo()
        console().print(Rule(Text(text, style="bold"), align="left", style="dim"))
    else:
        click.echo(f"\n--- {text}")
