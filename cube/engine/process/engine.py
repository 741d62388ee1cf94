"""Runs a node's tasks as plain processes, each under a shim that outlives this engine.

Owns the runs below its state directory. What it is asked to do happens on a pool of threads, in
order per run; ends are noticed through the shims' descriptors. Nothing here decides what runs.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil

from cube.engine import CannotExecute, Emit, EngineUnavailable, NoSuchRun, Order
from cube.engine.capacity import (
    MIB,
    WHOLE,
    Share,
    boot_id,
    free_disk_mib,
    port_space,
    with_capacity,
)
from cube.engine.health import HealthChecks
from cube.engine.load import LOAD_SECONDS, Meter, process_usage
from cube.engine.machine import Machine
from cube.engine.pool import Pool
from cube.engine.probes import probe
from cube.engine.process import logs
from cube.engine.process.commands import Commands
from cube.engine.process.execs import ProcessSession
from cube.engine.process.runs import (
    Identity,
    RunDirectory,
    node_directory,
    purge_runs,
    runs_in,
)
from cube.engine.process.start import Refused, start
from cube.engine.process.watch import ShimWatch
from cube.engine.session import Session, Wish
from cube.messages import (
    Discard,
    Exited,
    Found,
    Kill,
    List,
    Listed,
    NodeInfo,
    Run,
    RunKey,
    Started,
)
from cube.task import HostPort

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
STOP, KILL_ALL = signal.SIGTERM, signal.SIGUSR1  # what a shim understands


class ProcessEngine:
    """The `Engine` of one node without containers. See there for the contract."""

    def __init__(
        self,
        cluster: str,
        info: NodeInfo,
        emit: Emit,
        *,
        state_dir: Path,
        share: Share = WHOLE,
        load_seconds: float = LOAD_SECONDS,
    ) -> None:
        if not sys.platform.startswith("linux"):
            raise EngineUnavailable("plain processes need Linux: use --engine docker")
        self._cluster, self._node, self._emit = cluster, info.name, emit
        self._state_dir = state_dir.absolute()
        self._directory = node_directory(self._state_dir, cluster, info.name)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EngineUnavailable(
                f"cannot write {self._directory} ({error.strerror}): choose another --state-dir"
            ) from error
        self._boot = boot_id()
        self.info = _describe(info, self._directory, self._boot, share)
        self._live: dict[RunKey, Identity] = {}
        self._ended: set[RunKey] = set()  # whose end has been told
        self._killing: set[RunKey] = set()
        name = f"process-{info.name}"
        self._pool = Pool(name)
        self._health = HealthChecks(name, emit)
        self._commands = Commands()
        self._watch = ShimWatch(f"{name}-watch", self._shim_ended)
        machine = Machine(self._directory, shared=share.parts > 1)
        self._meter = Meter(
            self._pool,
            emit,
            lambda: process_usage(self._watch.pids()),
            load_seconds,
            machine.use,
        )

    def handle(self, message: Order) -> None:
        """Carry out an order. Never blocks."""
        match message:
            case Run(key=key):
                self._pool.submit(key, partial(self._run, message))
            case Kill(key=key):
                self._pool.submit(key, partial(self._kill, message))
            case Discard(key=key):
                self._pool.submit(key, partial(self._discard, key))
            case List():
                self._pool.submit(Pool.ALONE, self._list)

    def close(self) -> None:
        """Stop threads; processes and their shims go on running."""
        self._watch.close()
        self._commands.close()
        self._health.close()
        self._pool.close()

    def logs(
        self,
        task: str | RunKey,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: float | None = None,
        stop: threading.Event | None = None,
    ) -> Iterator[bytes]:
        """Output of a task's newest run, or of exactly that run. See `Engine.logs`.

        Lines are not dated: `since` leaves out only whole files.
        """
        uid = task.uid if isinstance(task, RunKey) else task
        runs = {
            identity.key: run
            for run, identity in runs_in(self._directory)
            if identity.key.uid == uid and run.log.exists()
        }
        key = task if isinstance(task, RunKey) else max(runs, default=None)
        if key is None or key not in runs:
            raise NoSuchRun(f"nothing of task {uid} is on node {self._node}")
        return logs.read(runs[key], follow=follow, tail=tail, since=since, stop=stop)

    def execute(self, task: str, wish: Wish) -> Session:
        """See `Engine.execute`."""
        live = [key for key in self._live.copy() if key.uid == task]
        state = RunDirectory.of(self._directory, max(live)).state() if live else None
        if state is None or state["task"] is None:
            raise NoSuchRun(f"no process of {task} runs on {self._node}")
        try:
            return ProcessSession(state["task"]["pid"], wish)
        except OSError as error:
            raise CannotExecute(f"{error.strerror}: {wish.command[0]}") from error

    def purge(self) -> None:
        """Kill and remove everything of this cluster and node. Blocks for up to 10 s."""
        purge_runs(self._state_dir, self._cluster, self._node)

    # --- orders --------------------------------------------------------------------------

    def _run(self, run: Run) -> None:
        key = run.key
        directory = RunDirectory.of(self._directory, key)
        identity = directory.identity()
        if identity is not None and directory.settled() is not None:
            self._answer_again(directory, identity)
            return
        directory.remove()  # a start that was cut off
        taken = {port.host for other in self._live.copy().values() for port in other.ports}
        try:
            pid, identity = start(directory, self._node, self._boot, run, taken)
        except Refused as refused:
            self._tell_end(refused.as_exited(key))
            return
        self._ended.discard(key)
        self._live[key] = identity
        self._emit(_started(directory, identity))
        self._watch.add(key, pid)
        self._begin_checks(directory, identity)

    def _answer_again(self, directory: RunDirectory, identity: Identity) -> None:
        if directory.alive():
            self._adopt(directory, identity)
            self._emit(_started(directory, identity))
        elif (end := directory.end(identity.key, self._boot)) is not None:
            self._tell_end(end)

    def _adopt(self, directory: RunDirectory, identity: Identity) -> None:
        state = directory.state()
        if state is None:
            return
        self._live[identity.key] = identity
        if not self._watch.add(identity.key, state["shim"]["pid"]):
            self._shim_ended(identity.key)
        self._begin_checks(directory, identity)

    def _begin_checks(self, directory: RunDirectory, identity: Identity) -> None:
        if (check := identity.check) is not None:
            port = _reached_at(check.port, identity.ports)
            self._health.watch(identity.key, check, partial(probe, check, LOOPBACK, port))
        elif (command := identity.healthcheck) is not None and command.test != ("NONE",):
            pid = int((directory.state() or {})["task"]["pid"])
            test = partial(self._commands.test, command, pid)
            self._health.watch(identity.key, command, test)

    def _kill(self, kill: Kill) -> None:
        key = kill.key
        directory = RunDirectory.of(self._directory, key)
        identity = directory.identity()
        if identity is not None and directory.settled() is not None and directory.alive():
            self._adopt(directory, identity)
            if kill.grace_seconds <= 0.0:
                self._watch.signal(key, KILL_ALL)
            elif key not in self._killing:
                self._watch.signal(key, STOP)
            self._killing.add(key)
            after = max(0.0, kill.grace_seconds)
            self._pool.submit(key, partial(self._watch.signal, key, KILL_ALL), after)
            return
        end = None if identity is None else directory.end(key, self._boot)
        self._tell_end(end or Exited(key, None, "gone"))

    def _discard(self, key: RunKey) -> None:
        directory = RunDirectory.of(self._directory, key)
        if not directory.alive():
            directory.remove()
            self._ended.discard(key)

    def _list(self) -> None:
        found = []
        for directory, identity in list(runs_in(self._directory)):
            directory.settled()
            item = self._look(directory, identity)
            if item is None:
                directory.remove()  # a start that was cut off
            else:
                found.append(item)
        self._emit(Listed(tuple(found), self.info))
        self._meter.start_over()

    def _look(self, directory: RunDirectory, identity: Identity) -> Found | None:
        key = identity.key
        common = Found(
            key,
            running=True,
            ports=identity.ports,
            size=identity.size,
            on_disconnect=identity.on_disconnect,
            stop_grace_seconds=identity.stop_grace_seconds,
            failures=identity.failures,
            gpus=identity.gpus,
            gpu_milli=identity.gpu_milli,
        )
        if directory.alive():
            self._adopt(directory, identity)
            healthy = self._health.verdict(key)
            return replace(common, handle=_handle(directory), healthy=healthy)
        end = directory.end(key, self._boot)
        if end is None:
            return None
        self._forget(key)
        code, reason, cut = end.exit_code, end.reason, end.interrupted
        return replace(common, running=False, exit_code=code, reason=reason, interrupted=cut)

    # --- what happens by itself ----------------------------------------------------------

    def _shim_ended(self, key: RunKey) -> None:
        self._pool.submit(key, partial(self._died, key))

    def _died(self, key: RunKey) -> None:
        if key in self._ended:
            return
        end = RunDirectory.of(self._directory, key).end(key, self._boot)
        self._tell_end(end or Exited(key, None, "its files were removed from outside"))

    def _tell_end(self, exited: Exited) -> None:
        self._forget(exited.key)
        self._emit(exited)

    def _forget(self, key: RunKey) -> None:
        self._ended.add(key)
        self._live.pop(key, None)
        self._killing.discard(key)
        self._health.forget(key)


def _started(directory: RunDirectory, identity: Identity) -> Started:
    return Started(identity.key, _handle(directory), identity.ports)


def _reached_at(port: int, published: tuple[HostPort, ...]) -> int:
    """Where a task listens that was told to use a host port instead of its own."""
    return next((p.host for p in published if (p.container, p.protocol) == (port, "tcp")), port)


def _handle(directory: RunDirectory) -> str:
    state = directory.state()
    return "" if state is None or state["task"] is None else str(state["task"]["pid"])


def _describe(info: NodeInfo, path: Path, boot: str, share: Share) -> NodeInfo:
    cores = psutil.cpu_count() or 1
    memory = psutil.virtual_memory().total // MIB
    sized = with_capacity(info, cores * 1000, memory, free_disk_mib(path), share)
    return replace(sized, host=port_space(), engine="process", boot_id=boot)
