"""Real engines for tests. What they make carries a cluster id of its own, and is removed."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker.api.client import APIClient
from docker.errors import DockerException, ImageNotFound
from engine_bench import IMAGE, Bench, Simulated

from cube.engine import make_engine, remove_cluster_remains
from cube.engine.simulated import SimulatedEngine
from cube.messages import NodeInfo

DOCKER_URL = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
BUSYBOX = Path("/bin/busybox")


def unusable(reason: str) -> None:
    """Skip what needs it, except where everything has to run."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def busybox_tar() -> bytes:
    """A root file system that consists of a static busybox."""
    names = subprocess.run(
        [BUSYBOX, "--list"], capture_output=True, text=True, check=True
    ).stdout.split()
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for name in names:
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        for name in ("tmp", "etc"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(directory)
    return data.getvalue()


@pytest.fixture(scope="session")
def docker_api() -> Iterator[APIClient]:
    """A client of an engine that answers and has the test image."""
    try:
        api = APIClient(base_url=DOCKER_URL, version="auto", timeout=60)
    except DockerException as error:
        unusable(f"no Docker engine answers at {DOCKER_URL}: {error}")
    try:
        api.inspect_image(IMAGE)
    except ImageNotFound:
        if not BUSYBOX.exists():
            unusable(f"{BUSYBOX} is missing: install busybox-static")
        repository, _, tag = IMAGE.partition(":")
        api.import_image_from_data(busybox_tar(), repository=repository, tag=tag)
    yield api
    api.close()


@pytest.fixture
def cluster() -> str:
    """The id of a cluster that nobody else has."""
    return uuid.uuid4().hex


MakeBench = Callable[..., Bench]


@pytest.fixture
def docker_bench(docker_api: APIClient, cluster: str, tmp_path: Path) -> Iterator[MakeBench]:
    """Makes benches with a Docker engine; removes all of the cluster afterwards."""
    benches: list[Bench] = []

    def make(node: str = "node-1", url: str = DOCKER_URL) -> Bench:
        def engine(emit):  # type: ignore[no-untyped-def]
            return make_engine(
                "docker", cluster=cluster, node=node, emit=emit, state_dir=tmp_path, docker_url=url
            )

        benches.append(Bench(engine))
        return benches[-1]

    yield make
    for bench in benches:
        bench.engine.close()
    remove_cluster_remains("docker", cluster=cluster, state_dir=tmp_path, docker_url=DOCKER_URL)


@pytest.fixture
def process_bench(cluster: str, tmp_path: Path) -> Iterator[MakeBench]:
    """Makes benches with a process engine; kills all of the cluster afterwards."""
    benches: list[Bench] = []

    def make(node: str = "node-1") -> Bench:
        def engine(emit):  # type: ignore[no-untyped-def]
            return make_engine("process", cluster=cluster, node=node, emit=emit, state_dir=tmp_path)

        benches.append(Bench(engine))
        return benches[-1]

    yield make
    for bench in benches:
        bench.engine.close()
    remove_cluster_remains("process", cluster=cluster, state_dir=tmp_path)


@pytest.fixture
def simulated_bench() -> MakeBench:
    """Makes benches with a simulated engine."""

    def make() -> Bench:
        core = SimulatedEngine(NodeInfo("node-1", 1000, 1000, 1000))  # outlives its worker
        return Bench(lambda emit: Simulated(emit, core))

    return make
