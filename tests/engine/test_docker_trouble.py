"""What the Docker engine tells when images are missing, or when it goes away itself."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import DOCKER_URL, busybox_tar
from docker.api.client import APIClient
from engine_bench import Bench, forever, shell
from engine_proxy import Proxy
from image_registry import Registry

from cube.engine import EngineUnavailable, NoSuchRun, make_engine
from cube.messages import EngineDown, Exited, Listed, Progress, Started

pytestmark = pytest.mark.docker


@pytest.fixture
def bench(docker_bench) -> Bench:
    return docker_bench()


@pytest.fixture
def proxy(tmp_path: Path, docker_api: APIClient) -> Iterator[Proxy]:
    made = Proxy(tmp_path / "docker.sock", DOCKER_URL.removeprefix("unix://"))
    yield made
    if (tmp_path / "docker.sock").exists():
        made.cut()


@pytest.fixture
def proxied(proxy: Proxy, docker_bench) -> Bench:
    return docker_bench(url=proxy.url)


# --- images ------------------------------------------------------------------------------


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


# --- the engine itself -------------------------------------------------------------------


def test_an_engine_that_goes_away_and_comes_back(proxied: Bench, proxy: Proxy) -> None:
    key = proxied.run(forever())
    handle = proxied.next(Started).handle
    proxy.cut()
    assert "does not answer" in proxied.next(EngineDown).reason
    proxy.join()
    (found,) = proxied.next(Listed).found
    assert (found.key, found.running, found.handle) == (key, True, handle)
    proxied.kill(key)
    proxied.next(Exited)


def test_an_exit_during_an_outage_is_told_after_it(
    proxied: Bench, proxy: Proxy, docker_api: APIClient
) -> None:
    proxied.run(forever())
    handle = proxied.next(Started).handle
    proxy.cut()
    proxied.next(EngineDown)
    docker_api.kill(handle)
    docker_api.wait(handle)
    proxy.join()
    (found,) = proxied.next(Listed).found
    assert (found.running, found.exit_code) == (False, 137)
    assert not found.interrupted  # the engine itself never stopped
    assert proxied.nothing_more(Exited)


def test_no_engine(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/none.sock"
    with pytest.raises(EngineUnavailable, match="start Docker, or use --engine process"):
        make_engine("docker", cluster="c", node="n", emit=print, state_dir=tmp_path, docker_url=url)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_no_permission(tmp_path: Path, proxy: Proxy) -> None:
    path = Path(proxy.url.removeprefix("unix://"))
    path.chmod(0o600)
    failure: list[Exception] = []

    def become_nobody_and_connect() -> None:
        os.setresuid(65534, 65534, 0)
        try:
            make_engine(
                "docker",
                cluster="c",
                node="n",
                emit=print,
                state_dir=tmp_path,
                docker_url=proxy.url,
            )
        except EngineUnavailable as error:
            failure.append(error)
        finally:
            os.setresuid(0, 0, 0)

    become_nobody_and_connect()
    assert "no permission" in str(failure[0])


# --- logs --------------------------------------------------------------------------------


def test_following_a_log_ends_when_told(bench: Bench) -> None:
    key = bench.run(shell("echo hello; sleep 100"))
    bench.next(Started)
    stop = threading.Event()
    chunks = []
    for chunk in bench.engine.logs(key.uid, follow=True, stop=stop):
        chunks.append(chunk)
        stop.set()
    assert b"".join(chunks) == b"hello\n"


def test_logs_of_nothing(bench: Bench) -> None:
    with pytest.raises(NoSuchRun, match="shop/web/1@7"):
        bench.engine.logs("shop/web/1@7")
