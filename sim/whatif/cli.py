"""`python -m sim what-if`: a snapshot in, what would happen out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from cube.cli.printing import output_option, print_json
from cube.cli.quantities import DURATION

if TYPE_CHECKING:
    from cube.snapshot import State

LIMIT = "24h"


@click.command("what-if")
@click.argument("snapshot", type=click.File("rb"), metavar="SNAPSHOT")
@click.option("--drain", multiple=True, metavar="NODE[,NODE]", help="Empty these nodes.")
@click.option(
    "--deadline", type=DURATION, metavar="TIME", help="Of the drains: stop what is left then."
)
@click.option("--fail", multiple=True, metavar="NODE[,NODE]", help="These machines die.")
@click.option(
    "--add-nodes",
    "add",
    multiple=True,
    metavar="K[:cpu=C,memory=M,disk=D]",
    help="So many nodes join, as large as most are unless it is said; also datacenter= and"
    " label.KEY=.",
)
@click.option("--scale", multiple=True, metavar="JOB/SERVICE=N", help="Have so many instances.")
@click.option("--policy", default="", metavar="P", help="Decides instead of the cluster's own.")
@click.option(
    "--limit", type=DURATION, default=LIMIT, show_default=True, help="Virtual time to wait at most."
)
@output_option
def what_if_command(
    snapshot: IO[bytes],
    drain: tuple[str, ...],
    deadline: float | None,
    fail: tuple[str, ...],
    add: tuple[str, ...],
    scale: tuple[str, ...],
    policy: str,
    limit: float,
    output: str,
) -> None:
    """Try changes on the state of a real cluster, which `cube snapshot` saves; - is stdin.

    The manager, the scheduler and the workers of Cube run on it in virtual time, until nothing
    happens any more. All changes are made at once.

    Exit code 0: at rest, and no task waits that did not; 3: a task would wait for a place, or a
    node would not become empty; 4: not at rest within --limit; 2: the question makes no sense.
    """
    from sim.whatif import Changes, what_if
    from sim.whatif.changes import NewNodes, Scaling, names
    from sim.whatif.showing import show

    sys.path.append(str(Path.cwd()))  # where a user's own policy may lie
    changes = Changes(
        names(drain),
        deadline,
        names(fail),
        tuple(map(NewNodes.parse, add)),
        tuple(map(Scaling.parse, scale)),
        policy,
    )
    outcome = what_if(_read(snapshot), changes, limit)
    if output == "json":
        print_json(outcome.as_json())
    else:
        show(outcome)
    sys.exit(outcome.exit_code)


def _read(file: IO[bytes]) -> State:
    from cube.snapshot import SnapshotError, read
    from sim.errors import InputError

    try:
        return read(file.read())
    except SnapshotError as error:
        what, _, remedy = str(error).partition("; ")
        raise InputError(f"{file.name}: {what}", f"{remedy[:1].upper()}{remedy[1:]}.") from None
