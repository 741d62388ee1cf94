"""`cube logs` and `cube events`: what was said and what happened, as it comes."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cube.cli import connection, tables
from cube.cli.exits import ExitCode, Failure, note
from cube.cli.looking import tasks_of
from cube.cli.printing import output_option, print_json, print_json_line

if TYPE_CHECKING:
    from cube.client import Client
    from cube.views import EventView

Line = tuple[str, bytes] | None  # the task's name and a line; None: one task has no more


@click.command()
@click.argument("target", shell_complete=connection.complete_target)
@click.option("-f", "--follow", is_flag=True, help="Go on until it ends, or Ctrl-C.")
@click.option(
    "-n", "--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of each."
)
@connection.state_dir_option
@output_option
def logs(target: str, follow: bool, tail: int | None, state_dir: Path, output: str) -> None:
    """Show the output of a task, or of all tasks of a job.

    TARGET is a JOB, a JOB/SERVICE or a task (JOB/SERVICE/INDEX). What has ended keeps its output
    until it is stopped, run again or removed. In JSON each line is one document.
    """
    with connection.connected(state_dir) as client:
        names = _tasks_with_output(client, target)
        single = target.count("/") == 2
        if single and output == "table":
            for piece in client.logs(target, follow=follow, tail=tail):
                _write(piece)
            return
        width = max(len(_short(name)) for name in names)
        lines = _follow_all if follow else partial(_one_by_one, must=single)
        for name, line in lines(client, names, tail):
            if output == "json":
                print_json_line({"task": name, "line": line.decode(errors="replace").rstrip("\n")})
                sys.stdout.flush()
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


def _one_by_one(
    client: Client, names: list[str], tail: int | None, must: bool
) -> Iterator[tuple[str, bytes]]:
    """Lines of one task after the other; `must`: one without output is an error."""
    from cube.client import ApiProblem

    for name in names:
        try:
            for line in _lines(client.logs(name, tail=tail)):
                yield name, line
        except ApiProblem as problem:
            gone = problem.exit_code == ExitCode.NOT_FOUND  # stopped, and its output with it
            if must or not gone:
                raise


def _follow_all(client: Client, names: list[str], tail: int | None) -> Iterator[tuple[str, bytes]]:
    """Lines of all tasks as they come, each read by its own thread."""
    lines: queue.Queue[Line] = queue.Queue(maxsize=1000)
    for name in names:
        args = (client, name, tail, lines)
        threading.Thread(target=_follow_one, args=args, daemon=True).start()
    left = len(names)
    while left:
        line = lines.get()
        if line is None:
            left -= 1
        else:
            yield line


def _follow_one(client: Client, name: str, tail: int | None, lines: queue.Queue[Line]) -> None:
    from cube.client import ClientError

    try:
        for line in _lines(client.logs(name, follow=True, tail=tail)):
            lines.put((name, line))
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
    "--after", type=click.IntRange(min=0), default=0, metavar="REV", help="Only after a revision."
)
@click.option("--job", metavar="JOB", help="Only of this job.")
@connection.state_dir_option
@output_option
def events(follow: bool, after: int, job: str | None, state_dir: Path, output: str) -> None:
    """Show what happened, oldest first."""
    with connection.connected(state_dir) as client:
        if follow:
            for event in client.follow_events(after=after, job=job):
                _show_event(event, output)
            note("the manager has stopped")
            return
        found = client.events(after=after, job=job)
    if output == "json":
        print_json(found)
        return
    if not found:
        of_job = f" of a job {job}" if job else ""
        note(f"no events{of_job}" + (f" after revision {after}" if after else ""))
    for event in found:
        _show_event(event, output)


def _show_event(event: EventView, output: str) -> None:
    if output == "json":
        print_json_line(event)
    else:
        click.echo(tables.event_line(event))
