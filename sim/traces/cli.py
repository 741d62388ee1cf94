"""`python -m sim traces`: which formats there are, where to get files, and what a file holds."""

from __future__ import annotations

from pathlib import Path

import click

from sim.arrivals import MICROS
from sim.errors import InputError, did_you_mean


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FORMAT:FILE]...")
def traces(files: tuple[Path, ...]) -> None:
    """List the formats of traces, or check files: FORMAT:FILE, as in swf:log.swf.gz.

    Exit code 2 if something in a file is wrong; the message says in which line.
    """
    from sim.traces import FORMATS

    if not files:
        for made in FORMATS.values():
            click.echo(f"{made.name:<11} {made.what}\n{'':<11} {made.where}")
        return
    for file in files:
        click.echo(_checked(str(file)))


def _checked(named: str) -> str:
    from sim.traces import FORMATS, read

    name, colon, path = named.partition(":")
    if not colon or name not in FORMATS:
        remedy = did_you_mean(name, FORMATS) if colon else "Write FORMAT:FILE, as in swf:log.swf."
        raise InputError(f"'{named}' names no format of traces", remedy)
    tasks = read(name, Path(path))
    last = tasks.at_micros[-1] / MICROS
    sizes = tasks.demand
    return (
        f"{path}: {len(tasks):,} tasks in {tasks.jobs:,} jobs, {len(tasks.sizes):,} sizes\n"
        f"  arrivals from 0 to {last:,.0f} s; run times {tasks.run_micros.min() / MICROS:,.3f} to "
        f"{tasks.run_micros.max() / MICROS:,.0f} s\n"
        f"  milli-cores {sizes[:, 0].min():,} to {sizes[:, 0].max():,}, "
        f"MiB {sizes[:, 1].min():,} to {sizes[:, 1].max():,}\n"
        f"  digest {tasks.digest}"
    )
