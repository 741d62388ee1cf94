"""`cube logs` and `cube events`: what was said and what happened, as it comes."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import click

from cube.cli import connection, tables
from cube.cli.exits import ExitCode, Failure, note
from cube.cli.looking import tasks_of
from cube.cli.printing import output_option, print_json, print_json_line
from cube.cli.quantities import MOMENT, PLACE
from cube.cli.text import say

if TYPE_CHECKING:
    from cube.client import Client
    from cube.views import EventView

ENDED = ("completed", "failed", "stopped")
LOOK_SECONDS = 1.0  # between two looks for new runs
Line = tuple[str, bytes] | None  # the task's name and a line; None: one task has no more


class Wanted(TypedDict):
    """Which part of each run's output."""

    tail: int | None
    since: float | None
    previous: bool


@click.command()
@click.argument("target", shell_complete=connection.complete_target)
@click.option("-f", "--follow", is_flag=True, help="Go on until all has ended, or Ctrl-C.")
@click.option(
    "-n", "--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of each."
)
@click.option(
    "--since", type=MOMENT, metavar="TIME", help="Only what is newer: 10m, or a date with time."
)
@click.option("--previous", is_flag=True, help="What was said before the latest restart.")
@connection.state_dir_option
@output_option
def logs(
    target: str,
    follow: bool,
    tail: int | None,
    since: float | None,
    previous: bool,
    state_dir: Path,
    output: str,
) -> None:
    """Show the output of a task, or of all tasks of a job.

    TARGET is a JOB, a JOB/SERVICE or a task (JOB/SERVICE/INDEX). What has ended keeps its output
    until it is stopped, run again or removed. Following a job shows new instances and restarted
    ones as well. In JSON each line is one document.
    """
    if follow and previous:
        raise click.UsageError("A run that is over has nothing to follow.")
    with connection.connected(state_dir) as client:
        names = _tasks_with_output(client, target)
        single = target.count("/") == 2
        wanted: Wanted = {"tail": tail, "since": since, "previous": previous}
        if single and output == "table" and not follow:
            for piece in client.logs(target, **wanted):
                _write(piece)
            return
        width = 0 if single else max(len(_short(name)) for name in names)
        lines = _follow(client, target, wanted) if follow else _one_by_one(client, names, wanted)
        for name, line in lines:
            if output == "json":
                print_json_line({"task": name, "line": line.decode(errors="replace").rstrip("\n")})
                sys.stdout.flush()
            elif single:
                _write(line)
            else:
                _write(f"{_short(name):<{width}} | ".encode() + line)


def _tasks_with_output(client: Client, target: str) -> list[str]:
    """The tasks that a target names and that have been started."""
    tasks = tasks_of(client.tasks(target.partition("/")[0]), target)
    if not tasks:
        raise Failure(
            f"there is no {target}", remedy="`cube status` lists all tasks", code=ExitCode.NOT_FOUND
        )
    started = [t["id"] for t in tasks if t["node"] is not None]
    if not started:
        first = tasks[0]
        raise Failure(
            f"{first['id']} has not been started, so it has said nothing",
            where=first["reason"],
            remedy=f"see why: `cube explain {first['id']}`",
            code=ExitCode.NOT_FOUND,
        )
    return started


def _short(name: str) -> str:
    """A task's name without its job's."""
    return name.partition("/")[2]


def _one_by_one(client: Client, names: list[str], wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """Lines of one task after the other; a single one without output is an error."""
    from cube.client import ApiProblem

    for name in names:
        try:
            for line in _lines(client.logs(name, **wanted)):
                yield name, line
        except ApiProblem as problem:
            gone = problem.exit_code == ExitCode.NOT_FOUND  # stopped, and its output with it
            if len(names) == 1 or not gone:
                raise


def _follow(client: Client, target: str, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """Lines of all runs as they come, each read by its own thread, until every task has ended."""
    lines: queue.Queue[Line] = queue.Queue(maxsize=1000)
    seen: set[tuple[str, int, int]] = set()
    reading, first = 0, True
    while True:
        tasks = tasks_of(client.tasks(target.partition("/")[0]), target)
        for task in tasks:
            run = (task["id"], task["attempt"], task["restart"])
            if task["container"] and run not in seen:
                # A run that began while we looked on is told from its beginning.
                mine: Wanted = wanted if first else {**wanted, "tail": None}
                seen.add(run)
                reading += 1
                args = (client, task["id"], mine, lines)
                threading.Thread(target=_follow_one, args=args, daemon=True).start()
        first = False
        if not reading and all(t["state"] in ENDED for t in tasks):
            return
        for line in _what_came(lines):
            if line is None:
                reading -= 1
            else:
                yield line


def _what_came(lines: queue.Queue[Line]) -> Iterator[Line]:
    """What is in the queue, for about a second at a time."""
    end = time.monotonic() + LOOK_SECONDS
    with suppress(queue.Empty):
        while (left := end - time.monotonic()) > 0:
            yield lines.get(timeout=left)


def _follow_one(client: Client, name: str, wanted: Wanted, lines: queue.Queue[Line]) -> None:
    from cube.client import ApiProblem, ClientError

    try:
        for line in _lines(client.logs(name, follow=True, **wanted)):
            lines.put((name, line))
    except ApiProblem as problem:
        if problem.exit_code != ExitCode.NOT_FOUND:  # it has gone with its container
            lines.put((name, f"(no more output: {problem})\n".encode()))
    except ClientError as error:
        lines.put((name, f"(no more output: {error})\n".encode()))
    finally:
        lines.put(None)


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines from pieces; the last one is ended if it is not."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest + b"\n"


def _write(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on as things happen, until Ctrl-C.")
@click.option(
    "--after",
    type=PLACE,
    default=(None, 0),
    metavar="[EPOCH-]REV",
    help="Only after a revision; with its epoch, told from the start if that history is gone.",
)
@click.option("--job", metavar="JOB", help="Only of this job.")
@connection.state_dir_option
@output_option
def events(
    follow: bool, after: tuple[int | None, int], job: str | None, state_dir: Path, output: str
) -> None:
    """Show what happened, oldest first.

    To go on later, name the epoch and the revision of the last one seen (-o json shows both). A
    store that was restored or lost has another history: it is told from its beginning then, after
    a line that says so.
    """
    epoch, revision = after
    with connection.connected(state_dir) as client:
        if follow:
            for event in client.follow_events(after=revision, epoch=epoch, job=job):
                _show_event(event, output)
            note("the manager has stopped")
            return
        found = client.events(after=revision, epoch=epoch, job=job)
    if output == "json":
        print_json(found)
        return
    if not found:
        of_job = f" of a job {job}" if job else ""
        note(f"no events{of_job}" + (f" after revision {revision}" if revision else ""))
    for event in found:
        _show_event(event, output)


def _show_event(event: EventView, output: str) -> None:
    if output == "json":
        print_json_line(event)
    else:
        say(tables.event_line(event))
