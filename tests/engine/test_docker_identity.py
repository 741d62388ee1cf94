"""A Docker container is taken for a run only where every label says so; others are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from docker.api.client import APIClient
from engine_bench import IMAGE, Bench, forever, key_of, start

from cube.engine.docker.names import container_name, network_name
from cube.messages import Exited, Started

pytestmark = pytest.mark.docker


@pytest.fixture
def bench(docker_bench) -> Bench:
    return docker_bench()


@pytest.fixture
def foreign(docker_api: APIClient) -> Iterator[list[str]]:
    """Names of containers that are none of Cube's; removed afterwards."""
    names: list[str] = []
    yield names
    for name in names:
        docker_api.remove_container(name, force=True)


def test_a_foreign_container_of_the_same_name_is_not_touched(
    bench: Bench, docker_api: APIClient, cluster: str, foreign: list[str]
) -> None:
    key = key_of()
    name = container_name(cluster, key)
    foreign.append(name)
    docker_api.create_container(IMAGE, ["sleep", "100"], name=name)
    docker_api.start(name)
    before = docker_api.inspect_container(name)
    bench.run(forever(), key)
    exited = bench.next(Exited)
    assert not exited.started
    assert f"the container name {name} is taken" in exited.reason
    bench.kill(key)
    assert bench.next(Exited).reason == "gone"
    bench.discard(key)
    assert bench.list().found == ()
    after = docker_api.inspect_container(name)
    assert (after["Id"], after["State"]) == (before["Id"], before["State"])


def test_another_nodes_container_is_not_touched(bench: Bench, docker_bench) -> None:
    other = docker_bench("node-2")
    key = other.run(forever())
    other.next(Started)
    bench.run(forever(), key)
    assert not bench.next(Exited).started
    bench.kill(key)
    assert bench.next(Exited).reason == "gone"
    bench.discard(key)
    assert bench.list().found == ()
    bench.engine.purge()
    assert [found.key for found in other.list().found if found.running] == [key]


def test_an_unstarted_container_of_the_same_run_is_adopted(
    bench: Bench, docker_api: APIClient
) -> None:
    created = start(bench, docker_api, forever())
    name = created["Name"].lstrip("/")
    docker_api.remove_container(name, force=True)
    bench.next(Exited)
    docker_api.create_container(
        IMAGE, created["Config"]["Cmd"], name=name, labels=created["Config"]["Labels"]
    )
    bench.run(forever())
    adopted = bench.next(Started)
    assert docker_api.inspect_container(adopted.handle)["Name"] == f"/{name}"
    assert len(bench.list().found) == 1


def test_an_older_make_of_the_same_run_is_made_anew(bench: Bench, docker_api: APIClient) -> None:
    old = start(bench, docker_api, forever())
    bench.run(replace(forever(), environment=(("COLOUR", "red"),)), version=2)
    new = docker_api.inspect_container(bench.next(Started).handle)
    assert new["Id"] != old["Id"]
    assert "COLOUR=red" in new["Config"]["Env"]
    assert len(bench.list().found) == 1


def test_an_unstarted_container_that_nobody_wants_goes(bench: Bench, docker_api: APIClient) -> None:
    labels = start(bench, docker_api, forever())["Config"]["Labels"]
    labels = {**labels, "cube.restart": "9"}
    left = docker_api.create_container(IMAGE, ["true"], labels=labels)["Id"]
    assert len(bench.list().found) == 1
    everything = docker_api.containers(all=True, quiet=True)
    assert left not in [container["Id"] for container in everything]


def test_containers_of_another_boot_were_interrupted(bench: Bench, docker_api: APIClient) -> None:
    labels = start(bench, docker_api, forever())["Config"]["Labels"]
    labels = {**labels, "cube.restart": "9", "cube.boot": "an earlier one"}
    docker_api.start(docker_api.create_container(IMAGE, ["true"], labels=labels))
    exited = bench.next(Exited)
    assert (exited.key.restart, exited.interrupted) == (9, True)
    assert exited.reason == "the host restarted"


def test_two_engines_make_one_network(docker_bench, docker_api: APIClient, cluster: str) -> None:
    benches = [docker_bench(f"node-{i}") for i in range(3)]
    keys = [key_of(f"shop/web/{i}") for i in range(3)]
    for bench, key in zip(benches, keys, strict=True):
        bench.run(forever(), key)
    for bench, key in zip(benches, keys, strict=True):
        bench.next(Started, key)
    assert len(docker_api.networks(names=[network_name(cluster, "shop")])) == 1
