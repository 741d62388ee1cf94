"""`python -m cube.cli.reference > docs/cli.md`: the page, written from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc

import click

from cube.cli.exits import MEANING, ExitCode
from cube.cli.tree import cube

_LOCAL = (ExitCode.OK, ExitCode.ERROR, ExitCode.USAGE)
_CALLS = (*_LOCAL, ExitCode.NOT_ALLOWED, ExitCode.NO_MANAGER, ExitCode.INTERRUPTED)


def _with(*codes: ExitCode) -> tuple[ExitCode, ...]:
    """Those of every command that calls the manager, and these."""
    return tuple(sorted({*_CALLS, *codes}))


EXITS = {
    "dev": (*_LOCAL, ExitCode.CONFLICT, ExitCode.NOT_ALLOWED, ExitCode.INTERRUPTED),
    "manager": (*_LOCAL, ExitCode.CONFLICT, ExitCode.NOT_ALLOWED, ExitCode.INTERRUPTED),
    "worker": _with(ExitCode.CONFLICT),
    "manager install": _with(),
    "manager uninstall": (*_LOCAL, ExitCode.NOT_FOUND, ExitCode.NOT_ALLOWED),
    "worker install": _with(ExitCode.CONFLICT),
    "worker uninstall": (*_LOCAL, ExitCode.NOT_FOUND, ExitCode.NOT_ALLOWED),
    "demo": (*_LOCAL, ExitCode.UNHEALTHY, ExitCode.INTERRUPTED),
    "doctor": _LOCAL,
    "run": _with(ExitCode.UNPLACED, ExitCode.UNHEALTHY, ExitCode.CONFLICT),
    "scale": _with(ExitCode.UNPLACED, ExitCode.UNHEALTHY, ExitCode.NOT_FOUND, ExitCode.CONFLICT),
    "restart": _with(ExitCode.UNPLACED, ExitCode.UNHEALTHY, ExitCode.NOT_FOUND),
    "rollback": _with(ExitCode.UNPLACED, ExitCode.UNHEALTHY, ExitCode.NOT_FOUND),
    "wait": _with(ExitCode.UNPLACED, ExitCode.UNHEALTHY, ExitCode.NOT_FOUND),
    "exec": _with(ExitCode.NOT_FOUND, ExitCode.CONFLICT),
    "stop": _with(ExitCode.NOT_FOUND, ExitCode.UNHEALTHY),
    "rm": _with(ExitCode.NOT_FOUND, ExitCode.CONFLICT, ExitCode.UNHEALTHY),
    "status": _with(ExitCode.NOT_FOUND),
    "nodes": _CALLS,
    "services": _with(ExitCode.NOT_FOUND),
    "top nodes": _CALLS,
    "top tasks": _CALLS,
    "logs": _with(ExitCode.NOT_FOUND),
    "events": _CALLS,
    "explain": _with(ExitCode.NOT_FOUND),
    "plan": _with(ExitCode.CONFLICT, ExitCode.CHANGES),
    "snapshot": _CALLS,
    "validate": _LOCAL,
    "schema": _LOCAL,
    "node drain": _with(ExitCode.UNPLACED, ExitCode.UNHEALTHY, ExitCode.NOT_FOUND),
    "node enable": _with(ExitCode.NOT_FOUND),
    "node label": _with(ExitCode.NOT_FOUND),
    "node rm": _with(ExitCode.NOT_FOUND, ExitCode.CONFLICT),
    "node lost": _with(ExitCode.NOT_FOUND, ExitCode.CONFLICT),
    "token create": _with(ExitCode.CONFLICT),
    "token ls": _with(),
    "token rm": _with(ExitCode.NOT_FOUND),
    "registry login": _with(),
    "registry logout": _with(ExitCode.NOT_FOUND),
    "registry ls": _with(),
    "recover": _with(ExitCode.NOT_FOUND, ExitCode.UNHEALTHY),
    "store backup": (*_LOCAL, ExitCode.NOT_FOUND, ExitCode.CONFLICT),
    "store restore": (*_LOCAL, ExitCode.CONFLICT),
    "store check": (*_LOCAL, ExitCode.NOT_FOUND),
    "completion": _LOCAL,
    "version": _LOCAL,
}

INTRODUCTION = """\
# The `cube` command

Every command that prints data takes `-o json`. Tables show times in local time with its offset,
JSON in UTC (RFC 3339). In a pipe tables are whole and without colour. Errors go to stderr and say
what is wrong, where, and what to do; `CUBE_DEBUG=1` adds the trace of an unexpected one.

A manager is found through `CUBE_ADDR` and `CUBE_TOKEN`, else through the files `address` and
`token` in the state directory: `--state-dir`, else `CUBE_STATE_DIR`, else
`$XDG_STATE_HOME/cube`, else `~/.local/state/cube`. Whether it is the right one is told by
`CUBE_CA`, a file with the certificate of its authority or the fingerprint that
`cube token create` prints, else by the file `ca.crt` there.

Written by `python -m cube.cli.reference`; a test keeps it current.
"""


def reference() -> str:
    """The whole page, as Markdown."""
    return "\n".join([INTRODUCTION, *_exit_codes(), "", *_sections()]).rstrip() + "\n"


def _exit_codes() -> Iterator[str]:
    yield "## Exit codes\n"
    yield "| code | means |\n|---|---|"
    for code, meaning in MEANING.items():
        yield f"| {int(code)} | {meaning} |"
    yield "\n`cube dev`, `manager` and `worker` exit with 0 when one Ctrl-C or SIGTERM stops them."


def _sections() -> Iterator[str]:
    for title, names in cube.sections.items():
        yield f"## {title}\n"
        for name in names:
            for path, command in leaves(cube.commands[name], name):
                yield from _command(path, command)


def leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """The commands that do something, below and including this one, with their full names."""
    if isinstance(command, click.Group):
        if command.invoke_without_command:
            yield path, command
        for name, below in command.commands.items():
            yield from leaves(below, f"{path} {name}")
    else:
        yield path, command


def _command(path: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=f"cube {path}")
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"### `cube {path}`\n"
    yield f"    cube {path} {usage}\n"
    yield _text(cleandoc(command.help or "")) + "\n"
    codes = ", ".join(str(int(code)) for code in EXITS[path])
    yield f"Exits with {codes}.\n"
    options = [p for p in command.params if isinstance(p, click.Option)]
    rows = [record for option in options if (record := option.get_help_record(context))]
    if rows:
        yield "| option | |\n|---|---|"
        yield from (f"| `{_cell(names)}` | {_cell(text)} |" for names, text in rows)
        yield ""


def _text(help_text: str) -> str:
    """Indent the paragraphs that are to stay as they are, which click marks."""
    paragraphs = help_text.split("\n\n")
    return "\n\n".join(
        "\n".join(f"    {line}" for line in p.lstrip("\b\n").splitlines()) if "\b" in p else p
        for p in paragraphs
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    click.echo(reference(), nl=False)
