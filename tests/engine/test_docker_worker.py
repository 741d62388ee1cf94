"""A worker with Docker, as a process of its own: what is killed with it, and what is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cube.client import Client
from cube.engine import remove_cluster_remains
from cube.spec import JobSpec, TaskSpec
from tests.hosting.hosts import alive, client_of, manager_at
from tests.waiting import wait

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker_api")]
SLEEP = TaskSpec("web", "busybox:latest", command=("sleep", "1000"), instances=2, cpu_milli=10)


@contextmanager
def worker(path: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`cube worker` until it is killed, which it is at the end; it says so when it serves."""
    command = [sys.executable, "-m", "cube", "worker", "--state-dir", str(path), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert "serves its manager" in process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def running(client: Client) -> list[str]:
    """The containers of tasks that run."""
    return sorted(t["container"] for t in client.tasks() if t["state"] == "running")


def test_killed_worker_finds_its_containers_again(tmp_path) -> None:
    with manager_at(tmp_path / "manager") as manager, client_of(manager) as client:
        try:
            listen = ("--listen", "127.0.0.1:0")
            join = ("--join", manager.url, "--token", manager.first_join, "--name", "one")
            with worker(tmp_path / "one", *listen, *join) as process:
                client.submit(JobSpec("shop", (SLEEP,)))
                wait(client, lambda: len(running(client)) == 2)
                before = running(client)
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
            with worker(tmp_path / "one", *listen):
                client.scale("shop", {"web": 3})
                wait(client, lambda: len(running(client)) == 3)
                assert set(before) < set(running(client))
                assert {task["restart"] for task in client.tasks()} == {0}
                assert alive(client) == {"one"}
        finally:
            remove_cluster_remains("docker", cluster=manager.cluster, state_dir=tmp_path)
