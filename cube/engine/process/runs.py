"""The directory of each run of a plain process: what it is, how it stands, how it ended.

Owns the files below `STATE/process/CLUSTER/NODE/RUN`; the engine writes who a run is before
anything is started, the shim records what became of it. Both are durable, so that nothing is
started twice and no end is forgotten, whenever either is killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cube.engine import exit_reason
from cube.engine.capacity import boot_id
from cube.engine.process.shim import processes, start_time, stat_fields
from cube.messages import Exited, RunKey
from cube.spec import HealthCheck, PortCheck
from cube.task import HostPort

SETTLE_SECONDS = 5.0  # that a shim may take to write its first record
PURGE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Identity:
    """What must be known of a run to take it over. Holds no environment: it may be secret."""

    key: RunKey
    version: int
    size: tuple[int, int, int]
    on_disconnect: str
    stop_grace_seconds: float
    ports: tuple[HostPort, ...]
    healthcheck: HealthCheck | None
    failures: tuple[float, ...] = ()
    gpus: tuple[int, ...] = ()
    gpu_milli: int = 0
    check: PortCheck | None = None


class RunDirectory:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "out.log"
        self.scratch = path / "work"

    @classmethod
    def of(cls, node_directory: Path, key: RunKey) -> RunDirectory:
        """Where a run of a node has its files, whether or not they exist."""
        name = f"{quote(key.uid, safe='@')}.a{key.attempt}.r{key.restart}"
        return cls(node_directory / name)

    def create(self, identity: Identity) -> None:
        """Write down, durably, that this run is about to be started.

        Raises:
            OSError: the directory cannot be written.
        """
        self.path.mkdir(mode=0o700, parents=True)
        self.scratch.mkdir()
        _write(self.path / "run.json", asdict(identity))

    def remove(self) -> None:
        """Remove the run's files; fine if there are none."""
        shutil.rmtree(self.path, ignore_errors=True)

    def identity(self) -> Identity | None:
        """Whose run this is; None if it never got so far."""
        body = _read(self.path / "run.json")
        if body is None:
            return None
        command, check = body.pop("healthcheck"), body.pop("check", None)
        if command is not None:
            command["test"] = tuple(command["test"])
        return Identity(
            **{
                **body,
                "key": RunKey(*body["key"]),
                "size": tuple(body["size"]),
                "ports": tuple(HostPort(*port) for port in body["ports"]),
                "failures": tuple(body.get("failures", ())),
                "healthcheck": None if command is None else HealthCheck(**command),
                "check": None if check is None else PortCheck(**check),
            }
        )

    def lock(self) -> int:
        """A descriptor with the lock that the run's shim is to hold.

        Raises:
            OSError: the directory cannot be written.
        """
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)  # others look only for a moment
        return fd

    def alive(self) -> bool:
        """Does the run's shim live? Sure: pids are reused, locks are not."""
        try:
            fd = os.open(self.path / "lock", os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def state(self) -> dict[str, Any] | None:
        """What the shim has recorded; None if it has not begun."""
        return _read(self.path / "state.json")

    def settled(self) -> dict[str, Any] | None:
        """The state once the task was started or ended; waits for a shim that is beginning."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            alive, state = self.alive(), self.state()
            begun = state is not None and state["task"] is not None
            if begun or not alive or time.monotonic() > deadline:
                return state
            time.sleep(0.01)

    def end(self, key: RunKey, boot: str) -> Exited | None:
        """How a run whose shim is gone has ended; None if it never began.

        What a killed shim left running is killed.
        """
        state = self.state()
        if state is None or (state["task"] is None and state["exit_code"] is None):
            return None
        code: int | None = state["exit_code"]
        if state["boot_id"] != boot:
            return Exited(key, code, "the host restarted", interrupted=True)
        if code is not None:
            return Exited(key, code, exit_reason(code))
        kill_session(state["task"]["pid"], state["task"]["start"])
        return Exited(key, None, "the process that watched over it was killed", interrupted=True)


def kill_session(leader: int, started: int) -> None:
    """SIGKILL for what is left of a task's session.

    `leader` may have ended, and its pid may be another's by now: a process with that pid must
    have `started` then (ticks since boot).
    """
    if start_time(leader) not in (0, started):
        return
    for pid, _ in list(processes()):
        fields = stat_fields(pid)
        if fields and int(fields[3]) == leader:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def cluster_directory(state_dir: Path, cluster: str) -> Path:
    """Where the nodes of a cluster have their directories."""
    return state_dir / "process" / quote(cluster, safe="")


def node_directory(state_dir: Path, cluster: str, node: str) -> Path:
    """Where the runs of a node are kept."""
    return cluster_directory(state_dir, cluster) / quote(node, safe="")


def runs_in(directory: Path) -> Iterator[tuple[RunDirectory, Identity]]:
    """The runs that a node's directory holds."""
    if not directory.is_dir():
        return
    for path in sorted(directory.iterdir()):
        run = RunDirectory(path)
        identity = run.identity()
        if identity is not None:
            yield run, identity


def purge_runs(state_dir: Path, cluster: str, node: str | None = None) -> None:
    """Kill and remove all runs of a cluster (and node). Blocks for up to 10 s."""
    nodes = cluster_directory(state_dir, cluster)
    if node is not None:
        directories = [node_directory(state_dir, cluster, node)]
    else:
        directories = sorted(nodes.iterdir()) if nodes.is_dir() else []
    runs = [run for directory in directories for run in runs_in(directory)]
    for directory, _ in runs:
        _kill(directory)
    for directory, identity in runs:
        _await_end(directory)
        directory.end(identity.key, boot_id())
        directory.remove()
    for path in (*directories, nodes, nodes.parent):
        with suppress(OSError):  # something else is in it
            path.rmdir()


def _kill(run: RunDirectory) -> None:
    state = run.settled()
    if state is None or not run.alive():
        return
    with suppress(ProcessLookupError):
        os.kill(state["shim"]["pid"], signal.SIGUSR1)


def _await_end(run: RunDirectory) -> None:
    deadline = time.monotonic() + PURGE_SECONDS
    while run.alive() and time.monotonic() < deadline:
        time.sleep(0.01)


def _write(path: Path, body: dict[str, Any]) -> None:
    new = path.with_suffix(".new")
    with new.open("w") as file:
        json.dump(body, file)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        body: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return body
