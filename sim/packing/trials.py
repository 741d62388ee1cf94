"""`python -m sim capacity` and `inflate`: options, tables and files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from sim.packing.inflate import Inflated
from sim.packing.source import Cell

POLICIES = "best-fit,epvm,epvm-book,round-robin"


def _cell_options(command: Callable[..., None]) -> Callable[..., None]:
    """What both commands share."""
    path = click.Path(path_type=Path)
    for option in reversed(
        (
            click.option("--google", type=path, metavar="FILE",
                         help="Google's 2011 snapshot, on the machines of its cell."),
            click.option("--nodes", type=path, metavar="FILE",
                         help="Machines in openb's form (CSV), with --pods."),
            click.option("--pods", type=path, metavar="FILE",
                         help="Tasks in openb's form (CSV)."),
            click.option("--scenario", metavar="NAME|FILE",
                         help="Its machines, and the tasks of its first seed."),
            click.option("--policies", default=POLICIES, show_default=True, metavar="P,P,..."),
            click.option("--out", type=path, metavar="DIR",
                         help="Write the results to this folder."),
            click.option("--force", is_flag=True, help="Replace earlier results in the folder."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@_cell_options
@click.option("--seeds", default=11, show_default=True, type=click.IntRange(1, 1000), metavar="N",
              help="How many times machines are removed in another order.")  # fmt: skip
def capacity(policies: str, seeds: int, out: Path | None, force: bool, **cell: Any) -> None:
    """How many machines each policy needs for the same tasks (Borg's cell compaction)."""
    from sim.packing.capacity import compact, percentile

    found, names = _begin(cell, policies, out, force)
    rows: list[tuple[Any, ...]] = []
    click.echo(f"{'policy':<28} {'90th pct':>8} {'least':>8} {'most':>8}  of the cell's machines")
    for name in names:
        every = [compact(found, name, seed) for seed in range(1, seeds + 1)]
        shares = " ".join(f"{_percent(share):>8}" for share in percentile(every))
        click.echo(f"{every[0].policy:<28} {shares}")
        rows += [(c.policy, c.seed, c.machines, c.share, c.packings) for c in every]
    _write(out, "capacity", found, ("policy", "seed", "machines", "share", "packings"), rows)


def _percent(share: float) -> str:
    from sim.packing.capacity import MOST_CLONES

    return f"> {MOST_CLONES:.0%}" if share > MOST_CLONES else f"{share:.1%}"


@click.command()
@_cell_options
@click.option(
    "--until",
    default=130,
    show_default=True,
    type=click.IntRange(1, 1000),
    metavar="K",
    help="Let tasks come until they ask for K % of the scarcest resource.",
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0),
              help="Of the tasks that come.")  # fmt: skip
def inflate(
    policies: str, until: int, seed: int, out: Path | None, force: bool, **cell: Any
) -> None:
    """What each policy leaves room for as tasks come and none leaves."""
    from sim.experiment import policy_of
    from sim.packing.inflate import inflate as fill

    found, names = _begin(cell, policies, out, force)
    results = [fill(found, policy_of(name), seed, until) for name in names]
    click.echo("\n".join(table(results, until)))
    head = ("policy", "arrived_percent", "allocated", "crowded", "fullest", "placed", "arrived")
    _write(out, "inflate", found, head, _rows(results), rejected=results)


def table(results: Sequence[Inflated], until: int) -> list[str]:
    """At half, at four fifths and at all of the demand; then the first rejections."""
    stops = sorted({until // 2, until * 4 // 5, until})
    resource = results[0].resource
    lines = [
        f"{resource} in use, in % of all, when so much was asked for; with the machines that have "
        "more than 90 % of their CPU in use",
        f"{'policy':<28}" + "".join(f"{f'{stop} %':>18}" for stop in stops),
    ]
    for one in results:
        cells = (f"{100 * one.allocated[s]:8.2f} ({one.crowded[s]:6,})" for s in stops)
        lines.append(f"{one.policy:<28}" + "".join(f"{cell:>18}" for cell in cells))
    classes = sorted({name for one in results for name in one.first_rejected})
    lines += ["", "first turned away, at % asked for"]
    lines.append(f"{'policy':<28}" + "".join(f"{name:>18}" for name in classes))
    for one in results:
        cells = (
            f"{one.first_rejected[name]:.1f}" if name in one.first_rejected else "never"
            for name in classes
        )
        lines.append(f"{one.policy:<28}" + "".join(f"{cell:>18}" for cell in cells))
    return lines


def _rows(results: Iterable[Inflated]) -> list[tuple[Any, ...]]:
    return [
        (one.policy, percent, *(np.asarray(curve[percent]).item() for curve in _curves(one)))
        for one in results
        for percent in range(len(one.allocated))
    ]


def _curves(one: Inflated) -> tuple[Any, ...]:
    return one.allocated, one.crowded, one.fullest, one.placed, one.arrived


def _begin(
    options: dict[str, Any], policies: str, out: Path | None, force: bool
) -> tuple[Cell, tuple[str, ...]]:
    from sim.experiment import policy_of
    from sim.files import claim
    from sim.options import split
    from sim.packing.source import chosen

    names = split(policies)
    for name in names:
        policy_of(name)  # a wrong name should be told now
    found = chosen(options["google"], options["nodes"], options["pods"], options["scenario"])
    if out is not None:
        claim(out, force)
    load = ", ".join(f"{kind} {share:.1%}" for kind, share in found.load.items())
    click.echo(f"{found.name}: {len(found.nodes):,} machines, {len(found.demands):,} tasks; "
               f"they ask for {load}")  # fmt: skip
    return found, names


def _write(
    out: Path | None,
    kind: str,
    cell: Cell,
    head: Sequence[str],
    rows: Sequence[Sequence[Any]],
    rejected: Sequence[Inflated] = (),
) -> None:
    if out is None:
        return
    from sim.files import as_json, environment, put

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    put(out / f"{kind}.csv", text.getvalue().encode())
    put(out / "env.json", as_json(environment()))
    body = {
        "schema_version": 1,
        "kind": kind,
        "cell": cell.name,
        "machines": len(cell.nodes),
        "tasks": len(cell.demands),
        "load": cell.load,
        "first_rejected": {one.policy: one.first_rejected for one in rejected},
    }
    put(out / "summary.json", as_json(body))
    click.echo(f"Results: {out}")
