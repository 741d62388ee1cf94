"""`cube exec`: a command beside a task, with the user's terminal or without.

On a terminal every key goes to the command as it is; the terminal is as before afterwards.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cube.cli import connection
from cube.cli.exits import ExitCode, Failure

if TYPE_CHECKING:
    from cube.client import Running


@click.command(name="exec", context_settings={"ignore_unknown_options": False})
@click.argument("task", shell_complete=connection.complete_task)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("-i", "--interactive", is_flag=True, help="Give it what comes on stdin.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@connection.state_dir_option
def run_exec(
    task: str, command: tuple[str, ...], interactive: bool, tty: bool, state_dir: Path
) -> int:
    """Run a command where a task runs.

    A COMMAND goes after --, as in `cube exec -it shop/web/1 -- sh`. It ends with the command's own
    exit code. A plain process has no container: the command gets its directory and environment.
    """
    if task.count("/") != 2:
        remedy = "name one, as in shop/web/1; `cube status` lists them"
        raise Failure(f"{task} is no task", remedy=remedy, code=ExitCode.USAGE)
    if tty and not (sys.stdin.isatty() and sys.stdout.isatty()):
        what = "this is no terminal, so -t has nothing to give"
        raise Failure(what, remedy="leave out -t", code=ExitCode.USAGE)
    rows, columns = _size() if tty else (24, 80)
    with (
        connection.connected(state_dir) as client,
        client.execute(task, command, tty=tty, rows=rows, columns=columns) as running,
        _terminal(running, tty),
    ):
        if interactive:
            threading.Thread(target=_pass_input, args=(running,), daemon=True).start()
        else:
            running.end_input()
        for is_error, piece in running.output():
            stream = sys.stderr if is_error else sys.stdout
            stream.buffer.write(piece)
            stream.buffer.flush()
        code = running.exit_code
    if code is None:
        raise Failure("the command was cut off", remedy="its task may have ended: `cube status`")
    return code


def _size() -> tuple[int, int]:
    columns, rows = os.get_terminal_size(sys.stdout.fileno())
    return max(rows, 1), max(columns, 1)


def _pass_input(running: Running) -> None:
    """Until there is no more; what the command does not take any more is lost."""
    from cube.client import ClientError

    with suppress(ClientError, OSError):
        while data := os.read(sys.stdin.fileno(), 65536):
            running.write(data)
        running.end_input()


@contextmanager
def _terminal(running: Running, tty: bool) -> Iterator[None]:
    """Pass keys on as they are and tell of new sizes; put everything back afterwards."""
    if not tty:
        yield
        return
    import termios
    import tty as modes

    before = termios.tcgetattr(sys.stdin.fileno())
    resized = threading.Event()
    old = signal.signal(signal.SIGWINCH, lambda *_: resized.set())
    threading.Thread(target=_tell_sizes, args=(running, resized), daemon=True).start()
    try:
        modes.setraw(sys.stdin.fileno())
        yield
    finally:
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, old)


def _tell_sizes(running: Running, resized: threading.Event) -> None:
    from cube.client import ClientError

    with suppress(ClientError):
        while resized.wait():
            resized.clear()
            running.resize(*_size())
