"""`cube manager` and `cube worker`: the processes of a cluster on several machines.

Each runs until a signal ends it, and says on stderr what a log should keep.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from cube import __version__
from cube.cli import connection
from cube.cli.exits import note
from cube.cli.hosting import POLICIES, EngineName, cluster_failure, ending_signals, read_gpus
from cube.cli.quantities import RESERVED
from cube.state_dir import default_worker_dir

LISTEN = "127.0.0.1:7460"


@click.command()
@click.option(
    "--listen",
    default=LISTEN,
    show_default=True,
    metavar="HOST:PORT",
    help="Where users and joining machines reach it; 0.0.0.0 is every address.",
)
@click.option(
    "--listen-nodes",
    metavar="HOST:PORT",
    help="Where nodes speak to it. Default: the same address, the next port.",
)
@click.option(
    "--advertise",
    metavar="HOST",
    default="",
    help="The name or address that machines use for it. Default: found out.",
)
@connection.state_dir_option
@click.option(
    "--policy",
    default="epvm",
    show_default=True,
    metavar="P",
    help=f"{POLICIES}; NAME(parameter=value); or package.module:name.",
)
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Log every message and its effects to this file.",
)
def manager(
    listen: str,
    listen_nodes: str | None,
    advertise: str,
    state_dir: Path,
    policy: str,
    record: Path | None,
) -> None:
    """Run the manager of a cluster, until a signal ends it.

    Machines join with `cube worker`; tasks go on while the manager is away.
    """
    from cube.hosting.failures import ClusterError
    from cube.hosting.manager import PORT, ManagerHost, ManagerPlace
    from cube.serving import Listen, ListenError

    _log()
    sys.path.append(str(Path.cwd()))  # where a user's own policy may lie
    with ending_signals() as ended:
        try:
            place = ManagerPlace(
                state_dir,
                Listen.parse(listen, PORT),
                Listen.parse(listen_nodes) if listen_nodes else None,
                advertise,
                policy,
                record,
            )
            host = ManagerHost(place)
            host.start()
        except (ClusterError, ListenError) as error:
            raise cluster_failure(error) from None
        _greet_manager(host.url, host.first_join, host.state.path)
        ended.wait()
        host.stop()
        note("stopped; nodes go on with what they run")


def _greet_manager(url: str, first_join: str, state: Path) -> None:
    click.echo(f"Cube {__version__} manager listens at {url}\n  state   {state}")
    if first_join:
        click.echo(
            "On each machine that is to run tasks, within 24 hours:\n"
            f"  cube worker --join {url} --token {first_join}"
        )
    else:
        click.echo("More machines join with the token of: cube token create NAME --join")
    sys.stdout.flush()


@click.command()
@click.option("--join", metavar="URL", default="", help="The manager: https://HOST:PORT.")
@click.option(
    "--token",
    metavar="TOKEN",
    default="",
    envvar="CUBE_JOIN_TOKEN",
    help="A join token, once. Also read from CUBE_JOIN_TOKEN.",
)
@click.option(
    "--name", metavar="NODE", default="", help="The node's name. Default: that of the machine."
)
@click.option(
    "--label", "labels", multiple=True, metavar="K=V", help="For placement; may be repeated."
)
@click.option("--datacenter", default="dc1", show_default=True, metavar="DC")
@click.option(
    "--engine",
    type=click.Choice(["docker", "process", "simulated"]),
    default="docker",
    show_default=True,
    help="What starts and stops tasks.",
)
@click.option(
    "--docker-host", metavar="URL", envvar="DOCKER_HOST", help="As in unix:///var/run/docker.sock."
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Where the manager reaches it. Default: every address, port 7462; only this machine if"
    " the manager is here too.",
)
@click.option(
    "--advertise",
    metavar="HOST",
    default="",
    help="The name or address that the manager uses for it. Default: found out.",
)
@click.option(
    "--reserve",
    type=RESERVED,
    default="",
    metavar="LIST",
    help="What tasks may not have. Default: cpu=0.25,memory=512M,disk=512M.",
)
@click.option("--gpus", metavar="LIST", help="As in 2xA100,T4; found by itself if not given.")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    envvar="CUBE_WORKER_DIR",
    default=default_worker_dir,
    show_default="~/.local/state/cube-worker",
    help="The node's directory: identity, engine.",
)
def worker(
    join: str,
    token: str,
    name: str,
    labels: tuple[str, ...],
    datacenter: str,
    engine: EngineName,
    docker_host: str | None,
    listen: str | None,
    advertise: str,
    reserve: tuple[int, int, int],
    gpus: str | None,
    state_dir: Path,
) -> None:
    """Run tasks on this machine for a manager, until a signal ends it.

    A machine joins once, with --join and --token; afterwards neither is needed. Containers outlive
    the worker and are adopted when it starts again.
    """
    from cube.engine.capacity import Reserve
    from cube.hosting.failures import ClusterError
    from cube.hosting.worker import PORT, WorkerHost, WorkerPlace
    from cube.serving import Listen, ListenError

    _log()
    with ending_signals() as ended:
        try:
            place = WorkerPlace(
                state_dir,
                join,
                token,
                name,
                _read_labels(labels),
                datacenter,
                engine,
                docker_host,
                Listen.parse(listen, PORT) if listen else None,
                advertise,
                Reserve(*reserve),
                None if gpus is None else read_gpus(gpus),
            )
            host = WorkerHost(place)
            host.start()
        except (ClusterError, ListenError) as error:
            raise cluster_failure(error) from None
        for text in host.warnings:
            note(f"warning: {text}")
        click.echo(f"Cube {__version__} worker {host.node} serves its manager at {host.address}")
        sys.stdout.flush()
        ended.wait()
        host.stop()
        note("stopped; what runs goes on, and is adopted at the next start")


def _read_labels(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.UsageError(f"--label: {text!r} is not KEY=VALUE")
        found[key] = value
    return tuple(found.items())


def _log() -> None:
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
