"""`cube registry ...`: with what nodes log in to image registries. The manager keeps it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cube.cli import connection, tables
from cube.cli.printing import output_option, print_json, print_table
from cube.cli.text import say
from cube.registries import HUB, registry_named
from cube.views import AnswerView

registry_argument = click.argument("registry", metavar="[HOST]", default=HUB)


@click.group()
def registry() -> None:
    """Have nodes log in to image registries."""


@registry.command()
@registry_argument
@click.option("-u", "--username", metavar="NAME", help="Asked for if it is not given.")
@click.option("--password-stdin", is_flag=True, help="Read the password, or token, from the input.")
@connection.state_dir_option
@output_option
def login(
    registry: str, username: str | None, password_stdin: bool, state_dir: Path, output: str
) -> None:
    """Have all nodes log in to HOST (default: docker.io) when they pull.

    The credential is tried by the next node that pulls; it comes before what the node's own
    Docker config has. The password is asked for on a terminal; elsewhere it comes from the input:

        cube registry login registry.example -u ci --password-stdin < token
    """
    name = _named(registry)
    if not password_stdin and not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on: use -u NAME --password-stdin")
    if password_stdin and username is None:
        raise click.UsageError("--password-stdin takes the whole input: name the user with -u NAME")
    user = username or click.prompt("Username", err=True)
    if password_stdin:
        password = sys.stdin.read().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, err=True)
    if not password:
        raise click.UsageError("the password is empty")
    with connection.connected(state_dir) as client:
        _tell(client.log_in(name, user, password), output)


@registry.command()
@registry_argument
@connection.state_dir_option
@output_option
def logout(registry: str, state_dir: Path, output: str) -> None:
    """Take the credential for HOST back (default: docker.io).

    Images that nodes have pulled with it stay there.
    """
    name = _named(registry)
    with connection.connected(state_dir) as client:
        _tell(client.log_out(name), output)


@registry.command()
@connection.state_dir_option
@output_option
def ls(state_dir: Path, output: str) -> None:
    """List the registries for which there is a credential. Passwords are never shown."""
    with connection.connected(state_dir) as client:
        found = client.registries()
    if output == "json":
        print_json(found)
    else:
        print_table(tables.REGISTRY_COLUMNS, tables.registry_rows(found))


def _named(text: str) -> str:
    try:
        return registry_named(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _tell(answer: AnswerView, output: str) -> None:
    if output == "json":
        print_json(answer)
    else:
        say(answer["text"])
