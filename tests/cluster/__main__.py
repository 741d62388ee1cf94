"""A cluster in a box for users: three machines with Docker and one for the manager, to try Cube on.

Needs root, as in `sudo .venv/bin/python -m tests.cluster up`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click

from tests.cluster.box import MANAGER, Box, own_box, why_not
from tests.cluster.chaos import Log, prepared, summary, told
from tests.cluster.machine import MachineError


@click.group()
def main() -> None:
    """Machines on this machine: manager, node-1, node-2, node-3."""
    if reason := why_not():
        raise click.ClickException(reason)


@main.command()
def up() -> None:
    """Start all machines."""
    box = Box()
    if box.is_up:
        raise click.ClickException("it is up already; `down` removes it")
    box.up()
    for name in box.machines:
        click.echo(f"{name:<8}  {box.address(name)}")
    click.echo(f"python -m tests.cluster shell {MANAGER}, or another of them, opens a shell there")


@main.command()
def down() -> None:
    """End and remove all machines with all that is on them."""
    Box().down()


@main.command()
@click.argument("machine")
@click.argument("command", nargs=-1)
def shell(machine: str, command: tuple[str, ...]) -> None:
    """Open a shell on a MACHINE, or run a COMMAND there (after --)."""
    found = _box(machine).machines[machine]
    argv = found.inside(*(command or ("sh",)))
    os.chdir("/")
    os.execvpe(argv[0], argv, {**found.environment(), "PS1": f"{machine}# "})


@main.command()
@click.argument("machine")
def cut(machine: str) -> None:
    """Pull a MACHINE's network cable."""
    _box(machine).cut(machine)


@main.command()
@click.argument("machine")
def mend(machine: str) -> None:
    """Put a MACHINE's network cable back."""
    _box(machine).mend(machine)


@main.command("power-off")
@click.argument("machine")
def power_off(machine: str) -> None:
    """Pull a MACHINE's plug: everything on it ends at once; its disk stays."""
    _box(machine).power_off(machine)


@main.command("power-on")
@click.argument("machine")
def power_on(machine: str) -> None:
    """Boot a MACHINE."""
    _box(machine).power_on(machine)


@main.command()
@click.argument("image")
def load(image: str) -> None:
    """Copy an IMAGE of this machine's own engine to those in the box, which has no way out."""
    for engine in _box(MANAGER).engines.values():
        saved = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
        subprocess.run(["docker", "-H", engine.url, "load"], stdin=saved.stdout, check=False)
        if saved.wait() != 0:
            raise click.ClickException(f"this machine's engine has no image {image}")


@main.command()
@click.option("--seconds", default=90.0, show_default=True, help="How long; healing comes after.")
@click.option("--seed", default=1, show_default=True, help="The same seed does the same steps.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=None, help="The log, as JSON lines."
)
def chaos(seconds: float, seed: int, out: Path | None) -> None:
    """Let things go wrong on machines of its own; see that Cube puts all of it right.

    Every few seconds a cable, a plug, a worker, an engine, the manager, its disk or its store
    fails, a machine is drained, or a user changes jobs, drawn from the seed. In the end everything
    is healed, and exactly what is wanted must run, each once, as `docker ps` has it; containers
    that are not Cube's must be as they were.
    """
    log = Log(out or Path(f"runs/chaos-{seed}.jsonl"), lambda line: click.echo(told(line)))
    try:
        with own_box() as box, prepared(box, seed, log) as run:
            result = run.run(seconds)
    finally:
        log.close()
    click.echo(summary(result))
    if result["found"]:
        sys.exit(1)


def _box(machine: str) -> Box:
    box = Box()
    if machine not in box.machines:
        raise click.ClickException(f"there is no {machine}; there are {', '.join(box.machines)}")
    if not box.is_up:
        raise click.ClickException("the box is not up; `python -m tests.cluster up` starts it")
    return box


if __name__ == "__main__":
    try:
        main()
    except MachineError as error:
        sys.exit(f"Error: {error}")
