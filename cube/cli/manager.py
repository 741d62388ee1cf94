"""`cube manager`: the manager of a cluster on several machines, here or as a systemd unit."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cube import __version__
from cube.cli import connection, units
from cube.cli.ending import ending_signals
from cube.cli.hosting import (
    POLICIES,
    Teller,
    cluster_failure,
    log_format_option,
)
from cube.cli.text import say
from cube.logs import logging_to

if TYPE_CHECKING:
    from cube.hosting.manager import ManagerPlace

LISTEN = "127.0.0.1:7460"

OPTIONS = (
    click.option(
        "--listen",
        default=LISTEN,
        show_default=True,
        metavar="HOST:PORT",
        help="Where users and joining machines reach it; 0.0.0.0 is every address.",
    ),
    click.option(
        "--listen-nodes",
        metavar="HOST:PORT",
        help="Where nodes speak to it. Default: the same address, the next port.",
    ),
    click.option(
        "--advertise",
        metavar="HOST",
        default="",
        help="The name or address that machines use for it. Default: found out.",
    ),
    connection.state_dir_option,
    click.option(
        "--policy",
        default="epvm",
        show_default=True,
        metavar="P",
        help=f"{POLICIES}; NAME(parameter=value); or package.module:name.",
    ),
    click.option(
        "--record",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Log every message and its effects to this file.",
    ),
    log_format_option,
)


@click.group(invoke_without_command=True)
@units.with_options(OPTIONS)
@click.pass_context
def manager(context: click.Context, /, **chosen: Any) -> None:
    """Run the manager of a cluster, until a signal ends it.

    Machines join with `cube worker`; tasks go on while the manager is away. As a systemd unit it
    is run by `cube manager install`.
    """
    if units.is_command(context):
        _run(**chosen)


@manager.command(cls=units.Installing)
@units.with_options(OPTIONS)
@units.print_option
@click.pass_context
def install(context: click.Context, /, state_dir: Path, show: bool, **chosen: Any) -> None:
    """Have systemd run the manager, now and after each boot.

    Options are as without `install`. Prints the line with which other machines join.
    """
    from cube.hosting.manager import FIRST_TOKEN, FIRST_TOKEN_SECONDS

    path = state_dir.absolute()
    _place(path, **chosen)
    words = units.words(context, "--state-dir", then=("--state-dir", str(path)))
    if units.install("manager", words, show):
        client_address = units.await_manager(path)
        with connection.connected(path) as client:
            if any(token["scope"] == "join" for token in client.tokens()):
                say(_greeting(client_address, "", path))
            else:
                made = client.create_token(FIRST_TOKEN, "join", FIRST_TOKEN_SECONDS)
                say(_greeting(client_address, made["token"], path, " install"))


@manager.command()
def uninstall() -> None:
    """Stop and remove the systemd unit, and say what remains.

    Jobs go on. The state directory stays: with it a manager can be installed again.
    """
    words = units.uninstall("manager")
    say(f"removed; the cluster's state remains in {units.value(words, '--state-dir')}")


def _place(state_dir: Path, **chosen: Any) -> ManagerPlace:
    """What the options say.

    Raises:
        Failure: they cannot be.
    """
    from cube.hosting.manager import PORT, ManagerPlace
    from cube.serving import Listen, ListenError

    nodes = chosen["listen_nodes"]
    try:
        return ManagerPlace(
            state_dir,
            Listen.parse(chosen["listen"], PORT),
            Listen.parse(nodes) if nodes else None,
            chosen["advertise"],
            chosen["policy"],
            chosen["record"],
            # A token is not for logs.
            invite="JOURNAL_STREAM" not in os.environ and chosen["log_format"] == "text",
        )
    except ListenError as error:
        raise cluster_failure(error) from None


def _greeting(url: str, first_join: str, state: Path, how: str = "") -> str:
    more = "More machines join with the token of: cube token create NAME --join"
    if first_join:
        more = (
            "On each machine that is to run tasks, within 24 hours:\n"
            f"  cube worker{how} --join {url} --token {first_join}"
        )
    return f"Cube {__version__} manager listens at {url}\n  state   {state}\n{more}"


def _run(**chosen: Any) -> None:
    from cube.hosting.failures import ClusterError
    from cube.hosting.manager import ManagerHost

    form = chosen["log_format"]
    teller = Teller(form)
    sys.path.append(str(Path.cwd()))  # where a user's own policy may lie
    with logging_to(sys.stderr, form), ending_signals() as ending:
        host = ManagerHost(_place(**chosen))
        try:
            host.start()
        except ClusterError as error:
            raise cluster_failure(error) from None
        words = _greeting(host.url, host.first_join, host.state.path)
        teller.tell(words, f"Cube {__version__} manager listens at {host.url}", url=host.url)
        ending.wait()
        host.stop()
        teller.note("stopped; nodes go on with what they run")
