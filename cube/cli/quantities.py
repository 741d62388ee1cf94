"""Durations on the command line: `90s`, `10m`, `1h30m`, as in job files."""

from __future__ import annotations

from typing import Any

import click


class Duration(click.ParamType[float]):
    """Seconds, as a float."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read it, or say how it is written."""
        if isinstance(value, float):
            return value
        from cube.units import parse_seconds

        try:
            return parse_seconds(str(value))
        except ValueError as error:
            self.fail(f"{value} is no time: {error}", param, ctx)


DURATION = Duration()
