"""The command line on Docker: what `docker ps` shows, what an operator does to it, what survives.

Everything carries the cluster id of its own state directory, and goes with it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from command_bench import PATIENCE_SECONDS, Command, Process, command, process, remove_all, until
from docker.api.client import APIClient

from cube.client import Client
from cube.state_dir import StateDir

FOREVER = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"
SMALL = ("--memory", "8M", "--cpus", "0.01")
SHOP = """\
name: shop
services:
  web:
    image: {web}
    command: [sh, -c, "{loop}"]
    labels: {{team: blue}}
    deploy:
      replicas: 2
      resources: {{limits: {{cpus: "0.05", memory: 16M}}}}
  side:
    image: busybox:latest
    command: [sh, -c, "{loop}"]
    deploy: {{resources: {{limits: {{cpus: "0.02", memory: 8M}}}}}}
    x-cube: {{restart: {{attempts: 5, delay: 0s}}}}
  report:
    image: busybox:latest
    command: [sh, -c, "echo all is well"]
    deploy: {{mode: replicated-job, resources: {{limits: {{cpus: "0.02", memory: 8M}}}}}}
"""


@pytest.fixture
def state(tmp_path: Path, docker_api: APIClient) -> Iterator[Path]:
    """A state directory whose containers are removed afterwards."""
    yield tmp_path / "state"
    remove_all("docker", tmp_path / "state")


@pytest.fixture
def cube(state: Path, capsys, monkeypatch) -> Command:
    monkeypatch.setenv("CUBE_STATE_DIR", str(state))
    monkeypatch.delenv("CUBE_ADDR", raising=False)
    return command(capsys)


@contextmanager
def dev(state: Path, *args: object) -> Iterator[Process]:
    """`cube dev` with three nodes that take tasks."""
    with process("dev", "--workers", 3, "--state-dir", state, *args) as running:
        running.wait_for("Ctrl-C")
        wait(state, lambda client: sum(node["open"] for node in client.nodes()) == 3)
        yield running


def wait(state: Path, condition: Callable[[Client], bool]) -> None:
    address, token = (StateDir(state).address(), StateDir(state).token())
    assert address is not None
    assert token is not None
    with Client(address, token) as client:
        until(client, lambda: condition(client))


def containers(api: APIClient, state: Path, **options: Any) -> dict[str, str]:
    """Short ids of a cluster's containers by task, but for those that nobody wants any more."""
    filters = {"label": f"cube.cluster={StateDir(state).cluster_id}"}
    found = api.containers(filters=filters, **options)
    wanted = [c for c in found if not c["Names"][0].endswith(".kept")]
    return {c["Labels"]["cube.task"].partition("@")[0]: c["Id"][:12] for c in wanted}


def told(cube: Command) -> dict[str, str]:
    """The same, as `cube status` tells it."""
    tasks = cube("status", "-o", "json").json["tasks"]
    return {t["id"]: t["container"][:12] for t in tasks if t["state"] == "running"}


def run_ten(cube: Command) -> None:
    done = cube(
        "run", "busybox:latest", "--name", "ten", "--replicas", 10, *SMALL, "--wait",
        "--", "sh", "-c", FOREVER,
    )  # fmt: skip
    assert done.code == 0, done.err


@contextmanager
def foreign(api: APIClient, **labels: str) -> Iterator[str]:
    """A container that is none of ours."""
    made = api.create_container("busybox:latest", ["sleep", "1000"], labels=labels)["Id"]
    try:
        api.start(made)
        yield made
    finally:
        api.remove_container(made, force=True)


def has_started_at(api: APIClient, container: str) -> str:
    found = api.inspect_container(container)["State"]
    assert found["Running"]
    return str(found["StartedAt"])


def test_a_job_as_docker_sees_it(state, cube, docker_api, tmp_path):
    file, loop = tmp_path / "shop.yaml", FOREVER.replace("$", "$$")
    file.write_text(SHOP.format(web="busybox:latest", loop=loop))
    docker_api.tag("busybox:latest", "cube-test/busybox", "two")
    try:
        with dev(state) as running:
            assert cube("run", "-f", file, "--wait").code == 0
            before = containers(docker_api, state)
            assert before == told(cube)
            web = docker_api.inspect_container(before["shop/web/1"])
            assert web["HostConfig"]["Memory"] == 16 << 20
            assert web["HostConfig"]["NanoCpus"] == 50_000_000
            assert web["Config"]["Labels"]["team"] == "blue"

            assert cube("logs", "shop/report/1").out == "all is well\n", "it has ended"
            assert cube("run", "-f", file, "--wait").out.startswith("shop is unchanged")
            assert containers(docker_api, state) == before

            file.write_text(SHOP.format(web="cube-test/busybox:two", loop=loop))
            changed = cube("run", "-f", file, "--wait")
            assert "image: busybox:latest -> cube-test/busybox:two" in changed.out
            after = containers(docker_api, state)
            assert after.keys() == before.keys()
            assert [t for t in after if after[t] == before[t]] == ["shop/side/1"]

            assert cube("stop", "shop").code == 0
            assert cube("logs", "shop/report/1").out == "all is well\n", "for a day"
            assert running.end(signal.SIGTERM) == 0
        assert containers(docker_api, state, all=True) == {}
    finally:
        docker_api.remove_image("cube-test/busybox:two", noprune=True)


def test_a_killed_container_is_noticed_and_started_again(state, cube, docker_api, tmp_path):
    file = tmp_path / "shop.yaml"
    file.write_text(SHOP.format(web="busybox:latest", loop=FOREVER.replace("$", "$$")))
    with dev(state, "--rm") as running:
        assert cube("run", "-f", file, "--wait").code == 0
        before = containers(docker_api, state)
        docker_api.kill(before["shop/side/1"])
        killed_at = docker_api.wait(before["shop/side/1"])
        assert killed_at["StatusCode"] == 137
        wait(state, lambda client: client.task("shop/side/1")["restart"] == 1)
        wait(state, lambda client: client.task("shop/side/1")["ready"])
        after = containers(docker_api, state)
        assert after == told(cube)
        assert [t for t in after if after[t] != before[t]] == ["shop/side/1"]
        assert "shop/side/1 ended on node-" in cube("events", "--job", "shop").out
        assert running.end(signal.SIGTERM) == 0


def test_nothing_is_removed_when_the_state_directory_is_gone(
    state, cube, docker_api, tmp_path, monkeypatch
):
    second = tmp_path / "second"
    sleep = ("run", "busybox:latest", *SMALL, "--wait", "--", "sleep", "999")
    with foreign(docker_api) as plain, foreign(docker_api, **{"cube.cluster": "x"}) as labelled:
        others = [plain, labelled]
        try:
            with dev(second):
                monkeypatch.setenv("CUBE_STATE_DIR", str(second))
                assert cube(*sleep).code == 0
                others += containers(docker_api, second).values()
                monkeypatch.setenv("CUBE_STATE_DIR", str(state))
                since = {c: has_started_at(docker_api, c) for c in others}

                with dev(state) as running:
                    run_ten(cube)
                    before = containers(docker_api, state)
                    assert len(before) == 10
                    running.end(signal.SIGKILL)
                remove_files(state)
                with dev(state) as running:
                    wait(state, lambda client: len(client.recovery()["unknown"]) == 10)
                    running.wait_for("ten/ten/10@")
                    found = cube("recover", "-o", "json").json["unknown"]
                    end = time.monotonic() + PATIENCE_SECONDS
                    while not all(u["image"] for u in found):  # told with the next whole reports
                        assert time.monotonic() < end
                        found = cube("recover", "-o", "json").json["unknown"]
                    assert {u["container"][:12] for u in found} == set(before.values())
                    assert "10 containers are unknown" in cube("status").err
                    assert containers(docker_api, state) == before
                    done = cube("recover", "ten/ten/10", "--remove")
                    assert done.out == "1 unknown container removed\n"
                    assert cube("recover", "--adopt").out == "9 unknown containers adopted\n"
                    assert cube("recover").out == "no unknown containers\n"
                    assert cube("wait", "ten", "--timeout", "60s").code == 0
                    run_ten(cube)
                    after = containers(docker_api, state, all=True)
                    assert before.pop("ten/ten/10") != after.pop("ten/ten/10")
                    assert after == before
                    running.end(signal.SIGTERM)
                assert {c: has_started_at(docker_api, c) for c in others} == since
        finally:
            remove_all("docker", second)


def remove_files(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
