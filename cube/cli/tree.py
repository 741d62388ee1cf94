"""The tree of commands, in the order and sections in which `cube --help` shows them.

Knows only which commands there are; each lives in the module named for what it does.
"""

from __future__ import annotations

from typing import Any

import click

from cube import __version__
from cube.cli import (
    changing,
    demo,
    doctor,
    explaining,
    files,
    following,
    hosting,
    looking,
    manager,
    operating,
    planning,
    registries,
    revising,
    running,
    shell,
    storing,
    tokens,
    trying,
    worker,
)
from cube.cli.exec import run_exec
from cube.cli.exits import ReaderLeft

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Sections(click.Group):
    """A group whose help lists its commands by purpose instead of by letter."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections: dict[str, list[str]] = {}

    def add_section(self, title: str, *commands: click.Command) -> None:
        """Add commands under a title."""
        self.sections[title] = [str(command.name) for command in commands]
        for command in commands:
            self.add_command(command)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a closed pipe is told apart before click deals with it."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise ReaderLeft from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, section by section."""
        return [name for names in self.sections.values() for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        for title, names in self.sections.items():
            rows = [(name, self.commands[name].get_short_help_str(70)) for name in names]
            with formatter.section(title):
                formatter.write_dl(rows)


@click.group(cls=Sections, context_settings=SETTINGS)
@click.version_option(__version__, "-V", "--version", message="cube %(version)s")
def cube() -> None:
    """Runs jobs of containers on a cluster, and says why each of them is where it is.

    A job is a Compose file or one image. Start a cluster with `cube dev` and run
    `cube run -f compose.yaml` in another terminal; or watch `cube demo`.
    """


cube.add_section("Start", hosting.dev, manager.manager, worker.worker, demo.demo, doctor.doctor)
cube.add_section(
    "Run jobs",
    running.run,
    revising.scale,
    revising.restart,
    revising.rollback,
    revising.wait,
    run_exec,
    changing.stop,
    changing.rm,
)
cube.add_section(
    "Look",
    looking.status,
    looking.nodes,
    looking.services,
    looking.top,
    following.logs,
    following.events,
    explaining.explain,
)
cube.add_section("Plan", planning.plan, trying.snapshot, files.validate, files.schema)
cube.add_section(
    "Look after the cluster",
    operating.node,
    tokens.token,
    registries.registry,
    changing.recover,
    storing.store,
)
cube.add_section("The command itself", shell.completion, shell.version)
