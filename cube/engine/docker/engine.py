"""Runs a node's tasks as Docker containers.

Owns the containers that carry its cluster's and its node's label, and touches no others. What
it is asked to do happens on a pool of threads, in order per run; ends are learnt from the
engine's events. Nothing here decides what should run.

A kill does not occupy a thread for the length of its grace: the signal is sent, a timer follows
it with SIGKILL, and the end is told by the event. Pulls have threads of their own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

from docker.errors import APIError

from cube.engine import CannotExecute, Emit, NoSuchRun, Order
from cube.engine.capacity import WHOLE, Share
from cube.engine.docker import look
from cube.engine.docker.checks import NetworkChecks
from cube.engine.docker.connect import (
    DEFAULT_URL,
    connect,
    describe,
    for_pulls,
    is_local,
    root_of,
)
from cube.engine.docker.errors import (
    UNREACHABLE,
    Failure,
    start_failure,
    text_of,
    unreachable_reason,
)
from cube.engine.docker.events import Watch
from cube.engine.docker.execs import DockerSession
from cube.engine.docker.images import Pulls, absent_failure, has_image
from cube.engine.docker.kept import KeptContainers
from cube.engine.docker.ledger import Ledger
from cube.engine.docker.logs import newest, read
from cube.engine.docker.names import container_name, label_filter
from cube.engine.docker.networks import remove_unused_network
from cube.engine.docker.pulled import SWEEP_SECONDS, PulledImages
from cube.engine.docker.purge import purge, remove_container
from cube.engine.docker.start import Starter
from cube.engine.health import HealthChecks
from cube.engine.load import LOAD_SECONDS, Meter, Usage, container_usage
from cube.engine.machine import Machine, disk_share
from cube.engine.pool import Pool
from cube.engine.session import Session, Wish
from cube.messages import (
    Discard,
    EngineDown,
    Kill,
    List,
    NodeInfo,
    Progress,
    Run,
    RunKey,
)
from cube.naming import NameService
from cube.registries import Find
from cube.task import TaskName

log = logging.getLogger(__name__)

RECONCILE_SECONDS = 30.0
KILLED = Failure("killed before it started")


class DockerEngine:
    """The `Engine` of one node on a Docker engine. See there for the contract."""

    def __init__(
        self,
        cluster: str,
        info: NodeInfo,
        emit: Emit,
        *,
        state_dir: Path,
        share: Share = WHOLE,
        url: str | None = None,
        load_seconds: float = LOAD_SECONDS,
    ) -> None:
        self._cluster, self._node, self._emit = cluster, info.name, emit
        url = url or DEFAULT_URL
        self._api, self._streams = connect(url)
        self.info = describe(self._api, url, info, share)
        self._is_local = is_local(url)
        boot = self.info.boot_id if self._is_local else ""
        self._starter = Starter(self._api, cluster, self._node, boot)
        self._kept = KeptContainers(self._api, cluster, self._node)
        self._pool = Pool(f"docker-{self._node}")
        self._health = HealthChecks(f"docker-{self._node}", emit)
        self._ledger = Ledger(
            self._api,
            url,
            cluster,
            self.info,
            boot=boot,
            checks=NetworkChecks(url, self._health),
            emit=emit,
            submit=self._submit,
        )
        root = root_of(self._api) if self._is_local else ""
        usage = self._usage if root else lambda: None
        machine = Machine(root, shared=share.parts > 1).use if root else None
        self._meter = Meter(self._pool, emit, usage, load_seconds, machine)
        self._pulling: dict[RunKey, Run] = {}
        self._down = False
        self._down_lock = threading.Lock()
        file = state_dir / "docker" / quote(cluster, safe="") / f"{quote(self._node, safe='')}.json"
        self._pulled_images = PulledImages(self._api, file, partial(disk_share, root))
        self._pulls = Pulls(for_pulls(url, self._api), f"docker-{self._node}", self._pulled_images)
        self._watch = Watch(
            url,
            (self._api, self._streams),
            label_filter(cluster, self._node),
            name=f"docker-{self._node}-events",
            on_event=self._ledger.on_event,
            on_down=self._went_down,
            on_back=lambda restarted: self._submit(Pool.ALONE, partial(self._back, restarted)),
        )
        self._submit(Pool.ALONE, self._reconcile, RECONCILE_SECONDS)
        self._submit(self._pulled_images, self._sweep, SWEEP_SECONDS)

    def handle(self, message: Order) -> None:
        """Carry out an order. Never blocks."""
        match message:
            case Run(key=key):
                self._submit(key, partial(self._answering, message, self._run))
            case Kill(key=key):
                self._submit(key, partial(self._kill, message))
            case Discard(key=key):
                self._submit(key, partial(self._discard, key))
            case List():
                self._submit(Pool.ALONE, self._list)

    def close(self) -> None:
        """Stop threads and streams; containers go on running."""
        self._watch.close()
        self._pulls.close()
        self._health.close()
        self._pool.close()
        self._api.close()
        self._streams.close()

    def logs(
        self,
        task: str | RunKey,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: float | None = None,
        stop: threading.Event | None = None,
    ) -> Iterator[bytes]:
        """Output of a task's newest run, or of exactly that run. See `Engine.logs`."""
        container = newest(self._api, self._cluster, self._node, task)["Id"]
        return read(self._streams, container, follow=follow, tail=tail, since=since, stop=stop)

    def execute(self, task: str, wish: Wish) -> Session:
        """See `Engine.execute`."""
        container = newest(self._api, self._cluster, self._node, task)
        if look.status(container) != "running":
            raise NoSuchRun(f"the container of {task} does not run")
        try:
            return DockerSession(self._streams, container["Id"], wish)
        except APIError as error:
            raise CannotExecute(text_of(error)) from error

    def offer_names(self, names: NameService) -> None:
        """See `cube.naming.OffersNames`."""
        if self._is_local:
            self._starter.names = names
            self._submit(Pool.ALONE, self._starter.settle_names)

    def use_credentials(self, find: Find) -> None:
        """See `cube.registries.UsesCredentials`."""
        self._pulls.find_credential = find

    def purge(self) -> None:
        """Remove this node's containers, and the cluster's unused networks and volumes."""
        purge(self._api, self._cluster, self._node)

    # --- orders --------------------------------------------------------------------------

    def _answering(self, run: Run, job: Callable[[Run], None]) -> None:
        """Whatever the engine refuses, a run that was asked for gets its answer."""
        try:
            job(run)
        except APIError as error:
            self._ledger.unstarted(run.key, start_failure(error, run.spec))

    def _run(self, run: Run) -> None:
        key, spec = run.key, run.spec
        if key in self._pulling:
            return
        if self._settled(run):
            return
        if run.image and has_image(self._api, run.image):
            self._start(run)
            return
        if spec.pull_policy == "never" or "@" not in run.image:
            run = replace(run, image="")  # other bytes cannot be had here
        if not run.image and spec.pull_policy != "always" and has_image(self._api, spec.image):
            self._start(run)
        elif spec.pull_policy == "never":
            self._ledger.unstarted(key, absent_failure(spec.image))
        else:
            self._pulling[key] = run
            self._pulls.request(
                run.image or spec.image,
                lambda text: self._emit(Progress(key, text)),
                lambda failure: self._submit(key, partial(self._pulled, run, failure)),
            )

    def _pulled(self, run: Run, failure: Failure | None) -> None:
        if self._pulling.get(run.key) is not run:
            return  # killed meanwhile
        del self._pulling[run.key]
        if failure is None:
            self._answering(run, self._start)
        else:
            self._ledger.unstarted(run.key, failure)

    def _start(self, run: Run) -> None:
        failure = self._starter.create(run)
        if failure is None and not self._settled(run):
            failure = Failure(f"the container of {run.key.uid} vanished before it was started")
        if failure is not None:
            self._ledger.unstarted(run.key, failure)

    def _settled(self, run: Run) -> bool:
        """Answer from the container that has the run's name; False: there is none to keep."""
        container = self._starter.existing(run)
        if isinstance(container, Failure):
            self._ledger.unstarted(run.key, container)
            return True
        if container is None:
            return False
        if look.status(container) in look.ENDED:
            self._ledger.ended_as(run.key, container)
            return True
        if look.status(container) not in look.RUNNING:
            started = self._starter.start(run, container)
            if isinstance(started, Failure):
                self._ledger.unstarted(run.key, started)
                return True
            container = started
        self._ledger.started(run.key, container)
        return True

    def _kill(self, kill: Kill) -> None:
        key = kill.key
        if self._pulling.pop(key, None) is not None:
            self._ledger.unstarted(key, KILLED)
            return
        container = self._find(key)
        if container is None:
            self._ledger.gone(key)
        elif look.status(container) in look.ENDED:
            self._ledger.ended_as(key, container)
        elif look.status(container) in look.RUNNING:
            self._ledger.kill(kill, container)
        else:
            remove_container(self._api, container["Id"])
            self._ledger.unstarted(key, KILLED)

    def _discard(self, key: RunKey) -> None:
        container = self._find(key)
        if container is not None and look.status(container) in look.RUNNING:
            return  # only what has ended has remains
        if container is not None and look.status(container) in look.ENDED:
            self._kept.keep(container)
        elif container is not None:
            remove_container(self._api, container["Id"])
        self._ledger.forget(key)
        remove_unused_network(self._api, self._cluster, TaskName.parse(key.uid).job)

    def _list(self, restarted: bool = False) -> None:
        self._meter.start_over()
        self._ledger.tell_all(restarted=restarted)

    def _usage(self) -> dict[RunKey, Usage] | None:
        running = self._ledger.running()
        found = container_usage(running.values())
        if found is None:
            return None
        return {key: found[id_] for key, id_ in running.items() if id_ in found}

    def _reconcile(self) -> None:
        self._submit(Pool.ALONE, self._reconcile, RECONCILE_SECONDS)
        self._ledger.reconcile()
        self._starter.settle_names()

    def _sweep(self) -> None:
        self._submit(self._pulled_images, self._sweep, SWEEP_SECONDS)
        self._kept.tidy()
        self._pulled_images.sweep()

    # --- the engine itself ---------------------------------------------------------------

    def _find(self, key: RunKey) -> look.Inspected | None:
        container = look.inspect(self._api, container_name(self._cluster, key))
        if container is None or not look.is_ours(container, self._cluster, self._node):
            return None
        return container

    def _submit(self, lane: object, job: Callable[[], None], after: float = 0.0) -> None:
        self._pool.submit(lane, partial(self._guarded, lane, job), after)

    def _guarded(self, lane: object, job: Callable[[], None]) -> None:
        try:
            job()
        except UNREACHABLE as error:
            self._went_down(unreachable_reason(error))
            self._watch.reopen()
        except APIError as error:
            log.warning("the Docker engine refused a call: %s", text_of(error))

    def _went_down(self, reason: str) -> None:
        with self._down_lock:
            if self._down:
                return
            self._down = True
        self._emit(EngineDown(f"the Docker engine does not answer: {reason}"))

    def _back(self, restarted: bool) -> None:
        self._list(restarted)
        with self._down_lock:
            self._down = False
