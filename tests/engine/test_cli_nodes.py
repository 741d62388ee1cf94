"""`cube node`: what an operator does with nodes, against a real manager and real processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from command_bench import Command, check, cluster_of, command

from cube.client import Client
from cube.cluster import Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    with cluster_of(tmp_path_factory.mktemp("cli") / "state") as made:
        yield made


@pytest.fixture
def cube(cluster: Cluster, capsys, monkeypatch) -> Command:
    monkeypatch.setenv("CUBE_STATE_DIR", str(cluster.state.path))
    monkeypatch.delenv("CUBE_ADDR", raising=False)
    return command(capsys)


def sleeper(cube: Command, name: str, *options: str) -> str:
    """Run a service of one instance; says on which node."""
    done = cube("run", "busybox", "--name", name, *options, "--wait", "--", "sleep", "1000")
    assert done.code == 0, done.err
    return str(cube("status", f"{name}/{name}/1", "-o", "json").json["node"])


def test_a_drain_that_waits_says_how_it_goes(cube):
    where = sleeper(cube, "moved")
    done = cube("node", "drain", where, "--wait", "--timeout", "60s")
    assert done.code == 0, done.err
    assert done.out == f"{where} is draining: 1 task to leave\n{where} is drained\n"
    assert "draining, 1 task left" in done.err
    assert f"{where}  draining" in cube("nodes").out
    assert cube("status", "moved/moved/1", "-o", "json").json["node"] != where
    assert cube("node", "enable", where).out == f"{where} takes new tasks again\n"
    cube("rm", "moved", "--force")


def test_a_drain_that_cannot_end_says_why(cube, tmp_path):
    file = tmp_path / "kept.compose.yaml"
    file.write_text(
        "services: {db: {image: busybox, command: [sleep, '1000'],"
        f" volumes: ['{tmp_path}:{tmp_path}']}}}}\n"
    )
    assert cube("run", "-f", file, "--wait").code == 0
    where = cube("status", "kept/db/1", "-o", "json").json["node"]
    done = cube("node", "drain", where, "--wait", "--timeout", "300ms")
    check(done, 4, f"{where} is not empty", "--deadline")
    assert f"blocked by volume {tmp_path}" in done.err
    assert cube("node", "drain", where, "--deadline", "0", "--wait").code == 0
    cube("node", "enable", where)
    cube("rm", "kept", "--force")


def test_a_plan_says_what_the_drain_then_does(cluster, capfd, monkeypatch, tmp_path):
    """Against real processes. The answer is printed by the simulator's own process."""
    monkeypatch.setenv("CUBE_STATE_DIR", str(cluster.state.path))
    cube = command(capfd)
    file = tmp_path / "many.compose.yaml"
    file.write_text(
        "services: {web: {image: busybox, command: [sleep, '1000'], environment: {A: hunter2},"
        " deploy: {replicas: 3}}, api: {image: busybox, command: [sleep, '1000']}}\n"
    )
    assert cube("run", "-f", file, "--wait").code == 0
    before = places(cube, "many")
    where = before["many/web/1"]
    planned = cube("node", "drain", where, "--plan", "-o", "json")
    assert planned.code == 0, planned.err
    said = {move["task"]: move["after"] for move in planned.json["moves"]}
    assert places(cube, "many") == before
    full = cube("scale", "many/web=300", "--plan")
    assert (full.code, "would wait:" in full.out) == (3, True)
    check(cube("node", "drain", "node-9", "--plan"), 5, "no node node-9", "cube nodes")
    check(cube("scale", "nobody/web=2", "--plan"), 5, "nobody", "cube status")
    assert cube("node", "drain", where, "--plan", "--wait").code == 2
    assert cube("scale", "many/web=2", "--plan", "--wait").code == 2
    assert "hunter2" not in cube("snapshot").out

    assert cube("node", "drain", where, "--wait", "--timeout", "60s").code == 0
    assert cube("wait", "many", "--timeout", "60s").code == 0
    after = places(cube, "many")
    assert len(said) >= 1
    assert said == {task: node for task, node in after.items() if node != before[task]}
    cube("node", "enable", where)
    cube("rm", "many", "--force")


def places(cube: Command, job: str) -> dict[str, str]:
    """Which task is on which node."""
    return {t["id"]: t["node"] for t in cube("status", job, "-o", "json").json["tasks"]}


def test_labels(cube):
    assert cube("node", "label", "node-1", "disk=ssd", "zone=a").code == 0
    assert cube("node", "label", "node-1").out == "disk=ssd\nzone=a\n"
    assert cube("node", "label", "node-1", "--rm", "disk", "--rm", "zone").code == 0
    assert cube("node", "label", "node-1", "-o", "json").json == {}
    check(cube("node", "label", "node-1", "disk"), 2, "disk is no label", "KEY=VALUE")
    check(cube("node", "label", "node-9", "a=b"), 5, "no node node-9", "cube")


def test_words_about_a_node_that_reports_are_refused(cube):
    check(cube("node", "rm", "node-1"), 6, "still reports", "Stop its worker")
    check(cube("node", "lost", "node-1"), 6, "still reports", "cube node drain node-1")
    assert cube("node", "drain", "node-1", "--deadline", "soon").code == 2


def test_what_machines_and_tasks_use(cube, cluster):
    with Client(cluster.url, cluster.token) as client:
        busy = "while :; do :; done"
        cube("run", "busybox", "--name", "busy", "--wait", "--", "sh", "-c", busy)
        look_again(client, lambda: any(u["cpu_milli"] > 50 for u in client.usage()))
    (use,) = cube("top", "tasks", "-o", "json").json
    assert (use["task"], use["needs"]["cpu_milli"]) == ("busy/busy/1", 100)
    assert "busy/busy/1  node-" in cube("top", "tasks", "--once").out
    nodes = cube("top", "nodes", "-o", "json").json
    machine = nodes[0]["machine"]
    assert machine["shared"]
    assert 0 < machine["used"]["memory_mib"] < machine["capacity"]["memory_mib"]
    assert 0 < machine["used"]["disk_mib"] < machine["capacity"]["disk_mib"]
    assert "CPU RESERVED" in cube("top", "nodes").out
    cube("rm", "busy", "--force")


def look_again(client: Client, condition: Callable[[], bool]) -> None:
    """Look again and again, each time after a whole answer of the manager; 60 s at most."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        client.cluster()
