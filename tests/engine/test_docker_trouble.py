"""What the Docker engine tells when it goes away itself, and of its logs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import DOCKER_URL
from docker.api.client import APIClient
from engine_bench import Bench, forever, shell
from engine_proxy import Proxy

from cube.engine import EngineUnavailable, NoSuchRun, make_engine
from cube.messages import EngineDown, Exited, Listed, Started

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
