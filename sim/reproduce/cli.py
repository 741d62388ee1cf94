"""`python -m sim reproduce NAME`: published results, done again."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.group()
def reproduce() -> None:
    """Do a published result again, and say how near it comes."""


@reproduce.command()
@click.option("--full", is_flag=True, help="3,000 scenarios instead of 300.")
@click.option("--scenarios", type=click.IntRange(2), metavar="N", help="Another number of them.")
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Scenarios worked side by side; results do not depend on it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the results to this folder.",
)
@click.option("--force", is_flag=True, help="Replace earlier results in the folder.")
def epvm(full: bool, scenarios: int | None, processes: int, out: Path | None, force: bool) -> None:
    """E-PVM against round robin under contention (Amir et al., TPDS 2000).

    Exit code 1: the published order or cut does not come out.
    """
    from sim.files import claim
    from sim.reproduce import epvm as paper
    from sim.reproduce import slowdowns
    from sim.terminal import progress

    assumed = paper.assumptions()
    count = scenarios or (assumed.full_scenarios if full else assumed.scenarios)
    if out is not None:
        claim(out, force)
    with progress(count) as tell:
        result = paper.reproduce(count, processes, tell)
    click.echo("\n".join(slowdowns.table(result)))
    if out is not None:
        slowdowns.write(result, out)
        click.echo(f"Results: {out}")
    if not (result.order_holds and result.cut.mean >= paper.CUT):
        sys.exit(1)
