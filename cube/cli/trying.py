"""`cube snapshot`, and what a change would do before it is made: `--plan`.

The answer comes from Cube's simulator, a program of its own that is installed beside this one: it
gets the snapshot on its stdin, so nothing here depends on it, and the manager computes nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cube.cli import connection
from cube.cli.exits import ExitCode

if TYPE_CHECKING:
    from cube.client import Client

plan_option = click.option(
    "--plan", "planned", is_flag=True, help="Change nothing; show what would happen."
)


@click.command()
@connection.state_dir_option
def snapshot(state_dir: Path) -> None:
    """Print the cluster's state, to try changes on it.

    `cube snapshot > F`, then `python -m sim what-if F --drain node-2`. Environments, commands and
    whatever else may hold a secret are left out.
    """
    with connection.connected(state_dir) as client:
        found = client.snapshot()
    click.echo(json.dumps(found, separators=(",", ":")))


def show_plan(client: Client, changes: Sequence[str], output: str) -> int:
    """Print what `changes`, options of `what-if`, would do; returns the exit code."""
    state = json.dumps(client.snapshot()).encode()
    # -P: a folder `sim` of the user's is not meant; the simulator itself looks for policies here.
    command = [sys.executable, "-P", "-m", "sim", "what-if", "-", "--output", output, *changes]
    ended = subprocess.run(command, input=state, check=False)
    return ended.returncode if ended.returncode >= 0 else ExitCode.ERROR
