"""`python -m sim pack`: how policies place the same tasks, without messages.

Owns options and the table.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from cube.messages import NodeInfo
from cube.spec import Demand
from sim.errors import InputError
from sim.packing import KINDS, Packing, pack

COLUMNS = ("policy", "placed", "unplaced", "nodes", *KINDS, "microseconds")


@click.command("pack")
@click.option("--scenario", metavar="NAME|FILE", help="Its cluster, and its tasks as they arrive.")
@click.option(
    "--nodes",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Nodes in openb's form (CSV), with --pods.",
)
@click.option(
    "--pods",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Tasks in openb's form (CSV), in this order.",
)
@click.option(
    "--policies",
    default="epvm,best-fit,round-robin",
    show_default=True,
    metavar="P,P,...",
    help="Policies, separated by commas.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    help="Shuffles nodes and tasks of files; draws the scenario's tasks (1).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the results to this folder.",
)
@click.option("--force", is_flag=True, help="Replace earlier results in the folder.")
def pack_command(
    scenario: str | None,
    nodes: Path | None,
    pods: Path | None,
    policies: str,
    seed: int | None,
    out: Path | None,
    force: bool,
) -> None:
    """Place tasks one after the other, none of which leaves; no messages are sent."""
    from sim.experiment import policy_of
    from sim.files import claim
    from sim.options import split

    if (scenario is None) == (nodes is None or pods is None):
        raise InputError("nothing to pack", "Give --nodes and --pods, or --scenario.")
    if nodes is not None and pods is not None:
        machines, demands = _from_files(nodes, pods, seed)
    else:
        machines, demands = _from_scenario(scenario or "", 1 if seed is None else seed)
    made = [policy_of(policy) for policy in split(policies)]
    if out is not None:
        claim(out, force)
    click.echo(f"{len(machines):,} nodes, {len(demands):,} tasks, none of which leaves")
    results = [pack(machines, demands, policy) for policy in made]
    click.echo("\n".join(table(results)))
    if out is not None:
        _write(results, out)
        click.echo(f"Results: {out}")


def _from_files(
    nodes: Path, pods: Path, seed: int | None
) -> tuple[Sequence[NodeInfo], Sequence[Demand]]:
    from sim.traces import openb

    machines, tasks = openb.read_nodes(nodes), openb.read_pods(pods)
    if seed is None:
        return machines, [pod.demand for pod in tasks]
    draw = np.random.default_rng(seed)
    shuffled = [machines[i] for i in draw.permutation(len(machines))]
    return shuffled, [tasks[i].demand for i in draw.permutation(len(tasks))]


def _from_scenario(name: str, seed: int) -> tuple[Sequence[NodeInfo], Sequence[Demand]]:
    from sim.scenario import read

    found = read(name)
    sizes = found.workload.draw(found.cluster, seed).demand.tolist()
    return found.cluster.nodes(), [Demand(*size) for size in sizes]


def rows(results: Sequence[Packing]) -> list[tuple[object, ...]]:
    """What `COLUMNS` names: counts, shares of capacity, time per task."""
    return [
        (
            result.policy,
            result.placed,
            len(result.rows) - result.placed,
            result.used_nodes,
            *(result.allocated.get(kind) for kind in KINDS),
            result.seconds / max(1, len(result.rows)) * 1e6,
        )
        for result in results
    ]


def table(results: Sequence[Packing]) -> list[str]:
    """The same for people."""
    wide = max(len(result.policy) for result in results)
    lines = [
        f"{'policy':<{wide}} {'placed':>8} {'unplaced':>8} {'nodes':>6} "
        + " ".join(f"{kind:>7}" for kind in KINDS)
        + f" {'us/task':>8}"
    ]
    for policy, placed, unplaced, nodes, *shares, micros in rows(results):
        text = " ".join(f"{share:7.1%}" if share is not None else f"{'-':>7}" for share in shares)
        lines.append(
            f"{policy:<{wide}} {placed:>8,} {unplaced:>8,} {nodes:>6,} {text} {micros:8.1f}"
        )
    return lines


def _write(results: Sequence[Packing], out: Path) -> None:
    from sim.files import as_json, environment, put

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows(results))
    put(out / "packing.csv", text.getvalue().encode())
    put(out / "env.json", as_json(environment()))
    body = [dict(zip(COLUMNS, row, strict=True)) for row in rows(results)]
    put(out / "summary.json", as_json({"schema_version": 1, "kind": "pack", "policies": body}))
