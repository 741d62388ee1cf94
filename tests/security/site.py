"""A manager and a worker as strangers find them: every application that is served, and its routes.

Applications are seen where servers get them, and routes where applications have them: what is new
is covered by itself.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from cube import __version__
from cube.client import Client
from cube.hosting.manager import ManagerHost
from cube.hosting.worker import WorkerHost
from cube.serving import ServerThread
from cube.spec import JobSpec, TaskSpec
from cube.trust import Identity
from cube.trust.contexts import manager_to_node, node_to_manager, to_manager
from tests.hosting.hosts import alive, client_of, manager_at, worker_at
from tests.waiting import wait

NODE, JOB = "one", "shop"
PATIENCE = 20.0  # seconds; a bound, never waited for
MOST = 1 << 20  # bytes of an answer that are looked at
VALUES = {  # of path parameters, where something is there
    "job": JOB, "name": JOB, "service": "web", "index": "1", "node": NODE, "uid": f"{JOB}/web/1@1",
    "number": "0" * 32, "registry": "registry.example:5000",
}  # fmt: skip


@dataclass(frozen=True)
class Way:
    """One method of one route of one application."""

    app: str
    method: str
    path: str

    def at(self, **values: str) -> str:
        """Its address, with these instead of the path's parameters."""
        made = self.path.replace(":path}", "}")
        for name, value in {**VALUES, **values}.items():
            made = made.replace(f"{{{name}}}", value)
        assert "{" not in made, f"give the parameters of {made} values in VALUES"
        return made

    @property
    def parameters(self) -> list[str]:
        """Names of the path's parameters."""
        return [part.split("}")[0].split(":")[0] for part in self.path.split("{")[1:]]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Door:
    """Where an application is reached: by whom TLS lets in, with this bearer, or with none."""

    def __init__(self, app: Any, port: int, context: ssl.SSLContext, bearer: str) -> None:
        self.app, self.port, self.context, self.bearer = app, port, context, bearer
        self._open = self.connection()

    def connection(self) -> http.client.HTTPSConnection:
        """A new one, to be closed."""
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, context=self.context, timeout=PATIENCE
        )

    def close(self) -> None:
        self._open.close()

    def headers(self, bearer: str | None = "") -> dict[str, str]:
        secret = self.bearer if bearer == "" else bearer
        made = {"Cube-Version": __version__, "Content-Type": "application/json"}
        return made if secret is None else {**made, "Authorization": f"Bearer {secret}"}

    def ask(
        self, method: str, path: str, body: bytes | Iterator[bytes] = b"", bearer: str | None = ""
    ) -> Answer:
        """One request. `bearer` "": the good one; None: none."""
        headers = self.headers(bearer)
        try:
            return self._ask(method, path, body, headers)
        except (http.client.RemoteDisconnected, OSError):  # it was closed at rest
            self._open.close()
            return self._ask(method, path, body, headers)

    def _ask(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        try:
            self._open.request(method, path, body, headers)
            with self._open.getresponse() as found:
                told = {name.lower(): value for name, value in found.headers.items()}
                answer = Answer(found.status, told, found.read(MOST))
                if not found.isclosed():  # there is more, perhaps without end
                    self._open.close()
                return answer
        except BaseException:
            self._open.close()
            raise


class Site:
    """All of it."""

    def __init__(
        self, path: Path, manager: ManagerHost, worker: WorkerHost, client: Client, apps: dict
    ) -> None:
        self.path, self.manager, self.worker, self.client = path, manager, worker, client
        identity = Identity.read(worker.directory.identity_path)
        assert identity is not None
        self.identity = identity
        ca, own = identity.authority, worker.directory.identity_path
        users, machines = manager.ports
        port = int(worker.address.rpartition(":")[2])
        to_worker = manager_to_node(manager.state.manager_path, ca)
        self.doors = {
            "users": Door(apps.pop(users), users, to_manager(ca), manager.token),
            "machines": Door(apps.pop(machines), machines, node_to_manager(own, ca),
                             identity.secret),
            "worker": Door(apps.pop(port), port, to_worker, "none"),
        }  # fmt: skip
        assert not apps, "an application is served that no test of security knows"

    def ways(self, app: str) -> list[Way]:
        """All of one application, in a lasting order."""
        found = [
            Way(app, method, route.path)
            for route in routes(self.doors[app].app.routes)
            for method in sorted(route.methods or ())
        ]
        return sorted(found, key=lambda way: (way.path, way.method))

    def close(self) -> None:
        for door in self.doors.values():
            door.close()

    def is_well(self) -> None:
        """Manager and worker answer, and none of their actors set a message aside."""
        assert self.client.cluster()["cluster"] == self.manager.cluster
        assert self.doors["worker"].ask("GET", "/v1/tasks").status == 200
        assert self.doors["machines"].ask("GET", f"/v1/nodes/{NODE}").status == 204


def routes(found: Any) -> Iterator[Route]:
    """Those of an application, and of the routers that it includes."""
    for route in found:
        if isinstance(route, Route):
            yield route
        else:
            inner = getattr(route, "original_router", None)
            assert inner is not None, f"how are the routes of a {type(route).__name__} found?"
            yield from routes(inner.routes)


@contextmanager
def serving() -> Iterator[dict[int, Any]]:
    """Within, applications that servers are made for, by port."""
    apps: dict[int, Any] = {}
    begin = ServerThread.__init__

    def watched(self: ServerThread, app: Any, *rest: Any, **named: Any) -> None:
        begin(self, app, *rest, **named)
        apps[self.port] = app

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServerThread, "__init__", watched)
        yield apps


@contextmanager
def site(path: Path, **place: Any) -> Iterator[Site]:
    """A manager, and a worker with one task that runs; all end with the block."""
    with (
        serving() as apps,
        manager_at(path / "manager", **place) as manager,
        client_of(manager) as client,
        worker_at(path / NODE, manager, NODE, engine="process") as worker,
    ):
        wait(client, lambda: alive(client) == {NODE})
        client.submit(JobSpec(JOB, (TaskSpec("web", "image", command=("sleep", "1000")),)))
        wait(client, lambda: client.task(f"{JOB}/web/1")["state"] == "running")
        try:
            made = Site(path, manager, worker, client, apps)
            yield made
            made.close()
        finally:
            assert worker.engine is not None
            worker.engine.purge()
