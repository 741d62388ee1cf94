"""A whole cluster in one process: store, world, manager, scheduler, workers, engines, API.

Owns their order of starting and stopping, and turns what goes wrong meanwhile into one error with a
remedy. What is left running when it stops are the containers, unless it is told to remove them.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from cube.api import Backend, make_app
from cube.api.problems import Problem
from cube.engine import Emit, Engine, make_engine
from cube.engine.capacity import Share
from cube.engine.simulated import SimulatedEngine
from cube.hosting import failures
from cube.hosting.failures import ClusterError, split
from cube.manager import Manager, ManagerOptions
from cube.messages import MANAGER, SCHEDULER, NodeInfo, Stop, engine_name, worker_name
from cube.policies import PolicyError, make_policy
from cube.record import Recorder, RecordingError
from cube.registries import Registries, UsesCredentials
from cube.scheduler import Scheduler
from cube.serving import Listen, ServerThread
from cube.serving.streams import Bell
from cube.state_dir import StateDir
from cube.store import SqliteStore, StoreError, StoreLocked
from cube.worker import Worker
from cube.world import NoAnswer, World

log = logging.getLogger(__name__)

MAX_WORKERS = 1000
END_SECONDS = 60.0  # beyond the longest grace, for all jobs to end


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """What an operator chooses."""

    state_dir: Path
    workers: int = 1
    engine: Literal["docker", "process", "simulated"] = "docker"
    policy: str = "epvm"
    listen: Listen = field(default_factory=Listen)
    record: Path | None = None  # where to log what every core was told and did
    docker_url: str | None = None
    simulated_size: tuple[int, int, int] = (4000, 8192, 65536)  # of each simulated node
    gpus: tuple[str, ...] | None = None  # of this machine, or of each simulated node; None: look


class Cluster:
    """Start it, use `url` and `token`, stop it; or use it in a `with`."""

    def __init__(self, options: ClusterOptions) -> None:
        self.options = options
        self.state = StateDir(options.state_dir.absolute())
        self.url = ""
        self.token = ""
        self.id = ""
        self.revision = 0  # what was the newest before this start
        self._engines: dict[str, Engine] = {}
        self._registries = Registries(self.state.registries_path)
        self._open = ExitStack()
        self._is_up = False

    @property
    def nodes(self) -> list[str]:
        """The names of its nodes."""
        return [f"node-{i + 1}" for i in range(self.options.workers)]

    def start(self) -> None:
        """Start all; containers that run already are adopted.

        Raises:
            ClusterError: something is in the way; nothing is left half started, and no new file.
        """
        is_new = not self.state.path.exists()
        try:
            self._start()
            self._is_up = True
        except BaseException as error:  # Ctrl-C too leaves nothing half started
            self._open.close()
            self._engines.clear()
            if is_new:
                with suppress(OSError):  # somebody else's files are in it by now
                    self.state.path.rmdir()
            known = explained(error)
            if known is None:
                raise
            raise known from error

    def stop(self, *, rm: bool = False, say: Callable[[str], None] = log.info) -> None:
        """Stop all. Containers stay, unless `rm`: then jobs are ended and all is removed.

        Args:
            rm: end all jobs, wait, and remove every container, network and volume.
            say: told what takes long.

        Raises:
            ClusterError: not everything could be removed; the cluster has stopped nevertheless.
        """
        left = ""
        try:
            if rm and self.url:
                left = self._remove_all(say)
        finally:
            self.url = ""
            self._open.close()
            self._engines.clear()
            self._is_up = False
        if left:
            raise ClusterError(left)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # --- starting ---

    def _start(self) -> None:
        options, closing = self.options, self._open
        if not 1 <= options.workers <= MAX_WORKERS:
            raise ClusterError(
                f"{options.workers} workers cannot be.\nUse 1 to {MAX_WORKERS} of them.", 2
            )
        make_policy(options.policy)
        options.listen.check_loopback()
        self.state.prepare()
        store = SqliteStore(self.state.store_path)
        closing.callback(lambda: store.close() if self._is_up else store.discard())
        known = store.load().meta
        self.id = known.get("cluster", self.state.cluster_id)
        self.revision = int(known.get("revision", "0"))
        recorder = None
        if options.record is not None:
            recorder = Recorder(options.record)
            closing.callback(recorder.close)
        bound = options.listen.bind()
        closing.callback(bound.close)
        self.world = World(recorder=recorder)
        closing.callback(self.world.stop)
        self._start_engines()
        self._start_cores(store)
        bell = Bell()
        self.world.on_saved(bell.ring)
        self.backend = Backend(self.world, store, self._engines or None, bell, self._registries)
        self.token = self.state.make_token()
        server = ServerThread(make_app(self.backend, self.token), bound)
        server.start()
        closing.callback(server.stop)
        closing.callback(bell.close)
        self.url = server.url
        self.state.write_address(self.url)
        closing.callback(self.state.remove_address)

    def _start_engines(self) -> None:
        for i, node in enumerate(self.nodes):
            if self.options.engine == "simulated":
                info = NodeInfo(node, *self.options.simulated_size, gpus=self.options.gpus or ())
                self.world.start_core(engine_name(node), partial(_simulated, info))
            else:
                self.world.start_engine(node, partial(self._make_engine, i, node))

    def _make_engine(self, i: int, node: str, emit: Emit) -> Engine:
        options = self.options
        assert options.engine != "simulated"
        engine = self._engines[node] = make_engine(
            options.engine,
            cluster=self.id,
            node=node,
            emit=emit,
            state_dir=self.state.engine_path,
            share=Share(i, options.workers),
            docker_url=options.docker_url,
            gpus=options.gpus,
        )
        if isinstance(engine, UsesCredentials):
            engine.use_credentials(self._registries.find)
        return engine

    def _start_cores(self, store: SqliteStore) -> None:
        policy, cluster = self.options.policy, self.id
        self.world.start_core(SCHEDULER, lambda life: Scheduler(make_policy(policy)))
        options = ManagerOptions(policy=policy)
        self.world.start_core(MANAGER, lambda life: Manager(cluster, store.load(), options), store)
        for node in self.nodes:
            self.world.start_core(worker_name(node), partial(_worker, node, cluster))

    # --- removing everything ---

    def _remove_all(self, say: Callable[[str], None]) -> str:
        """End all jobs, then purge the engines. Returns what could not be done."""
        failed: list[str] = []
        try:
            unfinished = self._end_jobs(say)
            if unfinished and not self._engines:
                failed.append(f"{unfinished} tasks did not end in time")
        except (NoAnswer, Problem) as error:
            failed.append(f"the jobs could not be stopped: {error}")
        say("removing what is left of them")
        failed += [text for node in self.nodes if (text := self._purge(node))]
        return "" if not failed else "; ".join(failed) + ".\nRemove the rest by hand."

    def _end_jobs(self, say: Callable[[str], None]) -> int:
        """Stop every job and wait; says how many tasks have not ended in time."""
        changed = threading.Event()
        self.world.on_saved(changed.set)
        snapshot = self.backend.look()
        live = [task for task in snapshot.tasks if not task.state.final]
        if live:
            say(f"stopping {len(live)} task{'s' if len(live) > 1 else ''}")
        for job in snapshot.jobs:
            if not job.stopped:
                self.backend.request(partial(Stop, uuid.uuid4().hex, job.name))
        grace = max((task.spec.stop_grace_seconds for task in live), default=0.0)
        return self._wait_for_end(changed, grace + END_SECONDS)

    def _wait_for_end(self, changed: threading.Event, seconds: float) -> int:
        """Wait until every task has ended; says how many have not."""
        end = time.monotonic() + seconds
        while True:
            changed.clear()
            live = sum(not task.state.final for task in self.backend.look().tasks)
            left = end - time.monotonic()
            if not live or left <= 0:
                return live
            changed.wait(min(left, 1.0))

    def _purge(self, node: str) -> str:
        engine = self._engines.get(node)
        if engine is None:
            return ""
        try:
            engine.purge()
        except Exception as error:  # whatever the engine's client raises: the others go on
            log.exception("purging %s failed", node)
            return f"{node} still holds something: {error}"
        return ""


def _simulated(info: NodeInfo, _life: int) -> SimulatedEngine:
    return SimulatedEngine(info)


def _worker(node: str, cluster: str, _life: int) -> Worker:
    return Worker(node, cluster)


def explained(error: BaseException) -> ClusterError | None:
    """What an error at a manager's start means to an operator; None: nobody expected it."""
    match error:
        case StoreError() if not isinstance(error, StoreLocked):
            what, remedy = split(str(error), "; ")
            return ClusterError(f"{what}.\n{remedy}Choose another directory with --state-dir DIR.")
        case PolicyError():
            return ClusterError(f"{error}.\nSee the policies with: cube dev --help", 2)
        case RecordingError():
            return ClusterError(f"{error}\nChoose another file or directory.")
    return failures.explained(error)
