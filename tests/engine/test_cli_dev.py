"""`cube dev` and `cube demo` as processes of their own: signals, `kill -9`, what is left behind."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from command_bench import command, process, remove_all

from cube.client import Client

FOREVER = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dev_starts_tells_and_stops(tmp_path, capsys, monkeypatch, number):
    state = tmp_path / "state"
    with process("dev", "--engine", "simulated", "--state-dir", state) as dev:
        dev.wait_for("Ctrl-C")
        monkeypatch.setenv("CUBE_STATE_DIR", str(state))
        cube = command(capsys)
        assert cube("run", "busybox", "--name", "web", "--wait").code == 0
        said = dev.wait_for("web/web/1 runs on node-")
        assert f"export CUBE_STATE_DIR={state}" in said
        with process("events", "-f", CUBE_STATE_DIR=str(state)) as events:
            events.wait_for("web/web/1 runs on node-")
            assert dev.end(number) == 0
            assert events.end() == 0
            assert events.said.endswith("the manager has stopped\n")
        assert "stopping" in dev.said
    assert not (state / "address").exists()
    assert cube("status").code == 8


def test_a_second_signal_ends_dev_at_once(tmp_path, capsys, monkeypatch):
    state = tmp_path / "state"
    with process("dev", "--engine", "process", "--rm", "--state-dir", state) as dev:
        dev.wait_for("Ctrl-C")
        monkeypatch.setenv("CUBE_STATE_DIR", str(state))
        stubborn = "trap '' TERM; while :; do sleep 1; done"
        done = command(capsys)(
            "run", "busybox", "--name", "deaf", "--wait", "--", "sh", "-c", stubborn
        )
        assert done.code == 0, done.err
        dev.signal(signal.SIGTERM)
        dev.wait_for("stopping")
        assert dev.end(signal.SIGTERM) == 130
        assert "stopped at once" in dev.said
    remove_all("process", state)


def test_what_runs_outlives_a_killed_dev(docker_api, tmp_path, capsys, monkeypatch):
    state = tmp_path / "state"
    monkeypatch.setenv("CUBE_STATE_DIR", str(state))
    cube = command(capsys)
    try:
        with process("dev") as dev:
            dev.wait_for("Ctrl-C")
            args = ("--replicas", 10, "--memory", "8M", "--cpus", "0.01", "--wait")
            done = cube("run", "busybox:latest", "--name", "ten", *args, "--", "sh", "-c", FOREVER)
            assert done.code == 0, done.err
            before = cube("status", "-o", "json").json
            dev.end(signal.SIGKILL)
        with process("dev", "--rm") as dev:
            dev.wait_for("Ctrl-C")
            with Client((state / "address").read_text().strip(), token(state)) as client:
                for _ in client.follow_events():
                    if sum(t["ready"] for t in client.tasks()) == 10:
                        break
            after = cube("status", "-o", "json").json
            ids = {t["container"] for t in after["tasks"]}
            assert ids == {t["container"] for t in before["tasks"]}
            assert {t["restart"] for t in after["tasks"]} == {0}
            assert after["cluster"]["revision"] >= before["cluster"]["revision"]
            listed = docker_api.containers(filters={"label": f"cube.cluster={after_id(after)}"})
            assert {c["Id"][:12] for c in listed} == {i[:12] for i in ids}
            assert dev.end(signal.SIGTERM) == 0
        left = docker_api.containers(all=True, filters={"label": f"cube.cluster={after_id(after)}"})
        assert left == []
    finally:
        remove_all("docker", state)


def token(state: Path) -> str:
    return (state / "token").read_text().strip()


def after_id(seen: dict) -> str:
    return seen["cluster"]["cluster"]


def test_the_demo_on_docker_leaves_nothing(docker_api):
    with process("demo") as demo:
        assert demo.end() == 0, demo.said
    assert "3 nodes on Docker" in demo.said
    assert "shop version 1 is running" in demo.said
    assert "lowest score" in demo.said
    assert "shop/report/1  | report: all is well\n" in demo.said
    assert demo.said.endswith("left behind: 0 containers, 0 networks, 0 volumes\n")


def test_the_demo_without_docker_runs_processes_and_says_so(tmp_path):
    nowhere = f"unix://{tmp_path}/none.sock"
    with process("demo", DOCKER_HOST=nowhere, TMPDIR=str(tmp_path)) as demo:
        assert demo.end() == 0, demo.said
    assert "no Docker engine answers" in demo.said
    assert "plain processes" in demo.said
    assert "shop/report/1  completed" in demo.said
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_the_demo_cleans_up(tmp_path):
    with process("demo", "--engine", "process", TMPDIR=str(tmp_path)) as demo:
        demo.wait_for("shop/worker/1  running")
        assert demo.end(signal.SIGINT) == 130
    assert "interrupted; cleaning up" in demo.said
    assert list(tmp_path.iterdir()) == []
