"""A Docker engine that is stopped, or crashes, interrupts its tasks: no fault of theirs."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from conftest import busybox_tar
from docker.api.client import APIClient
from engine_bench import IMAGE, forever, key_of
from private_engine import PrivateEngine, why_not

from cube.messages import EngineDown, Exited, Listed, Started

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    # Docker's library leaves a socket open with which it reached no engine, as while one is away.
    pytest.mark.filterwarnings("ignore:unclosed <socket.* family=1,:ResourceWarning"),
]


@pytest.fixture(scope="module")
def engine(docker_api: APIClient) -> Iterator[PrivateEngine]:
    try:
        made = PrivateEngine()
    except RuntimeError as error:
        pytest.skip(f"a second Docker engine does not start here: {error}")
    api = APIClient(base_url=made.url, version="auto")
    api.import_image_from_data(busybox_tar(), repository=IMAGE.split(":")[0], tag="1")
    api.close()
    yield made
    made.close()


def test_a_stop_of_the_engine_interrupts(engine: PrivateEngine, docker_bench) -> None:
    bench = docker_bench(url=engine.url)
    key = bench.run(forever())
    bench.next(Started)
    engine.end(signal.SIGTERM)
    exited = bench.next(Exited)
    assert (exited.key, exited.interrupted) == (key, True)
    assert exited.reason == "the Docker engine was stopped"
    bench.next(EngineDown)
    engine.start()
    (found,) = bench.next(Listed).found
    assert (found.running, found.interrupted) == (False, True)
    bench.engine.purge()


def test_a_crash_of_the_engine_interrupts(engine: PrivateEngine, docker_bench) -> None:
    bench = docker_bench(url=engine.url)
    bench.run(forever(), key_of())
    bench.next(Started)
    engine.end(signal.SIGKILL)
    bench.next(EngineDown)
    engine.start()
    (found,) = bench.next(Listed).found
    assert (found.running, found.interrupted) == (False, True)
    assert found.reason == "the Docker engine restarted"
    assert bench.nothing_more(Exited)
    bench.engine.purge()
