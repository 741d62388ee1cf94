"""`cube scale`, `cube restart`, `cube rollback`, `cube wait`: jobs that are there already.

Each asks for a change that needs no file, and waits until it is so; the manager decides.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cube.cli import connection, tables
from cube.cli.exits import ExitCode, Failure
from cube.cli.printing import on_terminal, output_option, print_json, print_table
from cube.cli.quantities import DURATION
from cube.cli.text import say
from cube.cli.trying import plan_option, show_plan
from cube.cli.waiting import end, wait_until_up

if TYPE_CHECKING:
    from cube.client import Client
    from cube.views import AnswerView, SubmitView

wait_option = click.option(
    "--wait/--no-wait", default=None, help="Wait until it is up (on a terminal: yes)."
)
timeout_option = click.option(
    "--timeout", type=DURATION, metavar="TIME", help="How long to wait at most, as in 90s."
)


@click.command()
@click.argument("counts", nargs=-1, required=True, metavar="JOB/SERVICE=N...")
@wait_option
@timeout_option
@plan_option
@connection.state_dir_option
@output_option
def scale(
    counts: tuple[str, ...],
    wait: bool | None,
    timeout: float | None,
    planned: bool,
    state_dir: Path,
    output: str,
) -> int:
    """Change how many instances services of a job have.

    Instances that stay are left alone. It is a new version of the job: running its file again
    brings the file's numbers back.
    """
    job, numbers = _counts(counts)
    if planned:
        if wait:
            raise click.UsageError("--plan changes nothing that --wait could wait for")
        with connection.connected(state_dir) as client:
            client.job(job)  # is there one of that name?
            return show_plan(client, [f"--scale={text}" for text in counts], output)
    return _change(job, lambda client: client.scale(job, numbers), wait, timeout, state_dir, output)


@click.command()
@click.argument("job", shell_complete=connection.complete_target)
@click.option("--to", "version", type=click.IntRange(min=1), metavar="N", help="To this version.")
@wait_option
@timeout_option
@connection.state_dir_option
@output_option
def rollback(
    job: str, version: int | None, wait: bool | None, timeout: float | None, **where: Any
) -> int:
    """Make a job what it was in the version before.

    That is a new version, so rolling back twice brings back what there was at first. The ten
    versions before the newest are kept.
    """
    return _change(job, lambda client: client.rollback(job, version or 0), wait, timeout, **where)


@click.command()
@click.argument("target", shell_complete=connection.complete_target)
@wait_option
@timeout_option
@connection.state_dir_option
@output_option
def restart(
    target: str, wait: bool | None, timeout: float | None, state_dir: Path, output: str
) -> int:
    """Restart a job, a service or a task, one instance after the other.

    TARGET is a JOB, a JOB/SERVICE or a task (JOB/SERVICE/INDEX). Each instance is stopped and
    placed anew, maybe on another node; one that is down already goes first.
    """
    job = target.partition("/")[0]
    return _change(job, lambda client: client.restart(target), wait, timeout, state_dir, output)


@click.command()
@click.argument("job", shell_complete=connection.complete_target)
@timeout_option
@connection.state_dir_option
@output_option
def wait(job: str, timeout: float | None, state_dir: Path, output: str) -> int:
    """Wait until a job is up, or its batch tasks are done."""
    with connection.connected(state_dir) as client:
        client.job(job)  # is there one of that name?
        # What has failed already has failed; what runs is not blamed for how it came to.
        ended = ("completed", "failed", "stopped")
        before = [t for t in client.tasks(job) if t["state"] not in ended]
        verdict = wait_until_up(client, job, before, timeout)
        if output == "json":
            print_json({"job": client.job(job), "tasks": client.tasks(job)})
    return end(verdict, output)


def _counts(texts: tuple[str, ...]) -> tuple[str, dict[str, int]]:
    """The job, and how many instances each of its services is to have."""
    numbers: dict[str, int] = {}
    jobs: dict[str, None] = {}
    for text in texts:
        target, _, number = text.partition("=")
        job, _, service = target.partition("/")
        if not (job and service and number.isdecimal()) or "/" in service:
            remedy = "write JOB/SERVICE=N, as in shop/web=3"
            raise Failure(f"{text} is no number of instances", remedy=remedy, code=ExitCode.USAGE)
        jobs[job] = None
        numbers[service] = int(number)
    if len(jobs) > 1:
        remedy = "use one command for each"
        what = f"{' and '.join(jobs)} are several jobs"
        raise Failure(what, remedy=remedy, code=ExitCode.USAGE)
    return next(iter(jobs)), numbers


def _change(
    job: str,
    change: Callable[[Client], SubmitView | AnswerView],
    wait: bool | None,
    timeout: float | None,
    state_dir: Path,
    output: str,
) -> int:
    """Ask for the change, show the answer, and wait for the outcome if that is wished."""
    with connection.connected(state_dir) as client:
        before = [task for task in client.tasks() if task["job"] == job]
        answer = change(client)
        if output == "table":
            say(answer["text"])
            for line in _lines(answer):
                say(line)
        verdict = None
        if on_terminal() if wait is None else wait:
            verdict = wait_until_up(client, job, before, timeout)
        if output == "json":
            print_json({"answer": answer, "job": client.job(job), "tasks": client.tasks(job)})
        elif verdict is not None:
            print_table(tables.TASK_COLUMNS, tables.task_rows(client.tasks(job)))
    return end(verdict, output)


def _lines(answer: Any) -> list[str]:
    """What differs from before, where the answer says so."""
    if "changes" not in answer or answer["status"] == "unchanged":
        return []
    return tables.change_lines(answer["fields"], answer["changes"])
