"""`cube stop`, `cube rm`, `cube recover`: what ends things.

Stopping waits until what was asked for is so; the manager decides whether it may be.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from cube.cli import connection, tables
from cube.cli.exits import ExitCode, Failure, note
from cube.cli.looking import tasks_of
from cube.cli.printing import output_option, print_json, print_table
from cube.cli.text import say

if TYPE_CHECKING:
    from cube.client import Client
    from cube.views import RecoverView, RecoveryView

POLL_SECONDS = 0.1
DONE = {"adopt": "adopted", "remove": "removed"}

wait_option = click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Return when it is done."
)
timeout_option = click.option(
    "--timeout",
    type=float,
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait.",
)


@click.command()
@click.argument("target", shell_complete=connection.complete_target)
@wait_option
@timeout_option
@connection.state_dir_option
@output_option
def stop(target: str, wait: bool, timeout: float, state_dir: Path, output: str) -> None:
    """Stop a job, a service or a task; its volumes stay.

    TARGET is a JOB, a JOB/SERVICE or a task (JOB/SERVICE/INDEX).
    """
    with connection.connected(state_dir) as client:
        answer = client.stop(target)
        if wait:
            _wait_for(f"{target} to stop", timeout, lambda: _has_ended(client, target))
    if output == "json":
        print_json(answer)
    else:
        say(f"{target} has stopped" if wait else answer["text"])


@click.command()
@click.argument("job", shell_complete=connection.complete_target)
@click.option("--force", is_flag=True, help="Stop it first.")
@wait_option
@timeout_option
@connection.state_dir_option
@output_option
def rm(job: str, force: bool, wait: bool, timeout: float, state_dir: Path, output: str) -> None:
    """Forget an ended job; its volumes stay."""
    if "/" in job:
        what = f"{job} is a part of a job, and a job is removed as a whole"
        remedy = f"end that part with `cube stop {job}`, or take it out of the job's file"
        raise Failure(what, remedy=remedy, code=ExitCode.USAGE)
    with connection.connected(state_dir) as client:
        answer = client.remove(job, force=force)
        if wait:
            _wait_for(f"{job} to be gone", timeout, lambda: _is_gone(client, job))
    if output == "json":
        print_json(answer)
    else:
        say(f"{job} is removed" if wait else answer["text"])


@click.command()
@click.argument("containers", nargs=-1, metavar="[CONTAINER|TASK]...")
@click.option("--adopt", "action", flag_value="adopt", help="Make them tasks of their jobs again.")
@click.option("--remove", "action", flag_value="remove", help="Remove them, running or not.")
@wait_option
@timeout_option
@connection.state_dir_option
@output_option
def recover(
    containers: tuple[str, ...],
    action: Literal["adopt", "remove"] | None,
    wait: bool,
    timeout: float,
    state_dir: Path,
    output: str,
) -> None:
    """List, adopt or remove containers that the store does not know.

    A store that was lost or restored has forgotten them; they run on until this is decided.

    Name some of them by container id or task; without names, all are meant. A job that the store
    does not know is put together from its containers; run its file again to have the rest of it.
    Plain processes cannot be adopted: their engine writes down nothing that may be secret.
    """
    if containers and action is None:
        raise click.UsageError("Say what becomes of them: --adopt or --remove.")
    with connection.connected(state_dir) as client:
        found = client.recovery()
        answer = client.recover(action, containers) if action else None
        if answer is not None and wait:
            _wait_for("that to be done", timeout, lambda: _is_decided(client, found, answer))
    if output == "json":
        print_json(found if answer is None else answer)
    elif answer is not None and action is not None:
        done = f"{tables.plural(answer['decided'], 'unknown container')} {DONE[action]}"
        say(done if wait else answer["text"])
        for left in answer["left"]:
            note(f"{left['task']} on {left['node']}: {left['why']}; it stays as it is")
    elif not found["unknown"]:
        say("no unknown containers")
    else:
        print_table(tables.UNKNOWN_COLUMNS, tables.unknown_rows(found))
        note(
            "they run on and hold their resources: `cube recover --adopt` makes them tasks again,"
            " `cube recover --remove` removes them"
        )


def _is_decided(client: Client, before: RecoveryView, answer: RecoverView) -> bool:
    """Are there no more unknown containers than the answer leaves?"""
    return len(client.recovery()["unknown"]) <= len(before["unknown"]) - answer["decided"]


def _has_ended(client: Client, target: str) -> bool:
    tasks = tasks_of(client.tasks(target.partition("/")[0]), target)
    return all(t["state"] in ("stopped", "completed", "failed") for t in tasks)


def _is_gone(client: Client, name: str) -> bool:
    return all(job["name"] != name for job in client.jobs())


def _wait_for(what: str, timeout: float, done: Callable[[], bool]) -> None:
    end = time.monotonic() + timeout
    while not done():
        if time.monotonic() > end:
            raise Failure(
                f"waited {timeout:g} s in vain for {what}",
                remedy="it goes on; look with `cube status`",
                code=ExitCode.UNHEALTHY,
            )
        time.sleep(POLL_SECONDS)
