"""What `cube manager install` and `cube worker install` have in common, and their ends.

Turns what was said on the command line into a unit. systemd itself is `cube.hosting.units`'.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cube.cli.exits import ExitCode, Failure, note
from cube.state_dir import StateDir

if TYPE_CHECKING:
    from cube.hosting.units import Kind, UnitError

TRY_SECONDS = 0.2  # between two looks at a manager that starts
STARTED_SECONDS = 20.0
_GIVEN = "cube.given"
_WRITTEN = click.core.ParameterSource.COMMANDLINE
F = TypeVar("F", bound=Callable[..., Any])

print_option = click.option(
    "--print", "show", is_flag=True, help="Print the unit, and install nothing."
)


class Installing(click.Command):
    """Remembers how its options were written, for the unit."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As any command."""
        ctx.meta[_GIVEN] = list(args)
        return super().parse_args(ctx, args)


def with_options(options: Sequence[Callable[[F], F]]) -> Callable[[F], F]:
    """Several options at once, in their order."""

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def is_command(context: click.Context) -> bool:
    """Is the group itself to run? Its options mean nothing to what is below it.

    Raises:
        click.UsageError: it was given some nevertheless.
    """
    if context.invoked_subcommand is None:
        return True
    given = [p for p in context.params if context.get_parameter_source(p) is _WRITTEN]
    if given:
        raise click.UsageError(f"write options after {context.invoked_subcommand}")
    return False


def words(context: click.Context, *without: str, then: Sequence[str]) -> list[str]:
    """The options as they were written, without some that take a value, then others."""
    found: list[str] = []
    given = iter(context.meta[_GIVEN])
    for word in given:
        name, equals, _ = word.partition("=")
        if name in without:
            if not equals:
                next(given, None)
        elif word != "--print":
            found.append(word)
    return [*found, *then]


def value(words: Sequence[str], option: str, default: str = "") -> str:
    """What an option was given in a unit."""
    return next((words[i + 1] for i, word in enumerate(words) if word == option), default)


def install(kind: Kind, words: Sequence[str], show: bool) -> bool:
    """Install the unit, or print it; says whether it runs now.

    Raises:
        Failure: it cannot be installed.
    """
    from cube.hosting import units

    text = units.unit_text(kind, words)
    if show:
        click.echo(text, nl=False)
        return False
    check()
    try:
        units.install(kind, text)
    except units.UnitError as error:
        raise _failure(error) from None
    note(f"{units.unit_name(kind)} runs, and starts with the machine")
    return True


def check() -> None:
    """See that units can be installed.

    Raises:
        Failure: they cannot.
    """
    from cube.hosting import units

    try:
        units.check_systemd()
    except units.UnitError as error:
        raise _failure(error) from None


@contextmanager
def paused(kind: Kind) -> Iterator[None]:
    """Within, the unit does not run if there is one; it does again if something fails.

    Raises:
        Failure: it cannot be stopped.
    """
    from cube.hosting import units

    try:
        with units.paused(kind):
            yield
    except units.UnitError as error:
        raise _failure(error) from None


def uninstall(kind: Kind) -> list[str]:
    """Stop and remove the unit; says what its command was given.

    Raises:
        Failure: there is none, or it cannot be removed.
    """
    from cube.hosting import units

    check()
    try:
        return units.uninstall(kind)
    except units.UnitError as error:
        raise _failure(error) from None


def await_manager(state: Path) -> str:
    """Wait until the manager of that directory answers; says where.

    Raises:
        Failure: it does not.
    """
    from cube.cli.connection import look_for_manager, try_manager

    end = time.monotonic() + STARTED_SECONDS
    while time.monotonic() < end:
        if StateDir(state).address() is not None:
            found = look_for_manager(state)
            if found is not None and try_manager(found) is None:
                return found.address
        time.sleep(TRY_SECONDS)
    raise Failure(
        "the manager does not start",
        remedy="see why with: journalctl -u cube-manager",
        code=ExitCode.NO_MANAGER,
    )


def _failure(error: UnitError) -> Failure:
    what, _, remedy = str(error).partition("\n")
    return Failure(what.rstrip("."), remedy=remedy, code=error.exit_code)
