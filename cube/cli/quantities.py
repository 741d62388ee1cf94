"""Durations and moments on the command line: `90s`, `10m`, `1h30m`, as in job files; dates."""

from __future__ import annotations

import time
from datetime import datetime
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


class Place(click.ParamType[tuple[int | None, int]]):
    """A place in the history: a revision, or an epoch and a revision as in `3-1500`."""

    name = "place"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | None, int]:
        """Read it, or say how it is written."""
        if isinstance(value, tuple):
            return value
        epoch, dash, revision = str(value).rpartition("-")
        if not revision.isdecimal() or (dash and not epoch.isdecimal()):
            self.fail(f"{value} is no place in the history: write 1500, or 3-1500", param, ctx)
        return (int(epoch) if dash else None, int(revision))


PLACE = Place()


class Moment(click.ParamType[float]):
    """A time in the past, as Unix seconds: so long ago, or a date with a time."""

    name = "moment"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read it, or say how it is written."""
        if isinstance(value, float):
            return value
        from cube.units import parse_seconds

        text = str(value)
        try:
            return datetime.fromisoformat(text).timestamp()  # local, unless it says otherwise
        except ValueError:
            pass
        try:
            return max(0.0, time.time() - parse_seconds(text))
        except ValueError:
            self.fail(f"{value} is no time: write 10m, or 2026-03-01T12:30:00", param, ctx)


MOMENT = Moment()
