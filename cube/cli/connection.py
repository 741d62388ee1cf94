"""Finds the manager and talks to it; turns what goes wrong on the way into failures for users.

A manager is found through CUBE_ADDR and CUBE_TOKEN, else through the state directory's files.
Never interprets what the manager says.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cube.cli import trusting
from cube.cli.exits import ExitCode, Failure
from cube.state_dir import StateDir, StateDirError, default_state_dir

if TYPE_CHECKING:
    from cube.client import Client, ClientError

DENIED_REMEDY = (
    "CUBE_TOKEN must hold a token of `cube token create`, or what the file `token` in the manager's"
    " state directory holds"
)
_LOOPBACK = ("127.", "localhost", "[::1]")  # nothing else is served without TLS

state_dir_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    envvar="CUBE_STATE_DIR",
    default=default_state_dir,
    show_default="~/.local/state/cube",
    help="The cluster's directory: store, token, address.",
)


@dataclass(frozen=True, slots=True)
class Manager:
    """Where a manager listens, and what it wants to hear."""

    address: str
    token: str
    authority: str = ""  # the certificate that vouches for it, where there is TLS


def look_for_manager(state_dir: Path) -> Manager | None:
    """The manager that the environment or the state directory names, if any does.

    Raises:
        Failure: its token cannot be read.
    """
    state = StateDir(state_dir)
    address = os.environ.get("CUBE_ADDR") or state.address()
    if address is None:
        return None
    try:
        token = os.environ.get("CUBE_TOKEN") or state.token() or ""
    except StateDirError as error:
        raise state_failure(error, ExitCode.NOT_ALLOWED) from None
    if "//" not in address:
        plain = "CUBE_CA" not in os.environ and address.startswith(_LOOPBACK)
        address = f"http{'' if plain else 's'}://{address}"
    if not (token.isascii() and token.isprintable()):
        what = "the token has characters that no token has"
        raise Failure(what, remedy=DENIED_REMEDY, code=ExitCode.NOT_ALLOWED)
    return Manager(address, token, trusting.authority(address, state_dir))


@contextmanager
def connected(state_dir: Path) -> Iterator[Client]:
    """A client of the manager; what it raises inside becomes a `Failure`.

    Raises:
        Failure: there is no manager, or a call failed.
    """
    manager = look_for_manager(state_dir)
    if manager is None:
        raise Failure(
            "no manager runs here",
            where=str(StateDir(state_dir).address_path),
            remedy="start one with `cube dev`, or name it with CUBE_ADDR and CUBE_TOKEN",
            code=ExitCode.NO_MANAGER,
        )
    from cube.client import Client, ClientError

    try:
        with Client(manager.address, manager.token, manager.authority) as client:
            yield client
    except ClientError as error:
        raise client_failure(error) from None


def client_failure(error: ClientError) -> Failure:
    """What a failed call means to the user; the remedy knows where the manager was named."""
    remedy = error.remedy
    denied = error.exit_code == ExitCode.NOT_ALLOWED and not error.knows_token
    if denied and "CUBE_TOKEN" in os.environ:
        remedy = DENIED_REMEDY
    if error.exit_code == ExitCode.NO_MANAGER and "CUBE_ADDR" in os.environ:
        remedy = trusting.ADDRESS_REMEDY
    return Failure(str(error).rstrip("."), remedy=remedy, code=error.exit_code)


def state_failure(error: StateDirError, code: int = ExitCode.ERROR) -> Failure:
    """A state directory that cannot be used: its text has the remedy on its second line."""
    what, _, remedy = str(error).partition("\n")
    return Failure(what.rstrip("."), remedy=remedy, code=code)


def complete_target(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of jobs, and of services and tasks once a slash is there, for the shell."""
    try:
        with connected(context.params.get("state_dir") or default_state_dir()) as client:
            tasks = [task["id"] for task in client.tasks()]
    except Failure:
        return []
    depth = incomplete.count("/") + 1
    names = {"/".join(task.split("/")[:depth]) for task in tasks}
    return sorted(name for name in names if name.startswith(incomplete))


def complete_task(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of whole tasks, for the shell."""
    try:
        with connected(context.params.get("state_dir") or default_state_dir()) as client:
            return [task["id"] for task in client.tasks() if task["id"].startswith(incomplete)]
    except Failure:
        return []


def complete_node(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of nodes, for the shell."""
    try:
        with connected(context.params.get("state_dir") or default_state_dir()) as client:
            return [n["name"] for n in client.nodes() if n["name"].startswith(incomplete)]
    except Failure:
        return []


# --- for `cube doctor` -------------------------------------------------------------------------


def try_manager(manager: Manager) -> Failure | None:
    """Does it answer to its token? None: it does."""
    from cube.client import Client, ClientError

    try:
        with Client(manager.address, manager.token, manager.authority) as client:
            client.cluster()
    except ClientError as error:
        return client_failure(error)
    return None


def lock_holder(state_dir: Path) -> int | None:
    """The process that works on this state directory; None: nobody does."""
    path = StateDir(state_dir).store_path.with_suffix(".lock")
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            content = file.read(32).strip()
            return int(content) if content.isdigit() else 0
    return None
