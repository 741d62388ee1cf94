"""`cube node ...`: what an operator says of a node. The manager decides what follows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cube.cli import connection
from cube.cli.changing import POLL_SECONDS
from cube.cli.exits import ExitCode, Failure, note
from cube.cli.printing import output_option, print_json
from cube.cli.quantities import DURATION
from cube.cli.text import say
from cube.cli.trying import plan_option, show_plan

if TYPE_CHECKING:
    from cube.client import Client
    from cube.views import AnswerView, NodeView

node_argument = click.argument("name", metavar="NODE", shell_complete=connection.complete_node)


@click.group()
def node() -> None:
    """Look after nodes: drain, enable, label, remove them."""


@node.command()
@node_argument
@click.option(
    "--deadline",
    type=DURATION,
    metavar="TIME",
    help="Stop what is left after so long, as in 10m, without waiting for anything.",
)
@click.option("--wait", is_flag=True, help="Return when the node is empty; say how it goes.")
@click.option(
    "--timeout", type=DURATION, metavar="TIME", help="With --wait: give up after so long."
)
@plan_option
@connection.state_dir_option
@output_option
def drain(
    name: str,
    deadline: float | None,
    wait: bool,
    timeout: float | None,
    planned: bool,
    state_dir: Path,
    output: str,
) -> int:
    """Move a node's tasks elsewhere, one instance of a service at a time.

    The node takes no new tasks until `cube node enable`. A task whose volume is there stays, unless
    a deadline passes; then it waits for the node.
    """
    if planned and wait:
        raise click.UsageError("--plan changes nothing that --wait could wait for")
    with connection.connected(state_dir) as client:
        if planned:
            late = [] if deadline is None else ["--deadline", f"{deadline:g}s"]
            return show_plan(client, ["--drain", _find(client, name)["name"], *late], output)
        answer = client.drain(name, deadline_seconds=deadline)
        if wait:
            if output == "table":
                say(answer["text"])
            _wait_until_empty(client, name, timeout)
    if output == "json":
        print_json(answer)
    else:
        say(f"{name} is drained" if wait else answer["text"])
    return ExitCode.OK


@node.command()
@node_argument
@connection.state_dir_option
@output_option
def enable(name: str, state_dir: Path, output: str) -> None:
    """Let a drained node have tasks again."""
    with connection.connected(state_dir) as client:
        _show(client.drain(name, on=False), output)


@node.command()
@node_argument
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--rm", "drop", multiple=True, metavar="KEY", help="Take an added label away.")
@connection.state_dir_option
@output_option
def label(
    name: str, pairs: tuple[str, ...], drop: tuple[str, ...], state_dir: Path, output: str
) -> None:
    """Add labels to a node, for constraints such as node.labels.disk == ssd.

    They hold before labels of the same name that its worker tells, and survive its restarts.
    Without any, show the node's labels.
    """
    add = dict(map(_pair, pairs))
    with connection.connected(state_dir) as client:
        if add or drop:
            _show(client.label_node(name, add, drop), output)
            return
        labels = _find(client, name)["labels"]
    if output == "json":
        print_json(labels)
    else:
        for key, value in sorted(labels.items()):
            say(f"{key}={value}")


@node.command()
@node_argument
@connection.state_dir_option
@output_option
def rm(name: str, state_dir: Path, output: str) -> None:
    """Forget a node that is gone for good.

    It must be silent and hold no task: stop its worker, or say that it is lost.
    """
    with connection.connected(state_dir) as client:
        _show(client.remove_node(name), output)


@node.command()
@node_argument
@connection.state_dir_option
@output_option
def lost(name: str, state_dir: Path, output: str) -> None:
    """Declare a silent node gone, so that its tasks are placed elsewhere.

    That is done at once, without waiting for the time after which the manager would do so. Only who
    knows that the machine is off should say it: what still ran there would run twice until the
    node is heard again.
    """
    with connection.connected(state_dir) as client:
        _show(client.declare_lost(name), output)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        remedy = "write KEY=VALUE, or --rm KEY to take a label away"
        raise Failure(f"{text} is no label", remedy=remedy, code=ExitCode.USAGE)
    return key, value


def _show(answer: AnswerView, output: str) -> None:
    if output == "json":
        print_json(answer)
    else:
        say(answer["text"])


def _find(client: Client, name: str) -> NodeView:
    found = next((n for n in client.nodes() if n["name"] == name), None)
    if found is None:
        remedy = "`cube nodes` lists all nodes"
        raise Failure(f"there is no node {name}", remedy=remedy, code=ExitCode.NOT_FOUND)
    return found


def _wait_until_empty(client: Client, name: str, timeout: float | None) -> None:
    """Say how the drain goes whenever that changes, until no task is left."""
    end = None if timeout is None else time.monotonic() + timeout
    said = ""
    while (found := _find(client, name))["tasks"]:
        if not found["draining"]:
            what = f"{name} was enabled again while it drained"
            raise Failure(what, remedy=f"drain it again: `cube node drain {name}`")
        if found["note"] != said:
            said = found["note"]
            note(said)
        if end is not None and time.monotonic() > end:
            remedy = "the drain goes on; stop what blocks it, or drain again with --deadline"
            raise Failure(
                f"{name} is not empty", where=said, remedy=remedy, code=ExitCode.UNHEALTHY
            )
        time.sleep(POLL_SECONDS)
