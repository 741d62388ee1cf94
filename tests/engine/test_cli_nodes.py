"""`cube node`: what an operator does with nodes, against a real manager and real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from command_bench import Command, check, cluster_of, command

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
