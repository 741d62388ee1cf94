"""Quantities on the command line, written as in job files: durations, moments, sizes."""

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


class Reserved(click.ParamType[tuple[int, int, int]]):
    """Cores, memory and disk: milli-cores and MiB."""

    name = "reserve"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int]:
        """Read `cpu=0.5,memory=1G,disk=2G`; what is left out is as usual."""
        if isinstance(value, tuple):
            return value
        from cube.engine.capacity import Reserve
        from cube.units import mib, parse_bytes, parse_cpus

        found = Reserve()
        for part in filter(None, str(value).split(",")):
            name, _, given = part.partition("=")
            try:
                if name == "cpu":
                    found = found._replace(cpu_milli=parse_cpus(given))
                elif name in ("memory", "disk"):
                    found = found._replace(**{f"{name}_mib": mib(parse_bytes(given))})
                else:
                    self.fail(f"{part} is neither cpu=, memory= nor disk=", param, ctx)
            except ValueError as error:
                self.fail(f"{part} is no size: {error}", param, ctx)
        return found


RESERVED = Reserved()
