"""`cube completion` and `cube version`; completes names of jobs and tasks for the shell."""

from __future__ import annotations

import platform

import click

from cube import __version__
from cube.cli.exits import Failure
from cube.cli.printing import output_option, print_json

SHELLS = ("bash", "fish", "zsh")
HELP = """Print the script that completes `cube` in a shell.

\b
bash: eval "$(cube completion bash)"   in ~/.bashrc
zsh:  eval "$(cube completion zsh)"    in ~/.zshrc
fish: cube completion fish > ~/.config/fish/completions/cube.fish
"""


@click.command(help=HELP)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes `cube` in a shell."""
    from click.shell_completion import get_completion_class

    from cube.cli.tree import cube

    found = get_completion_class(shell)
    if found is None:
        raise Failure(f"no completion for {shell}", remedy="use " + ", ".join(SHELLS))
    click.echo(found(cube, {}, "cube", "_CUBE_COMPLETE").source())


@click.command()
@output_option
def version(output: str) -> None:
    """Print the version of Cube and of Python."""
    if output == "json":
        print_json({"cube": __version__, "python": platform.python_version()})
    else:
        click.echo(f"cube {__version__} (Python {platform.python_version()})")
