"""A whole cluster in one process: its state directory, its ends, and what outlives it."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cube.backup import back_up, restore
from cube.client import ApiProblem, Client
from cube.cluster import Cluster, ClusterOptions
from cube.engine import remove_cluster_remains
from cube.hosting.failures import ClusterError
from cube.messages import MANAGER
from cube.record import replay
from cube.revive import revive
from cube.serving import Listen, ListenError
from cube.spec import JobSpec, Kind, TaskSpec
from cube.state_dir import StateDir
from cube.views import TaskView
from tests.waiting import wait


def shell(script: str, name: str = "web", **fields: Any) -> TaskSpec:
    fields = {"stop_grace_seconds": 1.0, "pull_policy": "never"} | fields
    return TaskSpec(name, "busybox:latest", command=("sh", "-c", script), **fields)


FOREVER = "echo hello from $CUBE_TASK; while :; do sleep 1; done"


@contextmanager
def running(options: ClusterOptions) -> Iterator[tuple[Cluster, Client]]:
    with Cluster(options) as cluster, Client(cluster.url, cluster.token) as client:
        wait(client, lambda: len(client.nodes()) == options.workers)
        yield cluster, client


def tasks_up(client: Client, job: str, count: int) -> list[TaskView]:
    wait(client, lambda: sum(t["ready"] for t in client.tasks(job)) == count)
    return client.tasks(job)


def handles(tasks: list[TaskView]) -> dict[str, tuple[str, int, int]]:
    return {t["id"]: (t["container"], t["attempt"], t["restart"]) for t in tasks}


@pytest.fixture(params=["process", "docker"])
def options(request, tmp_path: Path) -> Iterator[ClusterOptions]:
    """Options of a cluster on a real engine; what it leaves behind is removed."""
    if request.param == "docker":
        request.getfixturevalue("docker_api")
    made = ClusterOptions(tmp_path / "state", workers=2, engine=request.param)
    yield made
    state = StateDir(made.state_dir)
    remove_cluster_remains(request.param, cluster=state.cluster_id, state_dir=state.engine_path)


@pytest.fixture
def simulated(tmp_path: Path) -> ClusterOptions:
    return ClusterOptions(tmp_path / "state", engine="simulated")


# --- on real engines -----------------------------------------------------------------------------


def test_containers_outlive_the_cluster_and_are_adopted(options):
    job = JobSpec("shop", (shell(FOREVER, instances=3),))
    with running(options) as (_, client):
        client.submit(job)
        before = handles(tasks_up(client, "shop", 3))
        revision, epoch = client.cluster()["revision"], client.cluster()["epoch"]
    with running(options) as (_, client):
        assert handles(tasks_up(client, "shop", 3)) == before
        assert client.cluster()["revision"] > revision
        assert client.cluster()["epoch"] == epoch + 1
        assert client.submit(job)["status"] == "unchanged"
        assert client.recovery()["unknown"] == []


def test_a_deleted_store_leads_to_recovery_and_not_to_removal(options):
    with running(options) as (cluster, client):
        client.submit(JobSpec("shop", (shell(FOREVER, instances=2),)))
        before = {t["container"] for t in tasks_up(client, "shop", 2)}
        store = cluster.state.store_path
    for file in store.parent.glob("store.*"):
        file.unlink()
    with running(options) as (_, client):
        wait(client, lambda: len(client.recovery()["unknown"]) == 2)
        unknown = client.recovery()["unknown"]
        assert {u["container"] for u in unknown} == before
        assert {u["task"] for u in unknown} == {"shop/web/1", "shop/web/2"}
        assert "recovery" in client.cluster()["note"]
        assert client.cluster()["used"]["memory_mib"] == 2 * unknown[0]["needs"]["memory_mib"]
        client.recover("remove")
        wait_without_events(client, lambda: client.recovery()["unknown"] == [])


def test_a_manager_that_moves_elsewhere_with_a_backup_finds_all_its_containers(options, tmp_path):
    """A newer state was lost with the old place: what started since is listed, and untouched."""
    archive, old = tmp_path / "backup.tar.gz", options.state_dir
    with running(options) as (cluster, client):
        client.submit(JobSpec("shop", (shell(FOREVER, instances=2),)))
        before = handles(tasks_up(client, "shop", 2))
        made = back_up(cluster.state, archive, cluster.world.now())  # while it runs
        client.submit(JobSpec("late", (shell(FOREVER),)))
        (late,) = tasks_up(client, "late", 1)
        token = cluster.token
    moved = replace(options, state_dir=tmp_path / "moved")
    moved.state_dir.mkdir()
    (moved.state_dir / "engine").symlink_to(old / "engine")  # what runs has not moved
    restore(StateDir(moved.state_dir), archive, 0.0)
    with running(moved) as (cluster, client):
        assert (cluster.id, cluster.token) == (made.cluster, token)
        assert handles(tasks_up(client, "shop", 2)) == before
        wait(client, lambda: client.recovery()["unknown"] != [])
        assert [u["container"] for u in client.recovery()["unknown"]] == [late["container"]]


def wait_without_events(client: Client, condition: Callable[[], bool]) -> None:
    """Look again and again, each time after a whole answer of the manager; 30 s at most."""
    for _ in range(3000):
        if condition():
            return
        client.cluster()
    raise AssertionError("waited in vain")


def test_output_is_read_whole_in_part_and_as_it_comes(options):
    script = "echo one; echo two; read line < /dev/null; while :; do echo more; sleep 1; done"
    with running(options) as (_, client):
        client.submit(JobSpec("shop", (shell(script),)))
        tasks_up(client, "shop", 1)
        followed = b""
        with closing(client.logs("shop/web/1", follow=True)) as pieces:
            for piece in pieces:
                followed += piece
                if followed.count(b"more") >= 2:
                    break
        readers = [t for t in threading.enumerate() if t.name == "cube-logs"]
        for reader in readers:  # whoever leaves is not read for any longer
            reader.join(timeout=10)
            assert not reader.is_alive()
        assert followed.startswith(b"one\ntwo\nmore\n")
        assert b"".join(client.logs("shop/web/1")).startswith(b"one\ntwo\n")
        assert b"".join(client.logs("shop/web/1", tail=1)) == b"more\n"


def test_following_ends_with_the_run(options):
    with running(options) as (_, client):
        script = "echo begin; sleep 1; echo end"
        client.submit(JobSpec("shop", (shell(script, "report", kind=Kind.BATCH),)))
        wait(client, lambda: client.task("shop/report/1")["state"] == "running")
        assert b"".join(client.logs("shop/report/1", follow=True)).endswith(b"end\n")
        wait(client, lambda: client.task("shop/report/1")["state"] == "completed")


def test_output_of_a_waiting_task_is_a_clear_error(options):
    with running(options) as (_, client):
        client.submit(JobSpec("shop", (shell("x", "big", memory_mib=1 << 40),)))
        with pytest.raises(ApiProblem, match="has not started") as caught:
            list(client.logs("shop/big/1"))
        assert caught.value.exit_code == 5
        assert "cube explain" in caught.value.remedy


def test_removing_ends_all_and_leaves_nothing(options):
    said: list[str] = []
    cluster = Cluster(options)
    cluster.start()
    try:
        with Client(cluster.url, cluster.token) as client:
            client.submit(JobSpec("shop", (shell(FOREVER, instances=2),)))
            tasks_up(client, "shop", 2)
    finally:
        cluster.stop(rm=True, say=said.append)
    assert said[0] == "stopping 2 tasks"
    with running(options) as (_, client):
        assert client.job("shop")["state"] == "stopped"
        assert client.recovery()["unknown"] == []


# --- the state directory -------------------------------------------------------------------------


def test_token_and_address_are_for_the_owner_only(simulated):
    state = StateDir(simulated.state_dir)
    with running(simulated) as (cluster, _):
        assert state.path.stat().st_mode & 0o777 == 0o700
        assert state.token_path.stat().st_mode & 0o777 == 0o600
        assert state.address() == cluster.url
        token = cluster.token
    assert state.address() is None
    with running(simulated) as (cluster, _):
        assert cluster.token == token
    assert sorted(p.name for p in state.path.iterdir()) == ["store.lock", "store.sqlite", "token"]


def test_the_cluster_keeps_its_id_when_its_directory_moves(simulated, tmp_path):
    with running(simulated) as (cluster, _):
        first = cluster.id
    assert first == StateDir(simulated.state_dir).cluster_id
    moved = tmp_path / "moved"
    shutil.move(simulated.state_dir, moved)
    with running(ClusterOptions(moved, engine="simulated")) as (cluster, client):
        assert cluster.id == client.cluster()["cluster"] == first
    assert StateDir(moved).cluster_id != first


def refuses(options: ClusterOptions, exit_code: int, text: str) -> None:
    with pytest.raises(ClusterError, match=text) as caught:
        Cluster(options).start()
    assert caught.value.exit_code == exit_code
    _, remedy = str(caught.value).split("\n", 1)
    assert remedy


def test_a_second_cluster_on_the_same_state_is_refused(simulated):
    with running(simulated) as (cluster, client):
        refuses(simulated, 6, "Another Cube runs here")
        assert client.health()["status"] == "ok"
        assert cluster.state.address() == cluster.url


def test_a_taken_port_is_refused_and_nothing_stays(simulated):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = Listen("127.0.0.1", taken.getsockname()[1])
        options = ClusterOptions(simulated.state_dir, engine="simulated", listen=listen)
        refuses(options, 6, "in use")
    assert not simulated.state_dir.exists()
    with running(simulated) as (_, client):
        assert client.cluster()["epoch"] == 1


def test_a_directory_that_cannot_be_written_to_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    refuses(ClusterOptions(file / "state", engine="simulated"), 7, "cannot be written to")


def test_a_start_in_vain_keeps_what_was_there(simulated, tmp_path):
    with running(simulated) as (_, client):
        client.submit(JobSpec("shop", (TaskSpec("web", "image"),)))
    before = sorted(simulated.state_dir.iterdir())
    refuses(replace(simulated, engine="docker", docker_url="unix:///nowhere.sock"), 1, "no Docker")
    assert sorted(simulated.state_dir.iterdir()) == before
    with running(simulated) as (_, client):
        assert client.job("shop")["version"] == 1


def test_a_start_in_vain_leaves_other_files_alone(simulated):
    simulated.state_dir.mkdir()
    (simulated.state_dir / "notes").write_text("mine")
    refuses(replace(simulated, engine="docker", docker_url="nonsense"), 1, "not the address of")
    assert [p.name for p in simulated.state_dir.iterdir()] == ["notes"]


def test_a_store_of_another_program_is_refused(simulated):
    simulated.state_dir.mkdir()
    (simulated.state_dir / "store.sqlite").write_bytes(b"junk" * 1000)
    refuses(simulated, 1, "not a database")


@pytest.mark.parametrize(
    ("fields", "exit_code", "text"),
    [
        ({"workers": 0}, 2, "0 workers"),
        ({"policy": "epvn"}, 2, "did you mean epvm"),
        ({"listen": Listen("0.0.0.0", 0)}, 2, "TLS"),
        ({"engine": "docker", "docker_url": "unix:///nowhere.sock"}, 1, "--engine process"),
        ({"record": Path("/nowhere/file")}, 1, "nowhere"),
    ],
)
def test_a_bad_option_is_refused_and_nothing_stays(simulated, fields, exit_code, text):
    fields = {"engine": "simulated"} | fields
    with pytest.raises(ClusterError) as caught:
        Cluster(ClusterOptions(simulated.state_dir, **fields)).start()
    assert caught.value.exit_code == exit_code
    assert text in str(caught.value)
    assert str(caught.value).count("--engine process") <= 1
    assert not simulated.state_dir.exists()
    with running(simulated):
        pass


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        (":8080", "127.0.0.1", 8080),
        ("localhost", "localhost", 0),
        ("[::1]:9", "::1", 9),
        ("[::1]", "::1", 0),
        ("127.3.2.1:0", "127.3.2.1", 0),
    ],
)
def test_addresses_of_this_machine_are_read(text, host, port):
    assert Listen.parse(text) == Listen(host, port)


@pytest.mark.parametrize(
    "text", ["0.0.0.0:1", "10.1.2.3:80", "example.org:80", "[::]:1", "x:99999"]
)
def test_other_addresses_are_refused(text):
    with pytest.raises(ListenError) as caught:
        Listen.parse(text).check_loopback()
    assert caught.value.exit_code == 2


def test_nothing_is_served_to_a_network_without_tls(tmp_path):
    cluster = Cluster(ClusterOptions(tmp_path, engine="simulated", listen=Listen("0.0.0.0", 0)))
    with pytest.raises(ClusterError, match="needs TLS") as caught:
        cluster.start()
    assert caught.value.exit_code == 2


def test_a_manager_that_is_gone_does_not_keep_the_cluster_from_ending(simulated, monkeypatch):
    monkeypatch.setattr("cube.api.backend.ANSWER_SECONDS", 0.01)
    cluster = Cluster(simulated)
    cluster.start()
    cluster.world.stop_actor(MANAGER)
    with pytest.raises(ClusterError, match="could not be stopped"):
        cluster.stop(rm=True)
    assert cluster.state.address() is None
    monkeypatch.undo()
    with running(simulated):
        pass


def test_a_recorded_run_replays_the_same(tmp_path):
    record = tmp_path / "record.jsonl"
    options = ClusterOptions(tmp_path / "state", workers=2, engine="simulated", record=record)
    with running(options) as (_, client):
        client.submit(JobSpec("shop", (TaskSpec("web", "image", instances=5),)))
        tasks_up(client, "shop", 5)
        client.stop("shop")
        wait(client, lambda: client.job("shop")["state"] == "stopped")
    assert record.stat().st_mode & 0o777 == 0o600
    assert replay(record, revive) == []
