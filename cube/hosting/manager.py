"""The manager's process: store, manager, scheduler, the API for users and the one for machines.

Owns their order of starting and stopping, its certificates, and the first token with which machines
join. Runs no tasks: that is for workers, of which one may run beside it.
"""

from __future__ import annotations

import socket
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

from cube.access import digest
from cube.api import Backend, make_app
from cube.api.joining import Trust
from cube.api.known import KnownAccess
from cube.api.machines import Machines
from cube.api.names import KnownNames
from cube.cluster import explained
from cube.hosting.addresses import names, outward
from cube.hosting.renewing import Renewing, reload
from cube.manager import Manager, ManagerOptions
from cube.messages import MANAGER, SCHEDULER, CreateToken
from cube.policies import make_policy
from cube.record import Recorder
from cube.registries import Registries
from cube.remote.workers import Workers
from cube.scheduler import Scheduler
from cube.serving import Listen, ServerThread
from cube.serving.listening import host_port
from cube.serving.streams import Bell
from cube.state_dir import StateDir, replace_file
from cube.store import SqliteStore
from cube.trust import Authority, JoinToken
from cube.trust.contexts import machines_listener, manager_to_node, users_listener
from cube.world import World

PORT = 7460
FIRST_TOKEN, FIRST_TOKEN_SECONDS = "first-join", 86_400.0
IDLE_SECONDS = 120  # nodes of a large cluster speak rarely, and connect anew as rarely


@dataclass(frozen=True, slots=True)
class ManagerPlace:
    """What an operator chooses."""

    state_dir: Path
    listen: Listen = field(default_factory=lambda: Listen(port=PORT))
    listen_nodes: Listen | None = None  # None: the same address, the next port
    advertise: str = ""  # a name for the manager that machines and users know; "": found out
    policy: str = "epvm"
    record: Path | None = None
    invite: bool = True  # make a join token at the first start of all

    @property
    def for_nodes(self) -> Listen:
        """Where nodes speak to it."""
        users = self.listen
        return self.listen_nodes or Listen(users.host, users.port + 1 if users.port else 0)


class ManagerHost:
    """Start it, use `url`, stop it; or use it in a `with`."""

    def __init__(self, place: ManagerPlace) -> None:
        self.place = place
        self.state = StateDir(place.state_dir.absolute())
        self.url = ""  # for users and for machines that join
        self.token = ""  # that of the state directory
        self.ports = (0, 0)  # of users, of machines
        self.first_join = ""  # a join token, at the first start of all
        self.revision = 0  # what was the newest before this start
        self._open = ExitStack()
        self._is_up = False

    def start(self) -> None:
        """Start all. Nodes that it knows report by themselves.

        Raises:
            ClusterError: something is in the way; nothing is left half started.
        """
        try:
            self._start()
            self._is_up = True
        except BaseException as error:  # Ctrl-C too leaves nothing half started
            self._open.close()
            known = explained(error)
            if known is None:
                raise
            raise known from error

    def stop(self) -> None:
        """Stop all. Nodes go on with what they run."""
        self.url = ""
        self._open.close()
        self._is_up = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        place, closing = self.place, self._open
        make_policy(place.policy)
        self.state.prepare()
        store = SqliteStore(self.state.store_path)
        closing.callback(lambda: store.close() if self._is_up else store.discard())
        known = store.load().meta
        self.cluster = known.get("cluster", self.state.cluster_id)
        self.revision = int(known.get("revision", "0"))
        users = place.listen.bind()
        closing.callback(users.close)
        nodes = place.for_nodes.bind("--listen-nodes")
        closing.callback(nodes.close)
        self._authority = self._identify()
        recorder = None
        if place.record is not None:
            recorder = Recorder(place.record)
            closing.callback(recorder.close)
        self.world = World(recorder=recorder)
        closing.callback(self.world.stop)
        self._start_cores(store)
        self._serve(store, users, nodes)
        self.state.write_address(self.url)
        closing.callback(self.state.remove_address)
        closing.callback(Renewing(lambda: self.renew(time.time())).close)
        if place.invite and "cluster" not in known:
            self.first_join = self._first_token()

    def _serve(self, store: SqliteStore, users: socket.socket, nodes: socket.socket) -> None:
        """Speak with nodes, then with users."""
        path, ca, closing = self.state.manager_path, self._authority.certificate, self._open
        to_users, to_machines = users_listener(path), machines_listener(path, ca)
        to_workers = manager_to_node(path, ca)
        self._contexts = (to_users, to_machines, to_workers)
        bell = Bell()
        self.world.on_saved(bell.ring)
        workers = Workers(self.world, self.cluster, to_workers)
        closing.callback(workers.close)
        registries = Registries(self.state.registries_path)
        self.backend = Backend(self.world, store, workers, bell, registries)
        access = KnownAccess(self.backend, lambda word: workers.keep_only(word.node_keys))
        trust = Trust(self.cluster, self._authority, nodes.getsockname()[1])
        reached = KnownNames(self.backend.look)
        machines = ServerThread(
            Machines(self.world, access, workers, trust, reached, registries).app(),
            nodes,
            to_machines,
            idle_seconds=IDLE_SECONDS,
            name="cube-machines",
        )
        machines.start()
        closing.callback(machines.stop)
        self.token = self.state.make_token()
        server = ServerThread(make_app(self.backend, self.token, access, trust), users, to_users)
        server.start()
        closing.callback(server.stop)
        closing.callback(bell.close)
        self.ports = (server.port, machines.port)
        host = self.place.advertise or outward(self.place.listen) or "127.0.0.1"
        self.url = f"https://{host_port(host, server.port)}"

    def renew(self, now: float) -> None:
        """Have a new certificate if the present one is due.

        Raises:
            TrustError: it cannot be kept.
        """
        self._certify(self._authority, now)
        reload(self.state.manager_path, self._contexts)

    def _identify(self) -> Authority:
        """The authority, and what it says of us; both are made if they are not there."""
        now = time.time()
        authority = Authority(self.state.authority_path, self.cluster, now)
        replace_file(self.state.certificate_path, authority.pem)
        self._certify(authority, now)
        return authority

    def _certify(self, authority: Authority, now: float) -> None:
        advertised = (self.place.advertise,) if self.place.advertise else ()
        authority.manager(self.state.manager_path, names(self.place.listen, advertised), now)

    def _start_cores(self, store: SqliteStore) -> None:
        policy, cluster = self.place.policy, self.cluster
        self.world.start_core(SCHEDULER, lambda life: Scheduler(make_policy(policy)))
        options = ManagerOptions(policy=policy)
        self.world.start_core(MANAGER, lambda life: Manager(cluster, store.load(), options), store)

    def _first_token(self) -> str:
        """A join token that is good for a day."""
        made = JoinToken.make(self._authority.fingerprint)
        create = partial(CreateToken, uuid.uuid4().hex, FIRST_TOKEN, "join", digest(made.secret))
        self.backend.request(lambda edge: create(edge, FIRST_TOKEN_SECONDS))
        return made.text()
