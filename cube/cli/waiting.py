"""Waiting until a job is up: the same for everything that starts or changes one.

Looks again and again, lets `verdict` judge, and shows progress; Ctrl-C only detaches.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from cube.cli import tables
from cube.cli.exits import ExitCode, Failure, note
from cube.cli.progress import Progress
from cube.cli.text import say
from cube.cli.verdict import Judge, Verdict, is_done

if TYPE_CHECKING:
    from cube.client import Client
    from cube.views import TaskView

POLL_SECONDS = 0.2


def wait_until_up(
    client: Client, job: str, before: list[TaskView], timeout: float | None
) -> Verdict:
    """Look until the outcome is clear, the deadline passes or Ctrl-C detaches."""
    judge = Judge(job, before)
    start = time.monotonic()
    try:
        with Progress() as progress:
            while True:
                tasks = client.tasks(job)
                progress.show(tasks)
                now = time.monotonic()
                verdict = judge.judge(client.job(job), tasks, now)
                if verdict is None and timeout is not None and now - start > timeout:
                    verdict = _too_late(job, timeout, tasks)
                if verdict is not None:
                    return verdict
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        note(
            f"\ndetached; {job} goes on: watch it with `cube status {job} -w`,"
            f" stop it with `cube stop {job}`"
        )
        raise click.exceptions.Exit(ExitCode.INTERRUPTED) from None


def _too_late(job: str, timeout: float, tasks: list[TaskView]) -> Verdict:
    waiting = next((t for t in tasks if not is_done(t)), None)
    why = "" if waiting is None else f"; {waiting['id']} is {tables.task_state(waiting)}"
    if waiting is not None and tables.task_note(waiting):
        why += f": {tables.task_note(waiting)}"
    remedy = f"it goes on: watch it with `cube status {job} -w`, stop it with `cube stop {job}`"
    return Verdict(ExitCode.UNHEALTHY, f"{job} is not up after {timeout:g} s{why}", remedy)


def end(verdict: Verdict | None, output: str) -> int:
    """The exit code for an outcome; None: nobody waited for one.

    Raises:
        Failure: it is not as it should be.
    """
    if verdict is None:
        return ExitCode.OK
    if verdict.code != ExitCode.OK:
        raise Failure(verdict.text, remedy=verdict.remedy, code=verdict.code)
    if output == "table":
        say(verdict.text)
    return ExitCode.OK
