"""`cube validate` and `cube schema`: job files, looked at without a cluster.

Also the one place where the command line reads a job file; what the file may hold is decided by
`cube.compose`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cube.cli.exits import ExitCode, Failure, warn
from cube.cli.printing import output_option, print_json
from cube.cli.text import say

if TYPE_CHECKING:
    from cube.compose import Reading
    from cube.compose.problem import Problem
    from cube.spec import JobSpec, TaskSpec
    from cube.views import NodeView

MAX_STDIN_BYTES = 2 << 20  # more than any job file may have


def read_file(path: Path) -> Reading:
    """The job in a file, with warnings.

    Raises:
        Failure: it cannot be read, or is not a job; every problem is in the text.
    """
    from cube.compose import SpecError, read_job

    try:
        return read_job(path, os.environ, stdin=_stdin_for(path))
    except SpecError as error:
        raise failure_of(path, error.problems) from None


def _stdin_for(path: Path) -> str | None:
    """The text on stdin, if it was named as the file."""
    if str(path) != "-":
        return None
    try:
        return sys.stdin.buffer.read(MAX_STDIN_BYTES).decode()
    except UnicodeDecodeError:
        remedy = "is this really a job file?"
        raise Failure("this is not text in UTF-8", where="<stdin>", remedy=remedy) from None


def failure_of(path: Path, problems: tuple[Problem, ...]) -> Failure:
    """One failure that lists all problems of a file."""
    if len(problems) == 1:
        return _of_one(problems[0], ExitCode.ERROR)
    remedy = f"repair them; check with `cube validate {path}`"
    return Failure(f"{len(problems)} problems in {path}{_listed(problems)}", remedy=remedy)


def failure_of_options(problems: tuple[Problem, ...]) -> Failure:
    """One failure that lists all problems of a command line; their places are options."""
    if len(problems) == 1:
        return _of_one(problems[0], ExitCode.USAGE)
    what = f"{len(problems)} options are wrong{_listed(problems)}"
    return Failure(what, remedy="repair them; see `cube run --help`", code=ExitCode.USAGE)


def _of_one(problem: Problem, code: ExitCode) -> Failure:
    place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
    return Failure(problem.text, where=place, remedy=problem.remedy, code=code)


def _listed(problems: tuple[Problem, ...]) -> str:
    return "".join(f"\n  {problem}" for problem in problems)


def tell_warnings(reading: Reading) -> None:
    """Warnings of a file, on stderr."""
    for problem in reading.warnings:
        warn(str(problem))


def is_spread(nodes: list[NodeView]) -> bool:
    """Is the cluster on several machines, so that not everything reaches everything?

    Nodes in the manager's own process have no address, and are on its machine.
    """
    return len({node["host"] or node["address"] for node in nodes}) > 1


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--one-machine",
    is_flag=True,
    help="For a cluster of one machine, where all services reach one another.",
)
@output_option
def validate(file: Path, one_machine: bool, output: str) -> None:
    """Check a job file, without a cluster."""
    from cube.compose import SpecError, read_job

    try:
        reading = read_job(file, os.environ, stdin=_stdin_for(file))
        if reading.unreachable and not one_machine:
            raise SpecError(reading.unreachable)
    except SpecError as error:
        if output == "json":
            print_json({"valid": False, "problems": [problem_json(p) for p in error.problems]})
        raise failure_of(file, error.problems) from None
    tell_warnings(reading)
    if output == "json":
        warnings = [problem_json(problem) for problem in reading.warnings]
        print_json({"valid": True, "job": reading.job.name, "warnings": warnings})
    else:
        say(f"{file}: valid; {describe_job(reading.job)}")


@click.command()
def schema() -> None:
    """Print the JSON Schema of job files, for editors."""
    from cube.compose import json_schema

    print_json(json_schema())


def problem_json(problem: Problem) -> dict[str, Any]:
    """A problem with its place."""
    return {
        "file": problem.file,
        "line": problem.line or None,
        "column": problem.column or None,
        "text": problem.text,
        "remedy": problem.remedy,
    }


def describe_job(job: JobSpec) -> str:
    """A job in one line: `job shop: web (3 instances), tally (batch)`."""
    return f"job {job.name}: " + ", ".join(describe_service(s) for s in job.services)


def describe_service(spec: TaskSpec) -> str:
    """A service in a few words."""
    count = "one per node" if spec.kind.is_global else f"{spec.instances} instances"
    if spec.instances == 1 and not spec.kind.is_global:
        count = ""
    notes = ", ".join(part for part in ("batch" if spec.kind.is_batch else "", count) if part)
    return f"{spec.name} ({notes})" if notes else spec.name
