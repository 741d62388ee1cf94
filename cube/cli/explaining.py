"""`cube explain`: why a task is where it is, or why it is nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cube.cli import connection, tables
from cube.cli.exits import ExitCode, Failure
from cube.cli.looking import tasks_of
from cube.cli.printing import output_option, print_json, print_table
from cube.cli.text import say

if TYPE_CHECKING:
    from cube.client import Client
    from cube.views import DecisionView, ExplainView, NowView


@click.command()
@click.argument("task", shell_complete=connection.complete_task)
@click.option("--now", is_flag=True, help="Decide anew on the nodes as they are; changes nothing.")
@connection.state_dir_option
@output_option
def explain(task: str, now: bool, state_dir: Path, output: str) -> None:
    """Say why a task is where it is: filters, scores, pick.

    TASK is JOB/SERVICE/INDEX.
    """
    with connection.connected(state_dir) as client:
        if task.count("/") != 2 or not all(task.split("/")):
            raise _no_task(client, task)
        found = client.explain(task, now=now)
    if output == "json":
        print_json(found)
    else:
        _show(found)


def _no_task(client: Client, name: str) -> Failure:
    """What was named is no task: say which ones were probably meant."""
    tasks = tasks_of(client.tasks(), name)
    if not tasks:
        remedy = "name a task, JOB/SERVICE/INDEX; `cube status` lists them"
        return Failure(f"there is no task {name}", remedy=remedy, code=ExitCode.NOT_FOUND)
    names = ", ".join(t["id"] for t in tasks[:5]) + (", ..." if len(tasks) > 5 else "")
    remedy = f"name one of its tasks: {names}"
    return Failure(f"{name} is not a single task", remedy=remedy, code=ExitCode.USAGE)


def _show(found: ExplainView) -> None:
    say(found["text"])
    decision = found["decision"]
    if decision is not None and (decision["node"] is not None or decision["rejections"]):
        waits = found["task"]["state"] == "pending" and decision["node"] is not None
        say("\nits latest placement, which holds no longer:" if waits else "")
        show_decision(decision)
    if found["now"] is not None:
        _show_now(found["now"])


def show_decision(decision: DecisionView) -> None:
    """The nodes that were compared, and the counted reasons against the others."""
    rows = tables.score_rows(decision)
    if rows:
        print_table(tables.SCORE_COLUMNS, rows)
        more = decision["feasible"] - len(rows)
        if more > 0:
            say(f"and {tables.plural(more, 'more node')} that would fit")
    if decision["rejections"]:
        say("turned away:")
        for rejection in decision["rejections"]:
            say(f"  {tables.plural(rejection['nodes'], 'node')}: {rejection['text']}")


def _show_now(now: NowView) -> None:
    say(f"\ndecided anew, now: {now['decision']['text']}\n")
    print_table(tables.SCORE_COLUMNS, tables.verdict_rows(now))
