"""Images that Cube pulled go when they are in the way; nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import busybox_tar
from docker.api.client import APIClient
from docker.errors import ImageNotFound
from engine_bench import IMAGE, Bench, forever, key_of
from image_registry import Registry

from cube.engine.docker.pulled import UNUSED_SECONDS, PulledImages
from cube.messages import Exited, Started

pytestmark = pytest.mark.docker


class Disk:
    """A clock and a disk that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.share = 0.9


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def pulled(docker_api: APIClient, tmp_path: Path, disk: Disk) -> PulledImages:
    return again(docker_api, tmp_path, disk)


def again(api: APIClient, path: Path, disk: Disk) -> PulledImages:
    return PulledImages(api, path / "images.json", lambda: disk.share, lambda: disk.now)


def is_there(api: APIClient, image: str) -> bool:
    try:
        api.inspect_image(image)
    except ImageNotFound:
        return False
    return True


@pytest.fixture
def image(docker_api: APIClient) -> Iterator[str]:
    """Under a name that only this test has given, and used by nobody else."""
    name = "cube-test/tidy:1"
    docker_api.import_image_from_data(busybox_tar(), repository="cube-test/tidy", tag="1")
    yield name
    if is_there(docker_api, name):
        docker_api.remove_image(name)


def test_an_image_goes_once_it_is_unused_for_a_day_and_the_disk_is_full(
    docker_api: APIClient, tmp_path: Path, disk: Disk, pulled: PulledImages, image: str
) -> None:
    docker_api.tag(image, "cube-test/tidy", "others", force=True)
    try:
        pulled.add(image)
        disk.now += UNUSED_SECONDS - 1
        pulled.sweep()
        assert is_there(docker_api, image), "not for long enough"
        disk.now, disk.share = disk.now + 1, 0.8
        pulled.sweep()
        assert is_there(docker_api, image), "there is room"
        disk.share = 0.81
        later = again(docker_api, tmp_path, disk)  # after a restart of the worker
        later.sweep()
        assert not is_there(docker_api, image)
        assert is_there(docker_api, "cube-test/tidy:others"), "another's name of the same image"
    finally:
        docker_api.remove_image("cube-test/tidy:others")


def test_use_by_anybody_counts(
    docker_api: APIClient, docker_bench, disk: Disk, pulled: PulledImages, image: str
) -> None:
    bench: Bench = docker_bench()
    pulled.add(image)
    key = bench.run(forever(image=image))
    bench.next(Started)
    disk.now += UNUSED_SECONDS
    pulled.sweep()
    assert is_there(docker_api, image)
    bench.kill(key, 0.0)
    bench.next(Exited)
    bench.engine.purge()
    disk.now += UNUSED_SECONDS - 1
    pulled.sweep()
    assert is_there(docker_api, image), "it was in use until then"
    disk.now += 1
    pulled.sweep()
    assert not is_there(docker_api, image)


def test_a_damaged_record_means_that_images_stay(
    docker_api: APIClient, tmp_path: Path, disk: Disk, pulled: PulledImages, image: str
) -> None:
    pulled.add(image)
    (tmp_path / "images.json").write_text("[")
    disk.now += UNUSED_SECONDS
    again(docker_api, tmp_path, disk).sweep()
    assert is_there(docker_api, image)


def test_the_engine_keeps_a_record_of_what_it_pulled_and_of_nothing_else(
    docker_api: APIClient, docker_bench, tmp_path: Path
) -> None:
    bench: Bench = docker_bench()
    registry = Registry(busybox_tar())
    brought, known = registry.image("known:1"), registry.image("known:2")
    try:
        docker_api.tag(IMAGE, f"{registry.host}/known", "2", force=True)
        for number, image in enumerate((brought, known)):
            key = bench.run(forever(image=image, pull_policy="always"), key_of(restart=number))
            bench.next(Started, key)
        (record,) = (tmp_path / "docker").rglob("*.json")
        assert brought in record.read_text()
        assert known not in record.read_text()
    finally:
        registry.close()
        bench.engine.purge()
        for image in (brought, known):
            docker_api.remove_image(image, force=True)
