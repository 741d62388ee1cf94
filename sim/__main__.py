"""`python -m sim`: the simulator's command line, a thin shell around `sim.experiment`.

Owns the commands. Everything that matters happens elsewhere.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from sim.faults.cli import faults, replay
from sim.options import (
    check_policies,
    policy_options,
    scenario_of,
    scenario_options,
    sweep_options,
    told,
    with_policies,
)
from sim.packing.cli import pack_command
from sim.packing.trials import capacity, inflate
from sim.reproduce.cli import reproduce
from sim.traces.cli import traces
from sim.whatif.cli import what_if_command

EPILOG = "Results, columns and definitions: docs/simulation.md"


class _Told(click.Group):
    """Commands whose errors are one message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        with told(), _ended_as_by_ctrl_c():
            return super().invoke(ctx)


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """SIGTERM, as of `timeout` and batch systems, keeps what is finished, and ends workers too."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@click.group(cls=_Told, epilog=EPILOG)
def main() -> None:
    """Simulate a cluster: the production control plane on virtual time."""


@main.command(epilog=EPILOG)
@scenario_options
@click.option("--policy", help="As in epvm, epvm(base=1.54) or package.module:name.")
@click.option("--seed", type=click.IntRange(0), help="Of everything that is drawn.")
def run(policy: str | None, seed: int | None, **options: Any) -> None:
    """Simulate one policy with one seed."""
    from sim import experiment, terminal

    scenario = scenario_of(options)
    if policy is not None:
        scenario = scenario.but(policies=(policy,), baseline="")
    if seed is not None:
        scenario = scenario.but(seeds=(seed,))
    check_policies(scenario, options["scenario"], named_here=policy is not None)
    with terminal.progress(scenario.workload.tasks) as tell:
        result = experiment.run(scenario, out=options["out"], force=options["force"], progress=tell)
    terminal.show_run(result, options["out"])


@main.command(epilog=EPILOG)
@scenario_options
@policy_options
def compare(**options: Any) -> None:
    """Simulate several policies with the same tasks, seed by seed."""
    from sim import experiment, terminal

    scenario = with_policies(scenario_of(options), options)
    runs = len(scenario.policies) * len(scenario.seeds)
    with terminal.progress(scenario.workload.tasks * runs) as tell:
        result = experiment.compare(
            scenario,
            processes=options["processes"],
            out=options["out"],
            force=options["force"],
            progress=tell,
        )
    terminal.show_comparison(result, options["out"])
    if result.interrupted:
        sys.exit(130)


@main.command(epilog=EPILOG)
@sweep_options
@click.option(
    "--set",
    "grid",
    multiple=True,
    required=True,
    metavar="PATH=V,V,...",
    help="The values that one parameter takes; may be repeated.",
)
@policy_options
@click.option(
    "--dask", default="", metavar="ADDRESS", help="Let the workers of this Dask scheduler do it."
)
@click.option("--shard", "part", metavar="I/N", help="Work only this part of the cells.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    required=True,
    help="The sweep's folder; what is finished there is reused.",
)
@click.option("--force", is_flag=True, help="Replace results that no longer stand.")
def sweep(grid: tuple[str, ...], part: str | None, **options: Any) -> None:
    """Simulate policies over a grid of parameters; can be cut off and taken up again."""
    from sim import sweeping, terminal
    from sim.settings import settings

    scenario = with_policies(scenario_of(options), options)
    with terminal.sweep_progress() as tell:
        result = sweeping.sweep(
            scenario,
            dict(settings(text) for text in grid),
            out=options["out"],
            processes=options["processes"],
            dask=options["dask"],
            shard=None if part is None else sweeping.Shard.read(part),
            force=options["force"],
            progress=tell,
        )
    terminal.show_sweep(result, options["out"])
    if result.interrupted:
        sys.exit(130)


@main.command(epilog=EPILOG)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace an earlier page.")
def report(folder: Path, force: bool) -> None:
    """Show the results in FOLDER as one HTML page, report.html, with tables and pictures."""
    from sim.page import write_page

    click.echo(f"Report: {write_page(folder, force=force)}")


main.add_command(faults)
main.add_command(pack_command)
main.add_command(replay)
main.add_command(capacity)
main.add_command(inflate)
main.add_command(reproduce)
main.add_command(traces)
main.add_command(what_if_command)

if __name__ == "__main__":
    main(prog_name="python -m sim")
