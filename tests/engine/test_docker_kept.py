"""Ended containers that nobody wants any more: how long they stay, and what they are still for."""

from __future__ import annotations

import time

import pytest
from docker.api.client import APIClient
from engine_bench import Bench, exits, forever, key_of, output, shell

from cube.engine.docker.kept import KEPT_SECONDS, KeptContainers
from cube.messages import Exited, RunKey, Started

pytestmark = pytest.mark.docker


@pytest.fixture
def bench(docker_bench) -> Bench:
    return docker_bench()


def discarded(bench: Bench, key: RunKey) -> RunKey:
    bench.run(shell(f"echo run {key.restart}"), key)
    bench.next(Exited, key)
    bench.discard(key)
    assert bench.list().found == ()
    return key


def names(api: APIClient, cluster: str) -> list[str]:
    filters = {"label": [f"cube.cluster={cluster}"]}
    return sorted(c["Names"][0] for c in api.containers(all=True, filters=filters))


def test_the_last_two_of_a_task_stay(bench: Bench, docker_api: APIClient, cluster: str) -> None:
    _, second, third = (discarded(bench, key_of(restart=i)) for i in range(3))
    kept = [name.rpartition(".a1.")[2] for name in names(docker_api, cluster)]
    assert kept == ["r1.kept", "r2.kept"]
    assert output(bench, second) == "run 1\n"
    assert output(bench, third) == "run 2\n"
    network = docker_api.networks(filters={"label": [f"cube.cluster={cluster}"]})
    assert network == []  # nobody needs it


def test_its_run_s_name_is_free(bench: Bench, docker_api: APIClient, cluster: str) -> None:
    key = discarded(bench, key_of())
    bench.run(forever(), key)
    bench.next(Started, key)
    bench.kill(key, 0.0)
    bench.next(Exited, key)
    bench.discard(key)
    bench.list()
    assert len(names(docker_api, cluster)) == 1  # the newer one of that name


def test_a_day_later_it_goes(bench: Bench, docker_api: APIClient, cluster: str) -> None:
    discarded(bench, key_of())
    now = [time.time()]
    later = KeptContainers(docker_api, cluster, "node-1", lambda: now[0])  # a worker restarted
    later.tidy()
    assert len(names(docker_api, cluster)) == 1
    now[0] += KEPT_SECONDS
    later.tidy()
    assert names(docker_api, cluster) == []


def test_other_nodes_keep_their_own(bench: Bench, docker_api: APIClient, cluster: str) -> None:
    discarded(bench, key_of())
    other = KeptContainers(docker_api, cluster, "node-2", lambda: time.time() + KEPT_SECONDS)
    other.tidy()
    assert len(names(docker_api, cluster)) == 1


def test_a_node_keeps_only_so_many(bench: Bench, docker_api: APIClient, cluster: str) -> None:
    for index in range(2):
        key = key_of(f"shop/web/{index + 1}")
        bench.run(exits(0), key)
        bench.next(Exited, key)
        bench.discard(key)
    bench.list()
    assert len(names(docker_api, cluster)) == 2
    KeptContainers(docker_api, cluster, "node-1", at_most=1).tidy()
    (kept,) = names(docker_api, cluster)
    assert kept.endswith("shop.web.2.7.a1.r0.kept")  # the one that ended last
