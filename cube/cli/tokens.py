"""`cube token ...`: who may use the cluster. The manager keeps digests; secrets are shown once."""

from __future__ import annotations

from pathlib import Path

import click

from cube.cli import connection, tables, trusting
from cube.cli.exits import note
from cube.cli.printing import output_option, print_json, print_table
from cube.cli.quantities import DURATION
from cube.cli.text import say

JOIN_SECONDS = 86_400.0
name_argument = click.argument("name", metavar="NAME")


@click.group()
def token() -> None:
    """Let users in: make, list and take back their tokens."""


@token.command()
@name_argument
@click.option("--read-only", is_flag=True, help="It may look, and not change anything.")
@click.option("--join", is_flag=True, help="It lets machines join as nodes, and nothing else.")
@click.option(
    "--expires",
    type=DURATION,
    metavar="TIME",
    help="After so long, as in 8h. Default: never; with --join, 24h.",
)
@connection.state_dir_option
@output_option
def create(
    name: str,
    read_only: bool,
    join: bool,
    expires: float | None,
    state_dir: Path,
    output: str,
) -> None:
    """Make a token and print it: it cannot be shown again.

    What its user has to set, or what a machine that joins has to run, is told beside it.
    """
    if join and read_only:
        raise click.UsageError("--join and --read-only exclude one another")
    scope = "join" if join else "read" if read_only else "full"
    if join and expires is None:
        expires = JOIN_SECONDS
    with connection.connected(state_dir) as client:
        made = client.create_token(name, scope, expires)
    if output == "json":
        print_json(made)
        return
    note(f"{made['text']}; it is not shown again:")
    say(made["token"])
    if join:
        note(f"On the machine: cube worker --join {client.address} --token TOKEN")
    else:
        note(f"Its user sets CUBE_TOKEN to it, and:\n  export CUBE_ADDR={client.address}")
        if client.authority:
            note(f"  export CUBE_CA={trusting.fingerprint(client.authority)}")


@token.command()
@connection.state_dir_option
@output_option
def ls(state_dir: Path, output: str) -> None:
    """List the tokens that were made.

    The one in the state directory is not among them: whoever may read that may do everything.
    """
    with connection.connected(state_dir) as client:
        found = client.tokens()
    if output == "json":
        print_json(found)
    else:
        print_table(tables.TOKEN_COLUMNS, tables.token_rows(found))


@token.command()
@name_argument
@connection.state_dir_option
@output_option
def rm(name: str, state_dir: Path, output: str) -> None:
    """Take a token back: from now on it lets nobody in."""
    with connection.connected(state_dir) as client:
        answer = client.remove_token(name)
    if output == "json":
        print_json(answer)
    else:
        say(answer["text"])
