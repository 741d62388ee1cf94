"""`cube dev`: a whole cluster in one process, for as long as the terminal is open."""

from __future__ import annotations

import os
import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from cube import __version__
from cube.cli import connection
from cube.cli.ending import Ending, ending_signals
from cube.cli.exits import Failure, note
from cube.cli.printing import local_time
from cube.cli.text import say
from cube.logs import FORMATS, TOLD, LogFormat, logging_to
from cube.state_dir import default_state_dir

if TYPE_CHECKING:
    from cube.cluster import Cluster, ClusterOptions
    from cube.hosting.failures import ClusterError

POLICIES = (
    "epvm, epvm-paper, epvm-book, round-robin, greedy, best-fit, worst-fit, first-fit, dot-product,"
    " hybrid, fgd, nomad-binpack, least-allocated, most-allocated, two-choices, random"
)
JOINING = ("node.joined", "node.alive")
log_format_option = click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default="text",
    envvar="CUBE_LOG_FORMAT",
    show_default=True,
    help="How to log, on stderr; json has a JSON object per line, and nothing is on stdout. Also"
    " read from CUBE_LOG_FORMAT.",
)
EngineName = Literal["docker", "process", "simulated"]


class Teller:
    """What a long-running command tells people: in words, or, if it logs JSON, in its log."""

    def __init__(self, form: LogFormat) -> None:
        self.in_words = form == "text"

    def note(self, text: str, **fields: Any) -> None:
        """How it goes, on stderr."""
        if self.in_words:
            note(text)
        else:
            TOLD.info("%s", text.strip(), extra=fields)

    def tell(self, words: str, text: str, **fields: Any) -> None:
        """What people read on stdout as `words`, in a log as `text`."""
        if self.in_words:
            say(words)
            sys.stdout.flush()
        else:
            TOLD.info("%s", text, extra=fields)


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
@log_format_option
def dev(
    workers: int,
    engine: EngineName,
    policy: str,
    state_dir: Path,
    listen: str,
    gpus: str | None,
    remove: bool,
    record: Path | None,
    log_format: LogFormat,
) -> None:
    """Run a whole cluster here, until Ctrl-C.

    Containers outlive it and are adopted at the next start, unless --rm.
    """
    from cube.cluster import Cluster, ClusterOptions
    from cube.hosting.failures import ClusterError
    from cube.serving import Listen, ListenError

    sys.path.append(str(Path.cwd()))  # where a user's own policy may lie
    with logging_to(sys.stderr, log_format), ending_signals() as ending:
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
            _serve(cluster, options, remove, ending, Teller(log_format))
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


def _serve(
    cluster: Cluster,
    options: ClusterOptions,
    remove: bool,
    ending: Ending,
    teller: Teller,
) -> None:
    """Tell where it is and what happens, until a signal; then stop in good order."""
    from cube.client import Client

    with Client(cluster.url, cluster.token) as client:
        begun = client.cluster()["revision"]  # before anybody is told where to send jobs
    url = cluster.url
    teller.tell(_greeting(cluster, options, remove), f"listens at {url}", url=url)
    follower = threading.Thread(
        target=tell_events,
        args=(url, cluster.token, cluster.revision, begun, teller),
        daemon=True,
    )
    follower.start()
    ending.wait()
    stay = "" if remove else " (containers stay)"
    teller.note(f"\nstopping; once more to stop at once{stay}")
    cluster.stop(rm=remove, say=teller.note)
    follower.join(timeout=5)
    teller.note("stopped" if remove else _what_stays(options))


def _greeting(cluster: Cluster, options: ClusterOptions, remove: bool) -> str:
    nodes = cluster.nodes
    shown = ", ".join(nodes) if len(nodes) <= 4 else f"{nodes[0]} to {nodes[-1]}"
    state = cluster.state.path
    usual = options.state_dir == default_state_dir()
    other = "" if usual else f"  export CUBE_STATE_DIR={state}\n"
    end = "removes everything" if remove else "stops it; containers stay"
    return (
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


def tell_events(url: str, token: str, after: int, begun: int, teller: Teller) -> None:
    """Tell what happens, a line each; up to `begun` the greeting has told that nodes joined."""
    from cube.client import Client, ClientError

    try:
        with Client(url, token) as client:
            for event in client.follow_events(after=after):
                if event["revision"] <= begun and event["kind"] in JOINING:
                    continue
                time = local_time(event["at"]).split(" ")[1][:8]
                words = f"{time}  {event['kind']:<16}  {event['text']}"
                told = {key: event[key] for key in ("kind", "job", "task", "node") if event[key]}
                teller.tell(words, event["text"], **told)
    except ClientError:
        return  # the cluster stops, and says so elsewhere
