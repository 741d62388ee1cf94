"""What the simulator's commands have in common: options, and the scenario that they ask for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sim.errors import InputError, SimulationError

if TYPE_CHECKING:
    from sim.scenario import Scenario

Command = Callable[..., None]
_SCENARIO = (
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
    click.option("--metric", "metrics", multiple=True, metavar="MODULE:NAME",
                 help="Measure this too; may be repeated."),
)  # fmt: skip
_SETTING = click.option("--set", "changes", multiple=True, metavar="PATH=VALUE",
                        help="Change any value of the scenario; may be repeated.")  # fmt: skip
_OUT = (
    click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
                 help="Write the results to this folder."),
    click.option("--force", is_flag=True, help="Replace earlier results in the folder."),
)  # fmt: skip
_POLICIES = (
    click.option("--policies", metavar="P,P,...", help="Policies, separated by commas."),
    click.option("--baseline", metavar="P", help="The policy that the others are compared with."),
    click.option("--seeds", metavar="N|S,S,...", help="How many seeds (1 to N), or which."),
    click.option("--processes", type=click.IntRange(1), default=1, show_default=True,
                 help="Runs worked side by side; results do not depend on it."),
)  # fmt: skip


def _all(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorated(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


scenario_options = _all(*_SCENARIO, _SETTING, *_OUT)
sweep_options = _all(*_SCENARIO)
policy_options = _all(*_POLICIES)


def scenario_of(options: dict[str, Any]) -> Scenario:
    """The scenario that was asked for, with what the options change.

    Raises:
        InputError: there is none, or a value makes no sense.
    """
    from sim.scenario import read
    from sim.settings import changed, setting

    scenario = read(options["scenario"])
    if options.get("changes"):
        scenario = changed(scenario, dict(setting(text) for text in options["changes"]))
    workload = {key: options[key] for key in ("tasks", "load", "tasks_per_job")}
    changes = {"warm_up": options["warm_up"], "horizon_seconds": options["horizon"]}
    if options["nodes"] is not None:
        changes["cluster"] = scenario.cluster.scaled(options["nodes"])
    if options["metrics"]:
        changes["metrics"] = (*scenario.metrics, *options["metrics"])
    changes["workload"] = scenario.workload.but(**_given(workload))
    found: Scenario = scenario.but(**_given(changes))
    return found


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def with_policies(scenario: Scenario, options: dict[str, Any]) -> Scenario:
    """The scenario with the policies, the baseline and the seeds that the options name.

    Raises:
        InputError: a value makes no sense.
    """
    changes: dict[str, Any] = {}
    if options["policies"] is not None:
        changes["policies"] = wanted = split(options["policies"])
        changes["baseline"] = scenario.baseline if scenario.baseline in wanted else ""
    if options["baseline"] is not None:
        changes["baseline"] = options["baseline"]
    if options["seeds"] is not None:
        changes["seeds"] = seeds_of(options["seeds"])
    found: Scenario = scenario.but(**changes)
    check_policies(found, options["scenario"], named_here="policies" in changes)
    return found


def check_policies(scenario: Scenario, source: str, *, named_here: bool) -> None:
    """Look whether there are such policies before anything is done.

    Raises:
        InputError: there is none of that name; with file and line if the scenario names it.
    """
    from sim.experiment import policy_of
    from sim.scenario import line_of

    for policy in scenario.policies:
        try:
            policy_of(policy)
        except InputError as error:
            if named_here:
                raise
            raise InputError(f"{line_of(source, 'policies')}: {error}") from None


def split(policies: str) -> tuple[str, ...]:
    """Policies between commas; commas inside parentheses belong to parameters."""
    parts, depth = [""], 0
    for letter in policies:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return tuple(part.strip() for part in parts if part.strip())


def seeds_of(text: str) -> tuple[int, ...]:
    """Read how many seeds, or which.

    Raises:
        InputError: the text says neither.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise InputError(
            f"'{text}' names no seeds", "Write how many, as in 5, or which, as in 7,8,9."
        )
    if "," in text:
        return tuple(int(part) for part in parts)
    if not 1 <= int(text) <= 100_000:
        raise InputError(f"{text} seeds make no sense", "Ask for 1 to 100000.")
    return tuple(range(1, int(text) + 1))


@contextmanager
def told() -> Iterator[None]:
    """Turn what went wrong into one message and an exit code."""
    try:
        yield
    except SimulationError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("Interrupted: nothing was written.", err=True)
        sys.exit(130)
