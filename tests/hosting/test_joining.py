"""Machines join, run what the manager wants, and go on being what they are after restarts."""

from __future__ import annotations

from cube.serving import Listen
from cube.spec import JobSpec, TaskSpec
from tests.hosting.hosts import alive, client_of, cluster, manager_at, worker_at
from tests.waiting import wait


def shop(instances: int = 4) -> JobSpec:
    return JobSpec("shop", (TaskSpec("web", "image", instances=instances),))


def running(client) -> int:
    return sum(task["state"] == "running" for task in client.tasks())


def test_machines_join_and_run_tasks(tmp_path) -> None:
    with cluster(tmp_path, "one", "two") as (_, client):
        client.submit(shop())
        wait(client, lambda: running(client) == 4)
        assert {task["node"] for task in client.tasks()} == {"one", "two"}


def test_worker_starts_again_from_its_identity(tmp_path) -> None:
    with manager_at(tmp_path / "manager") as manager, client_of(manager) as client:
        with worker_at(tmp_path / "one", manager, "one") as worker:
            wait(client, lambda: alive(client) == {"one"})
            first = worker.address
        with worker_at(tmp_path / "one", None, "") as worker:
            assert worker.node == "one"
            assert worker.address != first
            client.submit(shop(1))
            wait(client, lambda: running(client) == 1)


def test_manager_starts_again_and_finds_its_nodes(tmp_path) -> None:
    with manager_at(tmp_path / "manager") as manager, client_of(manager) as client:
        worker = worker_at(tmp_path / "one", manager, "one")
        worker.start()
        client.submit(shop(2))
        wait(client, lambda: running(client) == 2)
        listens = [Listen(port=port) for port in manager.ports]
    again = manager_at(tmp_path / "manager", listen=listens[0], listen_nodes=listens[1])
    with again, client_of(again) as client:
        assert again.first_join == ""
        wait(client, lambda: alive(client) == {"one"})
        client.scale("shop", {"web": 3})
        wait(client, lambda: running(client) == 3)
        worker.stop()
