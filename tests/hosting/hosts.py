"""A manager and workers as they run on several machines, here on loopback in one process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cube.client import Client
from cube.hosting.manager import ManagerHost, ManagerPlace
from cube.hosting.worker import WorkerHost, WorkerPlace
from cube.serving import Listen
from tests.waiting import wait

HERE = Listen("127.0.0.1", 0)


def manager_at(path: Path, **place: Any) -> ManagerHost:
    """A manager with free ports, not yet started."""
    return ManagerHost(ManagerPlace(path, place.pop("listen", HERE), **place))


def worker_at(path: Path, manager: ManagerHost | None, name: str, **place: Any) -> WorkerHost:
    """A worker with a free port, not yet started; without a manager it has joined before."""
    if manager is not None:
        place = {"join": manager.url, "token": manager.first_join, **place}
    place = {"engine": "simulated", "listen": HERE, "name": name, **place}
    return WorkerHost(WorkerPlace(path, **place))


def client_of(manager: ManagerHost) -> Client:
    """Its operator's client."""
    authority = manager.state.certificate_path.read_text()
    return Client(manager.url, manager.token, authority)


@contextmanager
def cluster(path: Path, *nodes: str, **place: Any) -> Iterator[tuple[ManagerHost, Client]]:
    """A manager whose workers have joined and are alive; all end with the block."""
    with manager_at(path / "manager") as manager, client_of(manager) as client:
        workers = [worker_at(path / node, manager, node, **place) for node in nodes]
        try:
            for worker in workers:
                worker.start()
            wait(client, lambda: alive(client) == set(nodes))
            yield manager, client
        finally:
            for worker in workers:
                if worker.engine is not None:
                    worker.engine.purge()
                worker.stop()


def alive(client: Client) -> set[str]:
    """The nodes that take tasks."""
    return {node["name"] for node in client.nodes() if node["state"] == "alive"}
