"""What tasks say on other machines, as it comes to their user."""

from __future__ import annotations

import pytest

from cube.client import ApiProblem
from cube.engine import remove_cluster_remains
from cube.spec import JobSpec, RestartPolicy, TaskSpec
from tests.hosting.hosts import client_of, cluster, manager_at, worker_at
from tests.waiting import wait


def talker(script: str) -> JobSpec:
    command, once = ("sh", "-c", script), RestartPolicy("none")
    return JobSpec("shop", (TaskSpec("web", "image", command=command, restart=once),))


def state(client) -> str:
    return client.task("shop/web/1")["state"]


def test_output_comes_from_another_machine(tmp_path) -> None:
    with cluster(tmp_path, "one", engine="process") as (_, client):
        client.submit(talker("echo one; echo two; exec sleep 1000"))
        wait(client, lambda: state(client) == "running")
        following = client.logs("shop/web/1", follow=True)
        seen = b""
        while seen != b"one\ntwo\n":
            seen += next(following)
        following.close()
        assert b"".join(client.logs("shop/web/1", tail=1)) == b"two\n"
        client.stop("shop")
        wait(client, lambda: state(client) == "stopped")
        with pytest.raises(ApiProblem) as caught:
            list(client.logs("shop/web/1", previous=True))
        assert caught.value.status == 404


def test_following_ends_with_the_run(tmp_path) -> None:
    with cluster(tmp_path, "one", engine="process") as (_, client):
        client.submit(talker("echo one; exec sleep 0.3"))
        wait(client, lambda: state(client) != "pending")
        wait(client, lambda: state(client) != "scheduled")
        assert b"".join(client.logs("shop/web/1", follow=True)) == b"one\n"


def test_worker_that_is_away_is_named(tmp_path) -> None:
    with manager_at(tmp_path / "manager") as manager, client_of(manager) as client:
        with worker_at(tmp_path / "one", manager, "one", engine="process") as worker:
            client.submit(talker("exec sleep 1000"))
            wait(client, lambda: state(client) == "running")
        try:
            with pytest.raises(ApiProblem, match="worker of one cannot be asked") as caught:
                list(client.logs("shop/web/1"))
        finally:
            engine = worker.directory.engine_path
            remove_cluster_remains("process", cluster=worker.cluster, state_dir=engine)
        assert caught.value.status == 503


def test_simulated_tasks_say_nothing(tmp_path) -> None:
    with cluster(tmp_path, "one") as (_, client):
        client.submit(talker("echo"))
        wait(client, lambda: state(client) == "running")
        with pytest.raises(ApiProblem, match="simulated engine has no output"):
            list(client.logs("shop/web/1"))
