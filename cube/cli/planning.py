"""`cube plan`: what a submit would change, and where each policy would put each task."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cube.cli import connection, tables
from cube.cli.exits import ExitCode, Failure
from cube.cli.files import failure_of, is_spread, read_file, tell_warnings
from cube.cli.printing import output_option, print_json, print_table
from cube.cli.text import say

if TYPE_CHECKING:
    from cube.views import PlanView, PolicyPlan

BETWEEN = re.compile(r",(?![^()]*\))")  # commas, but not those among a policy's parameters


@click.command()
@click.option(
    "-f", "--file", required=True, type=click.Path(path_type=Path), help="The job file; - is stdin."
)
@click.option("--policy", default="", metavar="A,B", help="Policies to compare.")
@click.option("--exit-code", is_flag=True, help="Exit with 10 if there are changes.")
@connection.state_dir_option
@output_option
def plan(file: Path, policy: str, exit_code: bool, state_dir: Path, output: str) -> int:
    """Show what running a file would change, and change nothing.

    With several policies: where each of them would put each task.
    """
    reading = read_file(file)
    tell_warnings(reading)
    policies = [name.strip() for name in BETWEEN.split(policy) if name.strip()]
    with connection.connected(state_dir) as client:
        if reading.unreachable and is_spread(client.nodes()):
            raise failure_of(file, reading.unreachable)
        found = client.plan(reading.job, policies)
    if output == "json":
        print_json(found)
    else:
        _show(found)
    if found["conflict"]:
        where = "<stdin>" if str(file) == "-" else str(file)
        remedy = "give it another `name:`, or stop the other job first"
        raise Failure(found["conflict"], where=where, remedy=remedy, code=ExitCode.CONFLICT)
    return ExitCode.CHANGES if exit_code and found["has_changes"] else ExitCode.OK


def _show(found: PlanView) -> None:
    say(found["text"])
    for line in tables.change_lines(found["fields"], found["services"]):
        say(line)
    if any(plan["placements"] for plan in found["policies"]):
        say()
        print_table(*tables.placement_table(found["policies"]))
    for plan in found["policies"]:
        _show_waiting(plan)


def _show_waiting(plan: PolicyPlan) -> None:
    """What would stay pending under a policy, and why."""
    if plan["error"]:
        say(f"\npolicy {plan['policy']} failed: {plan['error']}")
    waiting = [p for p in plan["placements"] if p["node"] is None]
    if waiting:
        say(f"\nwould wait under {plan['policy']}:")
    for placement in waiting:
        say(f"  {placement['task']}: {placement['reason']}")
