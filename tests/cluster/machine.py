"""One machine of a box: a host name, processes, mounts, /run and a network of its own.

All of it hangs on its first process: when that is killed, the kernel ends every other one (workers,
engines, containers) and nothing is left of mounts and network. Files stay, as on a disk. Machines
are found again by that process's command line, so no record can be lost. Knows no engine and no
Cube.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
INIT_NAME = "tests/cluster/init.py"
INIT = str(Path(__file__).parents[2] / INIT_NAME)
START_SECONDS = 20.0
NAMESPACES = ("--mount", "--net", "--pid", "--uts")


class MachineError(Exception):
    """A machine does not do as told; the text says why."""


class Machine:
    """A directory, and the processes that run in its namespaces while it has power."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = directory.name
        self._shell: subprocess.Popen[str] | None = None

    # --- power ---

    @property
    def pid(self) -> int | None:
        """Its first process, as the outside numbers it; None without power."""
        wanted = f"/{INIT_NAME}\0{self.directory}\0".encode()  # of whatever checkout
        for pid in _numbers(Path("/proc")):
            line = _read(Path(f"/proc/{pid}/cmdline"))
            if wanted in line and not line.startswith(b"unshare\0"):
                return pid
        return None

    def power_on(self) -> None:
        """Boot it: /run is empty, the boot id new, all else as it was.

        Raises:
            MachineError: it has power already, or does not boot.
        """
        if self.pid is not None:
            raise MachineError(f"{self.name} has power already")
        shutil.rmtree(self.run_path, ignore_errors=True)
        for directory in (self.run_path, self.home):
            directory.mkdir(parents=True, exist_ok=True)
        own = ["--fork", *NAMESPACES, "--mount-proc", "--propagation", "slave"]
        init = [sys.executable, "-IS", INIT, str(self.directory), self.name, str(uuid.uuid4())]
        log = self.directory / "init.log"
        with log.open("w") as errors:
            self._shell = subprocess.Popen(
                ["unshare", *own, "--", *init],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        assert self._shell.stdout is not None
        with self._shell.stdout as said:
            if said.readline() != "ready\n":
                raise MachineError(f"{self.name} does not boot: {log.read_text().strip()}")

    def power_off(self) -> None:
        """Pull the plug: every process in it is gone when this returns."""
        if (pid := self.pid) is not None:
            kill(pid, signal.SIGKILL)
        if self._shell is not None:
            self._shell.wait()
            self._shell = None

    # --- what runs in it ---

    @property
    def run_path(self) -> Path:
        """Its /run, seen from outside."""
        return self.directory / "run"

    @property
    def home(self) -> Path:
        """Its user's home."""
        return self.directory / "home"

    def inside(self, *argv: str, namespaces: tuple[str, ...] = NAMESPACES) -> list[str]:
        """The command line that runs `argv` in it.

        Raises:
            MachineError: it has no power.
        """
        if (pid := self.pid) is None:
            raise MachineError(f"{self.name} has no power")
        return ["nsenter", f"--target={pid}", *namespaces, "--", *argv]

    def environment(self) -> dict[str, str]:
        """Ours, with a home of its own, this source tree, and nothing that names a cluster."""
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("CUBE_", "DOCKER_", "XDG_"))
        }
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**kept, "HOME": str(self.home), "PATH": path, "PYTHONPATH": str(ROOT)}

    def run(
        self, *argv: str, check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end.

        Raises:
            MachineError: it fails, unless `check` is False.
        """
        env = self.environment() | options.pop("env", {})
        done = subprocess.run(
            self.inside(*argv), capture_output=True, text=True, env=env, check=False, **options
        )
        if check and done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise MachineError(f"{self.name}: {' '.join(argv)}: {said}")
        return done

    def start(self, name: str, *argv: str, **env: str) -> None:
        """Start a daemon in it, known by a name; what it says is added to `log_path(name)`.

        Raises:
            MachineError: one of this name runs.
        """
        if self.daemon(name) is not None:
            raise MachineError(f"{self.name}: {name} runs already")
        script = f'echo $$ >/run/{name}.pid; exec "$@" >>"$0" 2>&1 </dev/null'
        detached = ["setsid", "--fork", "sh", "-c", script, str(self.log_path(name)), *argv]
        self.run(*detached, env=env)

    def log_path(self, name: str) -> Path:
        """What a daemon has said, over all its lives."""
        return self.directory / f"{name}.log"

    def daemon(self, name: str) -> int | None:
        """The process of a daemon, as the outside numbers it; None if it does not run."""
        inner = _read(self.run_path / f"{name}.pid").decode().strip()
        first = self.pid
        if not inner or first is None:
            return None
        space = _space(first)
        for pid in _numbers(Path("/proc")):
            if _inner_number(pid) == inner and _space(pid) == space:
                return pid
        return None

    def signal(self, name: str, number: signal.Signals, *, ends: bool = True) -> None:
        """Send a signal to a daemon, and wait until it is gone if it `ends` it.

        Raises:
            MachineError: there is none, or it does not end.
        """
        if (pid := self.daemon(name)) is None:
            raise MachineError(f"{self.name}: {name} does not run")
        kill(pid, number, ends=ends)


def kill(pid: int, number: signal.Signals, *, ends: bool = True) -> None:
    """Send a signal to any process, and wait for its end.

    Raises:
        MachineError: it does not end.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, number)
        if ends and not select.select([handle], [], [], START_SECONDS)[0]:
            raise MachineError(f"process {pid} does not end")
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def _numbers(directory: Path) -> Iterator[int]:
    return (int(entry.name) for entry in directory.iterdir() if entry.name.isdigit())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _inner_number(pid: int) -> str:
    """A process's number on the machine it is on; "" if it has ended and waits to be reaped."""
    fields = dict(
        line.split(":", 1) for line in _read(Path(f"/proc/{pid}/status")).decode().splitlines()
    )
    dead = fields.get("State", "Z").split()[0] == "Z"
    return "" if dead else fields["NSpid"].split()[-1]


def _space(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""
