"""`python -m sim reproduce NAME`: published results, done again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sim.errors import InputError, did_you_mean


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
    from sim.reproduce.assumed import assumptions
    from sim.terminal import progress

    assumed = assumptions()
    count = scenarios or (assumed.full_scenarios if full else assumed.scenarios)
    if out is not None:
        claim(out, force)
    with progress(count) as tell:
        result = paper.reproduce(count, processes, tell)
    click.echo("\n".join(slowdowns.table(result)))
    if out is not None:
        slowdowns.write(result, out)
        click.echo(f"Results: {out}")
    if result.interrupted:
        sys.exit(130)
    if not (result.order_holds and result.cut.mean >= paper.CUT):
        sys.exit(1)


@reproduce.command()
@click.option(
    "--nodes",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Nodes in openb's form, as in openb_node_list_gpu_node.csv.",
)
@click.option(
    "--pods",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Pods in openb's form, as in openb_pod_list_default.csv.",
)
@click.option(
    "--seeds",
    default="10",
    show_default=True,
    metavar="N|S,S,...",
    help="How many seeds (1 to N), or which.",
)
@click.option("--policies", metavar="P,P,...", help="Only these of the policies.")
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Runs worked side by side; results do not depend on it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write tables, curves and a picture to this folder.",
)
@click.option("--force", is_flag=True, help="Replace earlier results in the folder.")
def fgd(
    nodes: Path,
    pods: Path,
    seeds: str,
    policies: str | None,
    processes: int,
    out: Path | None,
    force: bool,
) -> None:
    """GPU fragmentation (Weng et al., USENIX ATC 2023), on the openb trace.

    Exit code 1: a published figure is missed.
    """
    from sim.files import claim
    from sim.options import seeds_of, split
    from sim.reproduce import fgd as paper
    from sim.reproduce import showing
    from sim.terminal import progress
    from sim.traces import openb

    wanted = split(policies) if policies else tuple(paper.POLICIES)
    for name in wanted:
        if name not in paper.POLICIES:
            raise InputError(f"'{name}' takes no part in this", did_you_mean(name, paper.POLICIES))
    numbers = seeds_of(seeds)
    machines, tasks = openb.read_nodes(nodes), openb.read_pods(pods)
    if out is not None:
        claim(out, force)
    variant = pods.stem.removeprefix("openb_pod_list_")
    with progress(len(wanted) * len(numbers), "runs") as tell:
        result = paper.reproduce(
            machines, tasks, variant, numbers,
            policies=wanted, processes=processes, progress=tell,
        )  # fmt: skip
    click.echo("\n".join(showing.table(result)))
    if out is not None:
        showing.write(result, out)
        click.echo(f"Results: {out}")
    if any(line.within is False for line in result.lines()):
        sys.exit(1)
