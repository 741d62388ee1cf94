"""A worker's process: the worker, its engine, its API for the manager, its courier to it.

Owns their order of starting and stopping, and joining before that. What it runs goes on when it
stops, and is adopted when it starts again.
"""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

from cube.codec import dumps
from cube.engine import Emit, Engine, make_engine
from cube.engine.capacity import WHOLE, Reserve, Share
from cube.engine.simulated import SimulatedEngine
from cube.hosting.addresses import outward
from cube.hosting.joining import Membership, become, explained
from cube.hosting.renewing import Renewing, reload
from cube.hosting.worker_dir import EngineKind, WorkerDir
from cube.messages import MANAGER, NodeInfo, Report, engine_name, worker_name
from cube.naming import Names, OffersNames, Responder
from cube.registries import Credential, Unavailable, UsesCredentials
from cube.remote import Courier, Line
from cube.remote.line import Refused, Unreachable
from cube.serving import Listen, ServerThread
from cube.serving.listening import host_port, is_loopback
from cube.serving.streams import Bell
from cube.state_dir import StateDir
from cube.store.lock import FileLock
from cube.trust import Joining
from cube.trust.contexts import expect, machines_listener, node_to_manager
from cube.worker import Worker
from cube.worker_api import Told, make_worker_app
from cube.world import World

log = logging.getLogger("cube")

PORT = 7462
IDLE_SECONDS = 120
REFUSED_SECONDS = 15.0  # between reports of a node that the manager does not know
SKEW_SECONDS = 120.0  # beyond, people are misled by times that they compare
SIMULATED_SIZE = (4000, 8192, 65536)


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """What an operator chooses."""

    state_dir: Path
    join: str = ""  # the manager's URL; "": as it was when the machine joined
    token: str = field(default="", repr=False)
    name: str = ""  # of the node; "": as it joined
    labels: tuple[tuple[str, str], ...] = ()
    datacenter: str = "dc1"
    engine: EngineKind | None = None  # None: as at its last start; Docker at the first
    docker_url: str | None = None
    listen: Listen | None = None  # None: loopback if the manager is there, else every address
    advertise: str = ""  # a name or address for this machine that the manager knows
    reserve: Reserve = WHOLE.reserve
    gpus: tuple[str, ...] | None = None


class WorkerHost:
    """Start it, stop it; or use it in a `with`."""

    def __init__(self, place: WorkerPlace) -> None:
        self.place = place
        self.directory = WorkerDir(place.state_dir.absolute())
        self.node = ""
        self.cluster = ""
        self.address = ""  # where the manager reaches it
        self.engine: Engine | None = None  # None: simulated
        self.warning = ""  # of the start
        self._told = Told()
        self._open = ExitStack()

    def start(self) -> None:
        """Join if that is still to be done, then start all; containers that run are adopted.

        Raises:
            ClusterError: something is in the way; nothing is left half started.
        """
        with self._explaining():
            self._start()

    def join(self) -> None:
        """Join if that is still to be done, and start nothing.

        Raises:
            ClusterError: something is in the way.
        """
        with self._explaining():
            self._become()
        self._open.close()

    def stop(self) -> None:
        """Stop all. What it runs goes on."""
        self._open.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # Ctrl-C too leaves nothing half started
            self._open.close()
            known = explained(error)
            if known is None:
                raise
            raise known from error

    def _become(self) -> Membership:
        """Be the node of this directory, and nobody else meanwhile."""
        place = self.place
        StateDir(self.directory.path).prepare()
        self._open.callback(FileLock(self.directory.lock_path).release)
        made = become(self.directory, place.join, place.token, place.name)
        self.node, self.cluster, self.warning = made.node, made.cluster, made.warning
        return made

    def _start(self) -> None:
        place, at_end = self.place, self._open
        member = self._become()
        at, identity = member.at, member.identity
        listen = place.listen or Listen("127.0.0.1" if is_loopback(at.host) else "0.0.0.0", PORT)
        bound = listen.bind()
        at_end.callback(bound.close)
        host = place.advertise or outward(listen, (at.host, at.port))
        self.address = host_port(host, bound.getsockname()[1]) if host else ""
        self.world = World()
        at_end.callback(self.world.stop)
        path, ca = self.directory.identity_path, identity.authority
        to_me, to_manager = machines_listener(path, ca), node_to_manager(path, ca)
        self._contexts = (to_me, to_manager)
        self._at, self._secret = at, identity.secret
        self._start_courier(to_manager)
        self._start_names(to_manager)
        self._start_engine()
        self.world.start_core(worker_name(self.node), lambda life: Worker(self.node, self.cluster))
        bell = Bell()
        server = ServerThread(
            make_worker_app(self.world, self.cluster, self.node, self.engine, self._told, bell),
            bound,
            to_me,
            idle_seconds=IDLE_SECONDS,
        )
        server.start()
        at_end.callback(server.stop)
        at_end.callback(bell.close)
        at_end.callback(Renewing(lambda: self.renew(time.time())).close)

    def renew(self, now: float) -> None:
        """Ask for a new certificate if the present one is due.

        Raises:
            Unreachable: the manager does not answer.
            Refused: it does, and will not.
            TrustError: what it answered cannot be used, or kept.
        """
        joining = Joining(self.directory.identity_path, self.node)
        identity = joining.identity()
        if identity is None or not identity.renewal_due(now):
            return
        with closing(self._line(self._contexts[1])) as line:
            answer = line.call("POST", f"/v1/nodes/{self.node}/certificate", joining.request())
        joining.renewed(answer.decode("ascii", "replace"))
        reload(self.directory.identity_path, self._contexts)

    def _line(self, context: ssl.SSLContext) -> Line:
        """A new line to the manager."""
        check = partial(expect, cluster=self.cluster)
        return Line(self._at.machines, context, check, self._secret)

    def _start_courier(self, context: ssl.SSLContext) -> None:
        way = _Reporting(self.node, self._line(context))
        courier = Courier("the manager", way, _is_whole, REFUSED_SECONDS)

        def carry(message: Any) -> None:
            self._told.see(message)
            courier.carry(message)

        self.world.connect(MANAGER, carry)
        self._open.callback(courier.join)
        self._open.callback(courier.close)

    def _start_names(self, context: ssl.SSLContext) -> None:
        """Learn where services are reached whenever a container asks."""
        line, path = self._line(context), f"/v1/nodes/{self.node}/names"
        self._open.callback(line.close)
        fetch = partial(_fetch_names, line, path)
        names = Names(fetch, self.directory.names_path)
        self._open.callback(names.close)
        self._responder = Responder(names.addresses)
        self._open.callback(self._responder.close)

    def _start_engine(self) -> None:
        place = self.place
        kind = place.engine or self.directory.kind()
        self.directory.write_kind(kind)
        if kind == "simulated":
            info = NodeInfo(
                self.node,
                *SIMULATED_SIZE,
                datacenter=place.datacenter,
                labels=place.labels,
                gpus=place.gpus or (),
                address=self.address,
            )
            self.world.start_core(engine_name(self.node), lambda life: SimulatedEngine(info))
        else:
            self.world.start_engine(self.node, partial(self._make_engine, kind))

    def _make_engine(self, kind: Literal["docker", "process"], emit: Emit) -> Engine:
        place = self.place
        engine = self.engine = make_engine(
            kind,
            cluster=self.cluster,
            node=self.node,
            emit=emit,
            state_dir=self.directory.engine_path,
            share=Share(reserve=place.reserve),
            docker_url=place.docker_url,
            labels=place.labels,
            datacenter=place.datacenter,
            gpus=place.gpus,
            address=self.address,
        )
        if isinstance(engine, OffersNames):
            engine.offer_names(self._responder)
        if isinstance(engine, UsesCredentials):
            engine.use_credentials(self._credential)
        return engine

    def _credential(self, registry: str) -> Credential | None:
        """The manager's credential for a registry, if it has one.

        Raises:
            Unavailable: it cannot be asked.
        """
        path = f"/v1/nodes/{self.node}/registries/{quote(registry, safe='')}"
        with closing(self._line(self._contexts[1])) as line:
            try:
                told = json.loads(line.call("GET", path))
                return Credential(told["user"], told["password"])
            except (Unreachable, Refused, ValueError, KeyError, TypeError) as error:
                if isinstance(error, Refused) and error.status == HTTPStatus.NOT_FOUND:
                    return None
                raise Unavailable(f"the manager cannot be asked: {error}") from error


class _Reporting:
    """Leads to the manager."""

    def __init__(self, node: str, line: Line) -> None:
        self._path = f"/v1/nodes/{node}/reports"
        self._line = line
        self._clock = ""  # what was said of it last

    def bring(self, message: Any) -> None:
        """Take one report there."""
        self._line.call("POST", self._path, dumps(message))
        said = of_clocks(self._line.skew_seconds)
        if said != self._clock:
            self._clock = said
            log.warning("%s", said or "the clocks of this machine and the manager's agree again")

    def close(self) -> None:
        """Hang up."""
        self._line.close()


def _fetch_names(line: Line, path: str, known: str) -> bytes:
    return line.call("GET", f"{path}?known={known}")


def of_clocks(ahead_seconds: float) -> str:
    """What is wrong with this machine's clock or the manager's; "" if they agree well enough."""
    if abs(ahead_seconds) < SKEW_SECONDS:
        return ""
    minutes = round(abs(ahead_seconds) / 60)
    side = "ahead of" if ahead_seconds > 0 else "behind"
    return (
        f"this machine's clock is {minutes} min {side} the manager's: set both by a time server."
        " Leases do not depend on that; times in tables, and certificates, do"
    )


def _is_whole(message: Any) -> bool:
    """Does it say all that was said before?"""
    return isinstance(message, Report) and message.whole
