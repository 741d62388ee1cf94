"""`cube doctor`: is this machine fit to run Cube, and if not, what is to be done.

Each check looks at one thing, changes nothing, and answers with ok, warn or fail.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import click

from cube.cli import connection
from cube.cli.exits import ExitCode, Failure
from cube.cli.printing import output_option, print_json, print_table
from cube.state_dir import default_worker_dir

OLDEST_PYTHON = (3, 11)
OLDEST_ENGINE = (20, 10)
LITTLE_DISK_MIB, NO_DISK_MIB = 2048, 200
CGROUPS = Path("/sys/fs/cgroup")
CLOCK_SKEW_SECONDS = 5.0  # answers tell whole seconds
EARLIEST_YEAR = 2024  # a clock before this was never set


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check."""

    name: str
    outcome: Literal["ok", "warn", "fail"]
    text: str
    remedy: str = ""


def check_python() -> Check:
    """The interpreter's version."""
    found = platform.python_version()
    if tuple(map(int, platform.python_version_tuple()[:2])) < OLDEST_PYTHON:
        return Check("python", "fail", found, "Cube needs Python 3.11 or newer")
    return Check("python", "ok", found)


def check_docker() -> Check:
    """Does the engine answer, may we use it, and is it new enough?"""
    from cube.engine import EngineUnavailable
    from cube.engine.docker.connect import DEFAULT_URL, connect

    try:
        clients = connect(os.environ.get("DOCKER_HOST") or DEFAULT_URL)
    except EngineUnavailable as error:
        what, _, remedy = str(error).partition(": ")
        return Check("docker", "warn", what, remedy or "`cube dev --engine process` needs none")
    try:
        about = clients[0].info()
    finally:
        for client in clients:
            client.close()
    return judge_engine(str(about["ServerVersion"]), str(about.get("SystemTime", "")))


def judge_engine(version: str, its_time: str) -> Check:
    """Is an engine of this version, at this time (RFC 3339), one that we can use?"""
    numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    if tuple(numbers) < OLDEST_ENGINE:
        return Check(
            "docker", "warn", f"version {version} is untested", "upgrade to 20.10 or newer"
        )
    skew = _skew_seconds(its_time)
    if abs(skew) > CLOCK_SKEW_SECONDS:
        text = f"version {version}; its clock differs by {skew:.0f} s"
        return Check("docker", "warn", text, "set both clocks from one time server")
    return Check("docker", "ok", f"version {version}")


def _skew_seconds(its_time: str) -> float:
    """How far an RFC 3339 time of just now is from this machine's clock."""
    try:
        return datetime.fromisoformat(its_time).timestamp() - time.time()
    except ValueError:
        return 0.0


def check_cgroups() -> Check:
    """Can the kernel enforce limits?"""
    if (CGROUPS / "cgroup.controllers").exists():
        return Check("cgroups", "ok", "version 2")
    if (CGROUPS / "memory").is_dir() and (CGROUPS / "cpu").exists():
        return Check("cgroups", "ok", "version 1")
    remedy = "mount /sys/fs/cgroup; until then limits are not enforced"
    return Check("cgroups", "warn", "none are mounted", remedy)


def check_disk(state_dir: Path) -> Check:
    """Room for the store and for containers."""
    place = next(path for path in (state_dir, *state_dir.parents) if path.exists())
    free = shutil.disk_usage(place).free >> 20
    text = f"{free / 1024:.1f} GiB free at {place}"
    if free < NO_DISK_MIB:
        return Check("disk", "fail", text, "free some space, or give another --state-dir")
    if free < LITTLE_DISK_MIB:
        return Check("disk", "warn", text, "images and logs need more; free some space")
    return Check("disk", "ok", text)


def check_state_dir(state_dir: Path) -> Check:
    """May we write there?"""
    place = next(path for path in (state_dir, *state_dir.parents) if path.exists())
    if not place.is_dir():
        remedy = "remove that file, or give another --state-dir"
        return Check("state", "fail", f"{place} is not a directory", remedy)
    if not os.access(place, os.W_OK | os.X_OK):
        remedy = "change its permissions, or give another --state-dir"
        return Check("state", "fail", f"{place} cannot be written", remedy)
    new = "" if state_dir.exists() else " (made at the first start)"
    return Check("state", "ok", f"{state_dir}{new}")


def check_manager(state_dir: Path) -> Check:
    """Does the manager of this state directory answer to its token?"""
    manager = connection.look_for_manager(state_dir)
    if manager is None:
        return Check("manager", "ok", "none runs here; `cube dev` starts one")
    failure = connection.try_manager(manager)
    if failure is None:
        return Check("manager", "ok", f"answers at {manager.address}")
    if failure.exit_code == ExitCode.NO_MANAGER:
        text = f"{manager.address} does not answer, though {state_dir} names it"
        return Check("manager", "warn", text, "it ended early; start it again with `cube dev`")
    return Check("manager", "fail", failure.message, failure.remedy)


def check_lock(state_dir: Path) -> Check:
    """Is the state directory held by a process that is alive?"""
    holder = connection.lock_holder(state_dir)
    if holder is None:
        return Check("lock", "ok", "free")
    return Check("lock", "ok", f"held by process {holder}")


def check_port(listen: str) -> Check:
    """Can anything listen there?"""
    from cube.serving import Listen, ListenError

    try:
        place = Listen.parse(listen)
        with place.bind() as bound:
            host, port = bound.getsockname()[:2]
    except ListenError as error:
        what, _, remedy = str(error).partition("\n")
        return Check("port", "fail", what, remedy)
    text = f"{host}:{port} is free" if place.port else f"{host} has free ports"
    return Check("port", "ok", text)


def check_clock() -> Check:
    """Is the clock set, and does it go on while the machine sleeps?"""
    now = datetime.now().astimezone()
    if now.year < EARLIEST_YEAR:
        remedy = "set the clock, as with a time server"
        return Check("clock", "warn", f"it shows {now.isoformat(' ', 'seconds')}", remedy)
    if not hasattr(time, "CLOCK_BOOTTIME"):
        remedy = "leases do not count the time that this machine sleeps"
        return Check("clock", "warn", "this system has no CLOCK_BOOTTIME", remedy)
    return Check("clock", "ok", now.isoformat(" ", "seconds"))


def check_node(worker_dir: Path, join: str, token: str, name: str) -> Check:
    """Is this machine still the node that it was; or, with a token, would it be let in?"""
    if not (join or (worker_dir / "node.pem").exists()):
        return Check("node", "ok", "this machine is no node; --join and --token ask whether it may")
    from cube.hosting.joining import ask, explained
    from cube.hosting.worker_dir import WorkerDir

    try:
        skew = ask(WorkerDir(worker_dir), join, token, name)
    except Exception as error:
        known = explained(error)
        if known is None:
            raise
        what, _, remedy = str(known).partition("\n")
        return Check("node", "fail", what, remedy)
    if abs(skew) > CLOCK_SKEW_SECONDS:
        side = "ahead of" if skew > 0 else "behind"
        text = f"the clock is {abs(skew):.0f} s {side} the manager's"
        return Check("node", "warn", text, "set both by a time server")
    return Check("node", "ok", "would be let in" if token else "is one, and the manager knows it")


def examine(state_dir: Path, listen: str, node: Callable[[], Check]) -> list[Check]:
    """All checks, in order. A check that breaks is a finding, too."""
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("python", check_python),
        ("docker", check_docker),
        ("cgroups", check_cgroups),
        ("disk", lambda: check_disk(state_dir)),
        ("state", lambda: check_state_dir(state_dir)),
        ("lock", lambda: check_lock(state_dir)),
        ("port", lambda: check_port(listen)),
        ("manager", lambda: check_manager(state_dir)),
        ("clock", check_clock),
        ("node", node),
    ]
    return [_guarded(name, check) for name, check in checks]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Failure as failure:
        return Check(name, "fail", failure.message, failure.remedy)
    except OSError as error:
        return Check(name, "fail", f"cannot be checked: {error.strerror}")


@click.command()
@connection.state_dir_option
@click.option(
    "--listen",
    default="127.0.0.1:0",
    metavar="HOST:PORT",
    help="Can a manager, or a worker, listen there?",
)
@click.option("--join", metavar="URL", default="", help="Would this manager let us in?")
@click.option("--token", metavar="TOKEN", default="", envvar="CUBE_JOIN_TOKEN")
@click.option("--name", metavar="NODE", default="", help="As which node.")
@click.option(
    "--worker-dir",
    type=click.Path(path_type=Path),
    envvar="CUBE_WORKER_DIR",
    default=default_worker_dir,
    show_default="~/.local/state/cube-worker",
    help="The node's directory.",
)
@output_option
def doctor(
    state_dir: Path,
    listen: str,
    join: str,
    token: str,
    name: str,
    worker_dir: Path,
    output: str,
) -> int:
    """Check this machine: Docker, disk, ports, state, manager, clock, node."""
    checks = examine(state_dir, listen, lambda: check_node(worker_dir, join, token, name))
    if output == "json":
        print_json(
            [
                {"check": c.name, "outcome": c.outcome, "text": c.text, "remedy": c.remedy}
                for c in checks
            ]
        )
    else:
        rows = [(c.outcome, c.name, c.text, c.remedy) for c in checks]
        print_table(("", "check", "found", "to do"), rows)
    return ExitCode.ERROR if any(c.outcome == "fail" for c in checks) else ExitCode.OK
