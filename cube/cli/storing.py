"""`cube store`: backups of the manager's state, on the machine where it lies.

No manager is asked: the files themselves are copied, checked and put back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cube.cli import connection
from cube.cli.exits import ExitCode, Failure
from cube.cli.hosting import cluster_failure
from cube.cli.printing import output_option, print_json
from cube.cli.text import say
from cube.state_dir import StateDir, StateDirError

if TYPE_CHECKING:
    from cube.store import Checked

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def store() -> None:
    """Back up, restore and check the manager's state, on its own machine."""


@store.command()
@click.argument("file", type=FILE)
@connection.state_dir_option
@output_option
def backup(file: Path, state_dir: Path, output: str) -> None:
    """Write everything that the manager needs to FILE; it may run meanwhile.

    The store, the token and the keys with which certificates are signed are in it: keep it as you
    keep those. What runs is not in it.
    """
    from cube.backup import back_up

    with _explained():
        made = back_up(StateDir(state_dir), file, time.time())
    if output == "json":
        print_json({"file": str(file), **asdict(made)})
    else:
        say(f"{file}: {_holds(made.store)}, {', '.join(made.files[1:]) or 'no keys'}")
        say("it holds secrets: whoever can read it can rule the cluster")


@store.command()
@click.argument("file", type=FILE)
@connection.state_dir_option
@output_option
def restore(file: Path, state_dir: Path, output: str) -> None:
    """Put a backup in the place of what is there, which is kept aside.

    The manager must be stopped. Containers that it does not know then are listed by `cube recover`;
    nothing that runs is touched.
    """
    from cube.backup import restore as put_back

    with _explained():
        done = put_back(StateDir(state_dir), file, time.time())
    aside = None if done.aside is None else str(done.aside)
    if output == "json":
        print_json({"state_dir": str(state_dir), "aside": aside, **asdict(done.backup)})
        return
    say(f"restored as of {done.backup.taken}: {_holds(done.backup.store)}")
    if aside is not None:
        say(f"what was there is in {aside}")


@store.command()
@click.argument("file", type=FILE, required=False)
@connection.state_dir_option
@output_option
def check(file: Path | None, state_dir: Path, output: str) -> None:
    """Read all of the store, or of FILE, and see that it is whole.

    FILE is a backup, or a store that lies elsewhere. The manager may run meanwhile.
    """
    from cube import store as stores
    from cube.backup import is_archive, look_into

    path = file or StateDir(state_dir).store_path
    with _explained():
        archive = path.is_file() and is_archive(path)
        found = look_into(path).store if archive else stores.check(path)
    if output == "json":
        print_json({"file": str(path), "whole": True, **asdict(found)})
    else:
        say(f"{path} is whole: {_holds(found)}")


def _holds(found: Checked) -> str:
    rows = found.rows
    counts = ", ".join(f"{rows.get(name, 0)} {name}" for name in ("jobs", "tasks", "events"))
    return f"cluster {found.cluster or 'unknown'}, form {found.form}, {counts}"


@contextmanager
def _explained() -> Iterator[Any]:
    """What goes wrong, as a failure with its remedy."""
    from cube.backup import BackupError
    from cube.store import StoreError, StoreLocked

    try:
        yield
    except BackupError as error:
        raise cluster_failure(error) from None
    except StateDirError as error:
        raise connection.state_failure(error) from None
    except StoreLocked as error:
        what, _, _ = str(error).partition("; ")
        raise Failure(what, remedy="stop the manager first", code=ExitCode.CONFLICT) from None
    except StoreError as error:
        what, _, remedy = str(error).rpartition("; ")
        code = ExitCode.NOT_FOUND if what.startswith("there is no store") else ExitCode.ERROR
        raise Failure(what or remedy, remedy=remedy if what else "", code=code) from None
