"""`python -m sim`: the simulator's command line, a thin shell around `sim.experiment`.

Owns options, progress bars and tables. Everything that matters happens elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from sim.errors import SimulationError
from sim.faults.cli import faults, replay
from sim.options import seeds_of, split
from sim.packing.cli import pack_command
from sim.reproduce.cli import reproduce

EPILOG = "Results, columns and definitions: docs/simulation.md"


def _scenario_options(command: Callable[..., None]) -> Callable[..., None]:
    """What `run` and `compare` share; what is not given keeps the scenario's value."""
    for option in reversed(
        (
            click.option("--scenario", default="steady", show_default=True, metavar="NAME|FILE",
                         help="A scenario that ships, or a TOML file."),
            click.option("--nodes", type=click.IntRange(1, 1_000_000),
                         help="Nodes altogether, in the scenario's proportions."),
            click.option("--tasks", type=click.IntRange(1, 100_000_000), help="Tasks that arrive."),
            click.option("--load", type=float,
                         help="Offered load of the scarcest resource; 1 is all of it."),
            click.option("--tasks-per-job", type=click.IntRange(1), help="Equal tasks in a job."),
            click.option("--warm-up", type=click.FloatRange(0, 1, max_open=True),
                         help="Share of the arrival time left out of the figures."),
            click.option("--horizon", type=click.FloatRange(0),
                         help="Stop after so many virtual seconds; 0: when all is done."),
            click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
                         help="Write the results to this folder."),
            click.option("--force", is_flag=True, help="Replace earlier results in the folder."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


class _Told(click.Group):
    """Commands whose errors are one message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        with _told():
            return super().invoke(ctx)


@click.group(cls=_Told, epilog=EPILOG)
def main() -> None:
    """Simulate a cluster: the production control plane on virtual time."""


@main.command(epilog=EPILOG)
@_scenario_options
@click.option("--policy", help="As in epvm, epvm(base=1.54) or package.module:name.")
@click.option("--seed", type=click.IntRange(0), help="Of everything that is drawn.")
def run(policy: str | None, seed: int | None, **options: Any) -> None:
    """Simulate one policy with one seed."""
    from sim import experiment, report

    with _told():
        scenario = _scenario(options)
        if policy is not None:
            scenario = scenario.but(policies=(policy,), baseline="")
        if seed is not None:
            scenario = scenario.but(seeds=(seed,))
        with report.progress(scenario.workload.tasks) as tell:
            result = experiment.run(
                scenario, out=options["out"], force=options["force"], progress=tell
            )
        report.show_run(result, options["out"])


@main.command(epilog=EPILOG)
@_scenario_options
@click.option("--policies", metavar="P,P,...", help="Policies, separated by commas.")
@click.option("--baseline", metavar="P", help="The policy that the others are compared with.")
@click.option("--seeds", metavar="N|S,S,...", help="How many seeds (1 to N), or which.")
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True,
              help="Runs worked side by side; results do not depend on it.")  # fmt: skip
def compare(
    policies: str | None,
    baseline: str | None,
    seeds: str | None,
    processes: int,
    **options: Any,
) -> None:
    """Simulate several policies with the same tasks, seed by seed."""
    from sim import experiment, report

    with _told():
        scenario = _scenario(options)
        if policies is not None:
            wanted = split(policies)
            kept = scenario.baseline if scenario.baseline in wanted else ""
            scenario = scenario.but(policies=wanted, baseline=kept)
        if baseline is not None:
            scenario = scenario.but(baseline=baseline)
        if seeds is not None:
            scenario = scenario.but(seeds=seeds_of(seeds))
        runs = len(scenario.policies) * len(scenario.seeds)
        with report.progress(scenario.workload.tasks * runs) as tell:
            result = experiment.compare(
                scenario,
                processes=processes,
                out=options["out"],
                force=options["force"],
                progress=tell,
            )
        report.show_comparison(result, options["out"])
    if result.interrupted:
        sys.exit(130)


def _scenario(options: dict[str, Any]) -> Any:
    """The scenario that was asked for, with what the options change."""
    from sim.scenario import read

    scenario = read(options["scenario"])
    workload = {key: options[key] for key in ("tasks", "load", "tasks_per_job")}
    changes = {"warm_up": options["warm_up"], "horizon_seconds": options["horizon"]}
    if options["nodes"] is not None:
        changes["cluster"] = scenario.cluster.scaled(options["nodes"])
    changes["workload"] = scenario.workload.but(**_given(workload))
    return scenario.but(**_given(changes))


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


@contextmanager
def _told() -> Iterator[None]:
    """Turn what went wrong into one message and an exit code."""
    try:
        yield
    except SimulationError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("Interrupted: nothing was written.", err=True)
        sys.exit(130)


main.add_command(faults)
main.add_command(replay)
main.add_command(pack_command)
main.add_command(reproduce)

if __name__ == "__main__":
    main(prog_name="python -m sim")
