"""Text on its way to a terminal: what others wrote is read there, and never obeyed.

Names, reasons and notes come from nodes, images and containers; an escape sequence in one of them
could hide lines, rewrite the title or answer in the user's stead. Output of containers (`cube
logs`, `cube exec`) is passed on as it is, and JSON escapes by itself.
"""

from __future__ import annotations

import re

import click

# C0 and C1 controls but for tab and line feed, and the marks that turn the direction of writing.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """The same text, with each control character written out as in Python."""
    return _CONTROLS.sub(_written_out, text)


def say(text: str = "", *, err: bool = False) -> None:
    """Write a line for people to stdout, or to stderr."""
    click.echo(harmless(text), err=err)


def _written_out(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
