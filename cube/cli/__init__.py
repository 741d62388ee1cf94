"""The `cube` command: its tree of commands, and how each of them ends.

Nothing heavy is imported here or at the top of any command's module: `cube --help` loads click and
the standard library. Commands raise `Failure`; only this module turns what was raised into an exit
code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from errno import ENOSPC

import click

from cube.cli.exits import ExitCode, Failure, ReaderLeft


def main(args: Sequence[str] | None = None) -> int:
    """Run `cube` with these arguments (default: the process's own); returns the exit code."""
    from cube.cli.tree import cube

    try:
        code = cube.main(args, prog_name="cube", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (ReaderLeft, BrokenPipeError):
        _write_no_more()
        return ExitCode.OK  # `cube status | head -1`
    except Exception as error:
        if os.environ.get("CUBE_DEBUG"):
            raise
        _unexpected(error).show()
        return ExitCode.ERROR
    return code if isinstance(code, int) else ExitCode.OK


def _write_no_more() -> None:
    """What is still in the buffer goes nowhere: the end of the process is not to trip over it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _unexpected(error: Exception) -> Failure:
    if isinstance(error, OSError) and error.errno == ENOSPC:
        _write_no_more()
        remedy = "free some space, or send the output to another place"
        return Failure("the disk is full: the output is not whole", remedy=remedy)
    text = " ".join(str(error).split())
    return Failure(
        f"unexpected {type(error).__name__}: {text[:300]}",
        remedy="this is a fault in Cube; CUBE_DEBUG=1 shows where it came from",
    )
