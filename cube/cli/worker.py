"""`cube worker`: a machine that runs tasks for a manager, here or as a systemd unit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cube import __version__
from cube.cli import units
from cube.cli.ending import ending_signals
from cube.cli.exits import note
from cube.cli.hosting import (
    Teller,
    cluster_failure,
    log_format_option,
    read_gpus,
)
from cube.cli.quantities import RESERVED
from cube.cli.text import say
from cube.logs import LogFormat, logging_to
from cube.state_dir import default_worker_dir

if TYPE_CHECKING:
    from cube.hosting.worker import WorkerPlace

OPTIONS = (
    click.option("--join", metavar="URL", default="", help="The manager: https://HOST:PORT."),
    click.option(
        "--token",
        metavar="TOKEN",
        default="",
        envvar="CUBE_JOIN_TOKEN",
        help="A join token, once. Also read from CUBE_JOIN_TOKEN.",
    ),
    click.option(
        "--name",
        metavar="NODE",
        default="",
        help="The node's name. Default: that of the machine.",
    ),
    click.option(
        "--label", "labels", multiple=True, metavar="K=V", help="For placement; may be repeated."
    ),
    click.option("--datacenter", default="dc1", show_default=True, metavar="DC"),
    click.option(
        "--engine",
        type=click.Choice(["docker", "process", "simulated"]),
        help="What starts and stops tasks. Default: docker; later, what it was at the last start.",
    ),
    click.option(
        "--docker-host",
        metavar="URL",
        envvar="DOCKER_HOST",
        help="As in unix:///var/run/docker.sock.",
    ),
    click.option(
        "--listen",
        metavar="HOST:PORT",
        help="Where the manager reaches it. Default: every address, port 7462; only this machine"
        " if the manager is here too.",
    ),
    click.option(
        "--advertise",
        metavar="HOST",
        default="",
        help="The name or address that the manager uses for it. Default: found out.",
    ),
    click.option(
        "--reserve",
        type=RESERVED,
        default="",
        metavar="LIST",
        help="What tasks may not have. Default: cpu=0.25,memory=512M,disk=512M.",
    ),
    click.option("--gpus", metavar="LIST", help="As in 2xA100,T4; found by itself if not given."),
    click.option(
        "--state-dir",
        type=click.Path(path_type=Path),
        envvar="CUBE_WORKER_DIR",
        default=default_worker_dir,
        show_default="~/.local/state/cube-worker",
        help="The node's directory: identity, engine.",
    ),
    log_format_option,
)


@click.group(invoke_without_command=True)
@units.with_options(OPTIONS)
@click.pass_context
def worker(context: click.Context, /, **chosen: Any) -> None:
    """Run tasks on this machine for a manager, until a signal ends it.

    A machine joins once, with --join and --token; afterwards neither is needed. Containers outlive
    the worker and are adopted when it starts again. As a systemd unit it is run by
    `cube worker install`.
    """
    if units.is_command(context):
        _run(_place(**chosen), chosen["log_format"])


@worker.command(cls=units.Installing)
@units.with_options(OPTIONS)
@units.print_option
@click.pass_context
def install(context: click.Context, /, show: bool, **chosen: Any) -> None:
    """Join, and have systemd run the worker, now and after each boot.

    Options are as without `install`; the token is used now, and is not in the unit.
    """
    from cube.hosting.failures import ClusterError
    from cube.hosting.worker import WorkerHost

    place = _place(**chosen)
    then = ["--state-dir", str(place.state_dir)]
    if place.docker_url:
        then += ["--docker-host", place.docker_url]
    words = units.words(context, "--join", "--token", "--state-dir", "--docker-host", then=then)
    if not show:
        units.check()
        host = WorkerHost(place)
        try:
            with units.paused("worker"):
                host.join()
        except ClusterError as error:
            raise cluster_failure(error) from None
        note(f"this machine is the node {host.node}")
    units.install("worker", words, show)


@worker.command()
@click.option(
    "--purge",
    is_flag=True,
    help="Remove the cluster's containers, networks and volumes, and the node's directory too.",
)
def uninstall(purge: bool) -> None:
    """Stop and remove the systemd unit, and say what remains.

    What runs goes on, unless --purge. Only what carries this cluster's label is removed.
    """
    from cube.cli.remains import WorkerRemains
    from cube.hosting.worker_dir import WorkerDir

    words = units.uninstall("worker")
    path = Path(units.value(words, "--state-dir"))
    remains = WorkerRemains.of(
        path,
        units.value(words, "--engine") or WorkerDir(path).kind(),
        units.value(words, "--docker-host") or None,
    )
    if purge:
        remains.remove()
        say(f"removed, with all that the cluster had here; forget it: {remains.forget}")
    else:
        say(f"removed; there remain {remains.shown()}")
        say("cube worker install takes them up again; --purge would have removed them")


def _place(**chosen: Any) -> WorkerPlace:
    """What the options say.

    Raises:
        Failure: they cannot be.
    """
    from cube.engine.capacity import Reserve
    from cube.hosting.worker import PORT, WorkerPlace
    from cube.serving import Listen, ListenError

    try:
        return WorkerPlace(
            chosen["state_dir"].absolute(),
            chosen["join"],
            chosen["token"],
            chosen["name"],
            _read_labels(chosen["labels"]),
            chosen["datacenter"],
            chosen["engine"],
            chosen["docker_host"],
            Listen.parse(chosen["listen"], PORT) if chosen["listen"] else None,
            chosen["advertise"],
            Reserve(*chosen["reserve"]),
            None if chosen["gpus"] is None else read_gpus(chosen["gpus"]),
        )
    except ListenError as error:
        raise cluster_failure(error) from None


def _run(place: WorkerPlace, form: LogFormat) -> None:
    from cube.hosting.failures import ClusterError
    from cube.hosting.worker import WorkerHost

    teller = Teller(form)
    with logging_to(sys.stderr, form), ending_signals() as ending:
        host = WorkerHost(place)
        try:
            host.start()
        except ClusterError as error:
            raise cluster_failure(error) from None
        if host.warning:
            teller.note(f"warning: {host.warning}")
        text = f"Cube {__version__} worker {host.node} serves its manager at {host.address}"
        teller.tell(text, text, node=host.node, address=host.address)
        ending.wait()
        host.stop()
        teller.note("stopped; what runs goes on, and is adopted at the next start")


def _read_labels(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for text in texts:
        key, equals, given = text.partition("=")
        if not key or not equals:
            raise click.UsageError(f"--label: {text!r} is not KEY=VALUE")
        found[key] = given
    return tuple(found.items())
