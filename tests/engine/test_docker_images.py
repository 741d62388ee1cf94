"""Images: where they come from, and why they do not."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import busybox_tar
from docker.api.client import APIClient
from engine_bench import IMAGE, Bench, forever, key_of
from image_registry import Registry

from cube.client import Client
from cube.cluster import Cluster, ClusterOptions
from cube.messages import Exited, Progress, Started
from cube.registries import Credential, Unavailable
from cube.spec import JobSpec, TaskSpec
from tests.hosting.hosts import cluster as several_hosts
from tests.waiting import wait

pytestmark = pytest.mark.docker


@pytest.fixture
def bench(docker_bench) -> Bench:
    return docker_bench()


@pytest.fixture
def registry(request: pytest.FixtureRequest) -> Iterator[Registry]:
    made = Registry(busybox_tar(), getattr(request, "param", 200))
    yield made
    made.close()


def failed_start(bench: Bench, image: str, **more: object) -> Exited:
    bench.run(forever(image=image, **more))
    exited = bench.next(Exited)
    assert not exited.started
    assert bench.list().found == ()
    return exited


def test_an_image_that_is_nowhere(bench: Bench, registry: Registry) -> None:
    exited = failed_start(bench, registry.image("nonesuch:1"))
    assert exited.reason.startswith("no such image: ")
    assert "neither on this node nor in its registry" in exited.reason
    assert not exited.retry


@pytest.mark.parametrize("registry", [401, 403], indirect=True)
def test_a_registry_that_refuses(bench: Bench, registry: Registry) -> None:
    exited = failed_start(bench, registry.image("known:1"))
    assert "refuses image" in exited.reason
    assert "docker login" in exited.reason


def test_a_registry_that_does_not_answer(bench: Bench) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        exited = failed_start(bench, f"127.0.0.1:{unused.getsockname()[1]}/known:1")
    assert "its registry does not answer" in exited.reason
    assert exited.retry


def test_an_image_that_may_not_be_pulled(bench: Bench) -> None:
    exited = failed_start(bench, "nonesuch:1", pull_policy="never")
    assert "pull_policy is never" in exited.reason
    assert not exited.retry


def test_an_image_is_pulled_when_missing(
    bench: Bench, registry: Registry, docker_api: APIClient
) -> None:
    image = registry.image("known:1")
    key = bench.run(forever(image=image))
    assert bench.next(Progress) == Progress(key, f"pulling {image}")
    bench.next(Started)
    bench.kill(key, 0.0)
    bench.next(Exited)
    bench.discard(key)
    bench.list()
    docker_api.remove_image(image, force=True)


def test_a_task_whose_image_is_being_pulled_can_be_killed(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        key = bench.run(forever(image=f"127.0.0.1:{silent.getsockname()[1]}/known:1"))
        bench.next(Progress)
        bench.kill(key)
        exited = bench.next(Exited)
    assert (exited.started, exited.reason) == (False, "killed before it started")


def test_a_pull_of_which_nothing_is_heard_is_given_up(
    docker_bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cube.engine.docker.connect.PULL_SECONDS", 0.5)
    bench = docker_bench()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        exited = failed_start(bench, f"127.0.0.1:{silent.getsockname()[1]}/known:1")
    assert "its registry has sent nothing for long" in exited.reason
    assert exited.retry


@pytest.mark.parametrize("registry", [429], indirect=True)
def test_a_registry_that_has_served_enough(bench: Bench, registry: Registry) -> None:
    exited = failed_start(bench, registry.image("known:1"))
    assert "allows no more pulls for now" in exited.reason
    assert exited.retry


def configure(directory: Path, monkeypatch: pytest.MonkeyPatch, **config: object) -> None:
    """What `docker login` would leave, for whoever pulls from now on."""
    monkeypatch.setenv("DOCKER_CONFIG", str(directory))
    (directory / "config.json").write_text(json.dumps(config))


def test_who_logs_in_later_may_pull(
    bench: Bench, docker_api: APIClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(busybox_tar(), login="user:s3cret")
    try:
        image = registry.image("known:1")
        configure(tmp_path, monkeypatch, auths={"other.example": {"auth": "eDp5"}})
        exited = failed_start(bench, image)
        assert ("refuses image" in exited.reason, exited.retry) == (True, False)
        auth = base64.b64encode(b"user:s3cret").decode()
        configure(tmp_path, monkeypatch, auths={registry.host: {"auth": auth}})
        bench.run(forever(image=image), key_of(restart=1))
        bench.next(Started)
        bench.engine.purge()
        docker_api.remove_image(image, force=True)
    finally:
        registry.close()


def test_the_clusters_credential_comes_before_the_nodes_own(
    bench: Bench, docker_api: APIClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(busybox_tar(), login="user:s3cret")
    known: dict[str, Credential] = {}
    bench.engine.use_credentials(known.get)
    try:
        image = registry.image("known:1")
        wrong = base64.b64encode(b"user:wrong").decode()
        configure(tmp_path, monkeypatch, auths={registry.host: {"auth": wrong}})
        exited = failed_start(bench, image)
        assert ("cube registry login" in exited.reason, exited.retry) == (True, False)
        known[registry.host] = Credential("user", "s3cret")
        bench.run(forever(image=image), key_of(restart=1))
        bench.next(Started)
        bench.engine.purge()
        docker_api.remove_image(image, force=True)
    finally:
        registry.close()


def test_a_pull_that_may_have_lacked_a_credential_is_tried_again(bench: Bench) -> None:
    """The manager is away: that a registry refuses is not its last word."""

    def find(registry: str) -> Credential | None:
        raise Unavailable("the manager cannot be asked: nobody answers")

    registry = Registry(busybox_tar(), login="user:s3cret")
    bench.engine.use_credentials(find)
    try:
        exited = failed_start(bench, registry.image("known:1"))
        assert exited.reason.endswith("is not known: the manager cannot be asked: nobody answers")
        assert exited.retry
    finally:
        registry.close()


@pytest.mark.filterwarnings("ignore:docker-credential-nonesuch")
def test_a_credential_helper_that_is_missing(
    bench: Bench, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(tmp_path, monkeypatch, credHelpers={registry.host: "nonesuch"})
    exited = failed_start(bench, registry.image("known:1"))
    assert "the credentials for its registry cannot be read" in exited.reason
    assert not exited.retry


def test_every_start_is_told_which_bytes_it_runs(
    bench: Bench, registry: Registry, docker_api: APIClient
) -> None:
    image = registry.image("known:1")
    bench.run(forever(image=image))
    pin = bench.next(Started).image
    assert pin == f"{registry.host}/known@{registry.digest}"
    (found,) = bench.list().found
    assert found.image == pin
    # Somebody gives the tag to other bytes: what is pinned goes on with the first.
    docker_api.tag(IMAGE, f"{registry.host}/known", "1", force=True)
    again = bench.run(forever(image=image), key_of("shop/web/2"), image=pin)
    started = bench.next(Started, again)
    assert started.image == pin
    assert docker_api.inspect_container(started.handle)["Config"]["Image"] == pin
    # Where they are not, they are pulled.
    bench.engine.purge()
    for name in (image, pin):
        docker_api.remove_image(name, force=True)
    assert bench.next(Started, bench.run(forever(image=image), image=pin)).image == pin
    bench.engine.purge()
    docker_api.remove_image(pin, force=True)


def test_an_image_of_no_registry_is_what_the_node_has_of_it(bench: Bench) -> None:
    started = bench.next(Started, bench.run(forever()))
    assert started.image.startswith("sha256:")
    other = bench.run(forever(), key_of("shop/web/2"), image="sha256:" + "0" * 64)
    assert bench.next(Started, other).image == started.image


def test_who_logs_in_at_the_manager_has_its_nodes_pull(
    docker_api: APIClient, tmp_path: Path
) -> None:
    registry = Registry(busybox_tar(), login="ci:s3cret")
    image = registry.image("known:1")
    job = JobSpec("private", (TaskSpec("web", image, command=("sleep", "1000")),))

    def runs(client: Client) -> None:
        client.log_in(registry.host, "ci", "s3cret")
        client.submit(job)
        wait(client, lambda: client.task("private/web/1")["state"] == "running")

    try:
        with several_hosts(tmp_path / "several", "one", engine="docker") as (_, client):
            runs(client)
        docker_api.remove_image(image, force=True)
        with Cluster(ClusterOptions(tmp_path / "alone")) as alone:
            with Client(alone.url, alone.token) as client:
                runs(client)
            alone.stop(rm=True)
        docker_api.remove_image(image, force=True)
    finally:
        registry.close()
