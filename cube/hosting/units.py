"""systemd units for `cube manager` and `cube worker`: what is written, and how systemd is told.

Owns two files in systemd's directory. Stopping or restarting a unit ends Cube's own process only:
containers belong to the engine, and plain processes outlive the worker that started them.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

Kind = Literal["manager", "worker"]

UNITS = Path("/etc/systemd/system")
RUNNING = Path("/run/systemd/system")  # is there where systemd runs the machine


class UnitError(Exception):
    """systemd cannot be told; the second line says what to do."""

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def unit_name(kind: Kind) -> str:
    """As systemd knows it."""
    return f"cube-{kind}.service"


def unit_text(kind: Kind, words: Sequence[str]) -> str:
    """The unit that runs `cube KIND WORDS`, with the Python that runs now."""
    command = [sys.executable, "-m", "cube", kind, *words]
    return f"""\
[Unit]
Description=Cube {kind}
Wants=network-online.target
After=network-online.target{" docker.service" if kind == "worker" else ""}
StartLimitIntervalSec=0

[Service]
ExecStart={" ".join(_quoted(word) for word in command)}
Restart=always
RestartSec=2
KillMode=process
TimeoutStopSec=30
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""


def words_of(text: str) -> list[str]:
    """What a unit's command was given, after `cube KIND`."""
    for line in text.splitlines():
        if line.startswith("ExecStart="):
            words = shlex.split(line.removeprefix("ExecStart="))
            return [word.replace("%%", "%").replace("$$", "$") for word in words[4:]]
    return []


def check_systemd(running: Path = RUNNING) -> None:
    """See that systemd runs this machine, and that we may tell it something.

    Raises:
        UnitError: it does not, or we may not.
    """
    if not running.is_dir():
        raise UnitError(
            "This machine is not run by systemd.\nHave what runs it start the command that"
            " --print shows."
        )
    if os.geteuid() != 0:
        raise UnitError("Only root may install units.\nRun it with sudo.", 7)


def install(kind: Kind, text: str, units: Path = UNITS) -> None:
    """Write the unit, and have it run now and after each boot.

    Raises:
        UnitError: it cannot be written, or systemd does not take it.
    """
    path = units / unit_name(kind)
    fresh = path.with_suffix(".fresh")
    try:
        fresh.write_text(text)
        fresh.chmod(0o644)
        fresh.replace(path)
    except OSError as error:
        raise UnitError(f"{path} cannot be written: {error.strerror}.\nRun it with sudo.") from None
    _systemctl("daemon-reload")
    _systemctl("enable", unit_name(kind))
    _systemctl("restart", unit_name(kind))


@contextmanager
def paused(kind: Kind, units: Path = UNITS) -> Iterator[None]:
    """Stop the unit if there is one; it runs again if what is done meanwhile fails.

    Raises:
        UnitError: systemd does not stop it.
    """
    is_installed = (units / unit_name(kind)).exists()
    if is_installed:
        _systemctl("stop", unit_name(kind))
    try:
        yield
    except BaseException:
        if is_installed:
            _systemctl("start", unit_name(kind))
        raise


def uninstall(kind: Kind, units: Path = UNITS) -> list[str]:
    """Stop the unit and remove it; says what its command was given.

    Raises:
        UnitError: there is none, or systemd does not let it go.
    """
    path = units / unit_name(kind)
    try:
        text = path.read_text()
    except OSError:
        raise UnitError(
            f"No cube {kind} is installed: there is no {path}.\nNothing to do.", 5
        ) from None
    _systemctl("disable", "--now", unit_name(kind))
    path.unlink()
    _systemctl("daemon-reload")
    return words_of(text)


def _systemctl(*words: str) -> None:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip() or f"it ended with {done.returncode}"
        raise UnitError(f"systemctl {' '.join(words)}: {said}\nSee: journalctl -u cube-*")


def _quoted(word: str) -> str:
    """As systemd reads it back: percent and dollar signs mean something to it."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return plain if plain and not set(plain) & set(" \t'\"\\;") else f'"{plain}"'
