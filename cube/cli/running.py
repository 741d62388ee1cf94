"""`cube run`: make a job so, and wait until it is."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cube.cli import connection, tables
from cube.cli.exits import warn
from cube.cli.files import failure_of_options, is_spread, read_file, tell_warnings
from cube.cli.printing import on_terminal, output_option, print_json, print_table
from cube.cli.text import say
from cube.cli.waiting import end, wait_until_up

if TYPE_CHECKING:
    from cube.client import Client
    from cube.compose import Reading
    from cube.spec import JobSpec
    from cube.views import SubmitView, TaskView

TRIES = 3  # of one request, when nobody answers
RETRY_SECONDS = 0.5


@click.command()
@click.argument("image", required=False)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("-f", "--file", type=click.Path(path_type=Path), help="A job file; - is stdin.")
@click.option("--name", help="The job's name (default: from the image).")
@click.option("--replicas", metavar="N", help="How many instances.")
@click.option("--cpus", metavar="CORES", help="Cores for each, as in 0.5.")
@click.option("--memory", metavar="SIZE", help="Memory for each, as in 256M.")
@click.option("--disk", metavar="SIZE", help="Disk to count for each, as in 2G.")
@click.option("-e", "--env", multiple=True, metavar="NAME=VALUE", help="A variable; repeatable.")
@click.option("-p", "--publish", multiple=True, metavar="[HOST:]PORT", help="A port; repeatable.")
@click.option("--restart", metavar="POLICY", help="no, on-failure[:N] or always.")
@click.option("--batch", is_flag=True, default=None, help="It is done when it exits with 0.")
@click.option("--again", is_flag=True, help="Run finished batch tasks once more.")
@click.option("--wait/--no-wait", default=None, help="Wait until it is up (on a terminal: yes).")
@click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="How long to wait at most."
)
@connection.state_dir_option
@output_option
def run(
    image: str | None,
    command: tuple[str, ...],
    file: Path | None,
    again: bool,
    wait: bool | None,
    timeout: float | None,
    state_dir: Path,
    output: str,
    **options: Any,
) -> int:
    """Run a job: a Compose file, or one IMAGE.

    A COMMAND goes after --, as in `cube run busybox -- sleep 60`.

    Running the same file again changes nothing; a changed file changes only what differs.
    """
    reading = _read(image, command, file, options)
    job = reading.job
    with connection.connected(state_dir) as client:
        if reading.unreachable and is_spread(client.nodes()):
            for problem in reading.unreachable:
                warn(str(problem))
        before = _tasks_before(client, job.name)
        answer = _submit(client, job, again)
        if output == "table":
            _show_answer(answer)
        verdict = None
        if on_terminal() if wait is None else wait:
            verdict = wait_until_up(client, job.name, before, timeout)
        if output == "json":
            print_json(_as_json(client, answer))
        elif verdict is not None:
            print_table(tables.TASK_COLUMNS, tables.task_rows(client.tasks(job.name)))
    return end(verdict, output)


def _read(
    image: str | None, command: tuple[str, ...], file: Path | None, options: dict[str, Any]
) -> Reading:
    """The job from a file or from options, never from both."""
    if (image is None) == (file is None):
        raise click.UsageError("Give either a job file (-f FILE) or an IMAGE.")
    if file is None:
        from cube.compose import Reading, SpecError, job_from_options

        try:
            made = job_from_options(image or "", command, environ=os.environ, **options)
            return Reading(made)
        except SpecError as error:
            raise failure_of_options(error.problems) from None
    given = [name for name, value in options.items() if value not in (None, ())]
    if given:
        names = ", ".join(f"--{name}" for name in given)
        raise click.UsageError(f"With -f, {names} belongs into the file.")
    reading = read_file(file)
    tell_warnings(reading)
    return reading


def _tasks_before(client: Client, job: str) -> list[TaskView]:
    """The job's tasks as they are, if it is known."""
    return [task for task in client.tasks() if task["job"] == job]


def _submit(client: Client, job: JobSpec, again: bool) -> SubmitView:
    """Submit under one request id, repeated while nobody answers: it happens once at most."""
    from cube.client import NoManager, new_request_id

    request = new_request_id()
    for left in reversed(range(TRIES)):
        try:
            return client.submit(job, again=again, request=request)
        except NoManager:
            if not left:
                raise
            time.sleep(RETRY_SECONDS)
    raise AssertionError("the last try returns or raises")


def _show_answer(answer: SubmitView) -> None:
    say(answer["text"])
    if answer["status"] != "unchanged":
        for line in tables.change_lines(answer["fields"], answer["changes"]):
            say(line)


def _as_json(client: Client, answer: SubmitView) -> dict[str, Any]:
    job = answer["job"]
    return {"submit": answer, "job": client.job(job), "tasks": client.tasks(job)}
