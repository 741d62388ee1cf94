"""`cube dev`: a whole cluster in one process, for as long as the terminal is open."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

import click

from cube import __version__
from cube.cli import connection
from cube.cli.exits import ExitCode, Failure, note
from cube.cli.printing import local_time
from cube.state_dir import default_state_dir

if TYPE_CHECKING:
    from cube.cluster import Cluster, ClusterOptions
    from cube.hosting.failures import ClusterError

ENDING = (signal.SIGINT, signal.SIGTERM)
POLICIES = (
    "epvm, epvm-paper, epvm-book, round-robin, greedy, best-fit, worst-fit, first-fit, dot-product,"
    " hybrid, fgd, nomad-binpack, least-allocated, most-allocated, two-choices, random"
)
JOINING = ("node.joined", "node.alive")
EngineName = Literal["docker", "process", "simulated"]


@click.command()
@click.option(
    "--workers",
    type=int,
    default=3,
    show_default=True,
    metavar="N",
    help="Nodes; they share this machine's capacity.",
)
@click.option(
    "--engine",
    type=click.Choice(["docker", "process", "simulated"]),
    default="docker",
    show_default=True,
    help="What starts and stops tasks.",
)
@click.option(
    "--policy",
    default="epvm",
    show_default=True,
    metavar="P",
    help=f"{POLICIES}; NAME(parameter=value); or package.module:name.",
)
@connection.state_dir_option
@click.option(
    "--listen",
    default="127.0.0.1:0",
    show_default=True,
    metavar="HOST:PORT",
    help="Where the API listens; port 0 takes a free one.",
)
@click.option(
    "--gpus",
    metavar="LIST",
    help="GPUs of this machine (of each simulated node), as in 2xA100,T4; found by itself if not"
    " given.",
)
@click.option("--rm", "remove", is_flag=True, help="Remove all containers and volumes at the end.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Log every message and its effects to this file.",
)
def dev(
    workers: int,
    engine: EngineName,
    policy: str,
    state_dir: Path,
    listen: str,
    gpus: str | None,
    remove: bool,
    record: Path | None,
) -> None:
    """Run a whole cluster here, until Ctrl-C.

    Containers outlive it and are adopted at the next start, unless --rm.
    """
    from cube.cluster import Cluster, ClusterOptions
    from cube.hosting.failures import ClusterError
    from cube.serving import Listen, ListenError

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    sys.path.append(str(Path.cwd()))  # where a user's own policy may lie
    with ending_signals() as ended:
        try:
            place = Listen.parse(listen)
            options = ClusterOptions(
                state_dir,
                workers,
                engine,
                policy,
                place,
                record,
                os.environ.get("DOCKER_HOST"),
                gpus=None if gpus is None else read_gpus(gpus),
            )
            cluster = Cluster(options)
            cluster.start()
            _serve(cluster, options, remove, ended)
        except (ClusterError, ListenError) as error:
            raise cluster_failure(error) from None


def read_gpus(text: str) -> tuple[str, ...]:
    """Models by device number, from `2xA100,T4`.

    Raises:
        click.UsageError: it is not of that form.
    """
    models: list[str] = []
    for part in filter(None, map(str.strip, text.split(","))):
        match = re.fullmatch(r"(?:(\d{1,3})x)?(\S.*)", part)
        if match is None or match[1] == "0":
            raise click.UsageError(f"--gpus: {part!r} is not a model with its number, as in 2xA100")
        models += [match[2]] * int(match[1] or 1)
    return tuple(models)


def cluster_failure(error: ClusterError | Any) -> Failure:
    """What is wrong, and the remedy from the second line on."""
    what, _, remedy = str(error).partition("\n")
    remedy = " ".join(line.strip() for line in remedy.splitlines())
    return Failure(what.rstrip("."), remedy=remedy, code=error.exit_code)


def _serve(cluster: Cluster, options: ClusterOptions, remove: bool, ended: threading.Event) -> None:
    """Tell where it is and what happens, until a signal; then stop in good order."""
    from cube.client import Client

    with Client(cluster.url, cluster.token) as client:
        begun = client.cluster()["revision"]  # before anybody is told where to send jobs
    _greet(cluster, options, remove)
    teller = threading.Thread(
        target=tell_events,
        args=(cluster.url, cluster.token, cluster.revision, begun),
        daemon=True,
    )
    teller.start()
    ended.wait()
    note("\nstopping; once more to stop at once" + (" (containers stay)" if not remove else ""))
    cluster.stop(rm=remove, say=note)
    teller.join(timeout=5)
    note("stopped" if remove else _what_stays(options))


def _greet(cluster: Cluster, options: ClusterOptions, remove: bool) -> None:
    nodes = cluster.nodes
    shown = ", ".join(nodes) if len(nodes) <= 4 else f"{nodes[0]} to {nodes[-1]}"
    state = cluster.state.path
    usual = options.state_dir == default_state_dir()
    other = "" if usual else f"  export CUBE_STATE_DIR={state}\n"
    end = "removes everything" if remove else "stops it; containers stay"
    click.echo(
        f"Cube {__version__} listens at {cluster.url}\n"
        f"  engine  {options.engine}, {len(nodes)} nodes: {shown}\n"
        f"  policy  {options.policy}\n"
        f"  state   {state}\n"
        f"In another terminal:\n{other}"
        "  cube run -f FILE     or  cube run IMAGE\n"
        "  cube status          http requests need the token in the state directory\n"
        f"Ctrl-C {end}.\n"
    )


def _what_stays(options: ClusterOptions) -> str:
    if options.engine == "simulated":
        return "stopped; simulated tasks end with it"
    return "stopped; what runs goes on, and is adopted at the next start"


def tell_events(url: str, token: str, after: int, begun: int) -> None:
    """Print what happens, a line each; up to `begun` the greeting has told that nodes joined."""
    from cube.client import Client, ClientError

    try:
        with Client(url, token) as client:
            for event in client.follow_events(after=after):
                if event["revision"] <= begun and event["kind"] in JOINING:
                    continue
                time = local_time(event["at"]).split(" ")[1][:8]
                click.echo(f"{time}  {event['kind']:<16}  {event['text']}")
    except ClientError:
        return  # the cluster stops, and says so elsewhere


@contextmanager
def ending_signals() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets; the second ends the process at once."""
    ended = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if ended.is_set():
            note("stopped at once")
            os._exit(ExitCode.INTERRUPTED)
        ended.set()

    before = {number: signal.signal(number, handle) for number in ENDING}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
