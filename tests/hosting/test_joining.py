"""Machines join, run what the manager wants, and go on being what they are after restarts."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

import pytest

from cube.backup import back_up, restore
from cube.client import Client
from cube.engine.process.engine import ProcessEngine
from cube.hosting.failures import ClusterError
from cube.hosting.worker_dir import WorkerDir
from cube.remote.line import CONNECT_SECONDS
from cube.serving import Listen
from cube.spec import Constraint, JobSpec, TaskSpec
from cube.state_dir import StateDir
from cube.trust.contexts import first_contact
from tests.hosting.hosts import alive, client_of, cluster, manager_at, worker_at
from tests.waiting import wait

PATIENCE = 20.0  # seconds; a bound, never waited for


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


def test_manager_moves_with_a_backup_to_its_old_address(tmp_path) -> None:
    """Its workers notice nothing; users' tokens hold."""
    with manager_at(tmp_path / "old") as manager, client_of(manager) as client:
        worker = worker_at(tmp_path / "one", manager, "one")
        worker.start()
        client.submit(shop(2))
        wait(client, lambda: running(client) == 2)
        before = {task["id"]: task["container"] for task in client.tasks()}
        ann = client.create_token("ann")["token"]
        back_up(manager.state, tmp_path / "backup.tar.gz", 0.0)
        listens = [Listen(port=port) for port in manager.ports]
    restore(StateDir(tmp_path / "new"), tmp_path / "backup.tar.gz", 0.0)
    moved = manager_at(tmp_path / "new", listen=listens[0], listen_nodes=listens[1])
    with moved, client_of(moved) as client:
        wait(client, lambda: alive(client) == {"one"})
        assert {task["id"]: task["container"] for task in client.tasks()} == before
        assert client.recovery()["unknown"] == []
        with Client(moved.url, ann, moved.state.certificate_path.read_text()) as known:
            assert len(known.nodes()) == 1
        worker.stop()


def test_manager_moves_with_a_backup_to_another_address(tmp_path) -> None:
    """Its ports are others too. Its workers are told once, and need no token."""
    with manager_at(tmp_path / "old") as manager, client_of(manager) as client:
        with worker_at(tmp_path / "one", manager, "one"):
            wait(client, lambda: alive(client) == {"one"})
        back_up(manager.state, tmp_path / "backup.tar.gz", 0.0)
    restore(StateDir(tmp_path / "new"), tmp_path / "backup.tar.gz", 0.0)
    moved = manager_at(tmp_path / "new", listen=Listen("127.0.0.2", 0))
    with moved, client_of(moved) as client:
        url = moved.url
        assert "127.0.0.2" in url
        with worker_at(tmp_path / "one", None, "one", join=url) as worker:
            assert worker.warning == ""
            wait(client, lambda: alive(client) == {"one"})
        with worker_at(tmp_path / "one", None, "one"):
            client.submit(shop(1))
            wait(client, lambda: running(client) == 1)
    with worker_at(tmp_path / "one", None, "one", join=url) as worker:  # the manager is away
        assert "It goes on trying" in worker.warning


def test_worker_goes_on_with_the_engine_of_its_last_start(tmp_path) -> None:
    with manager_at(tmp_path / "manager") as manager:
        with worker_at(tmp_path / "one", manager, "one", engine="process") as worker:
            assert isinstance(worker.engine, ProcessEngine)
        with worker_at(tmp_path / "one", None, "one", engine=None) as worker:
            assert isinstance(worker.engine, ProcessEngine)
            worker.engine.purge()
    assert WorkerDir(tmp_path / "two").kind() == "docker"


def test_what_is_in_the_way_of_a_start(tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for place in ({"listen": Listen(port=port)}, {"listen_nodes": Listen(port=port)}):
            with pytest.raises(ClusterError, match=f"{port}: Address already in use") as caught:
                manager_at(tmp_path / "manager", **place).start()
            assert caught.value.exit_code == 6
            assert not (tmp_path / "manager" / "store.sqlite").exists()
        with manager_at(tmp_path / "manager") as manager:
            with pytest.raises(ClusterError, match="in use") as caught:
                manager_at(tmp_path / "manager").start()
            assert caught.value.exit_code == 6
            worker = worker_at(tmp_path / "one", manager, "one", listen=Listen(port=port))
            with pytest.raises(ClusterError, match=f"{port}: Address already in use") as caught:
                worker.start()
            assert caught.value.exit_code == 6
            place = {"engine": "docker", "docker_url": f"unix://{tmp_path}/none.sock"}
            with pytest.raises(ClusterError, match="Docker") as caught:
                worker_at(tmp_path / "one", manager, "one", **place).start()
            assert caught.value.exit_code == 1
            with worker_at(tmp_path / "one", manager, "one"):
                with pytest.raises(ClusterError, match="Another Cube runs here") as caught:
                    worker_at(tmp_path / "one", manager, "one").start()
                assert caught.value.exit_code == 6


def test_worker_that_answers_nothing_delays_nobody(tmp_path) -> None:
    """Its machine takes connections and never says a word."""

    def on(node: str, name: str) -> JobSpec:
        only = (Constraint("node.name", "==", node),)
        return JobSpec(name, (TaskSpec("web", "image", constraints=only),))

    with (
        cluster(tmp_path, "two") as (manager, client),
        socket.create_server(("127.0.0.1", 0)) as silent,
    ):
        with worker_at(tmp_path / "one", manager, "one"):
            wait(client, lambda: alive(client) == {"one", "two"})
        manager.backend.engines.heard("one", f"127.0.0.1:{silent.getsockname()[1]}")
        client.submit(on("one", "hung"))
        silent.settimeout(PATIENCE)
        taken, _ = silent.accept()
        begun = time.monotonic()
        with taken:
            for name in ("first", "second"):
                client.submit(on("two", name))
                wait(client, lambda job=name: client.task(f"{job}/web/1")["state"] == "running")
        assert time.monotonic() - begun < CONNECT_SECONDS


def test_whoever_is_slow_to_ask_is_cut_off(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("cube.serving.server.REQUEST_SECONDS", 0.2)
    with manager_at(tmp_path / "manager") as manager:
        for said in (
            b"",
            b"GET /v1/hea",
            b"POST /v1/join HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n1",
        ):
            raw = socket.create_connection(("127.0.0.1", manager.ports[0]), PATIENCE)
            with raw, first_contact().wrap_socket(raw) as slow:
                slow.sendall(said)
                with suppress(ConnectionResetError):
                    assert slow.recv(100) == b""
