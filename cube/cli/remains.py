"""What the command line itself asks a Docker engine: can it be used, and is anything left?

Read-only but for pulling an image. Everything that runs is started and removed by engines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cube.cli.exits import note
from cube.cli.tables import plural

if TYPE_CHECKING:
    from docker.api.client import APIClient


@contextmanager
def _docker(url: str | None) -> Iterator[tuple[APIClient, APIClient]]:
    """Clients of the engine, for calls and for long ones."""
    from cube.engine.docker.connect import DEFAULT_URL, connect

    clients = connect(url or DEFAULT_URL)
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


def why_not_docker(url: str | None, images: Sequence[str]) -> str:
    """Why tasks of these images cannot run on Docker here; empty: they can."""
    from cube.engine import EngineUnavailable

    try:
        with _docker(url) as (calls, streams):
            for image in images:
                if why := _why_no_image(calls, streams, image):
                    return why
    except EngineUnavailable as error:
        return str(error).partition(": ")[0]
    return ""


def _why_no_image(calls: APIClient, streams: APIClient, image: str) -> str:
    """Why an image cannot be had: it is neither here nor can it be pulled."""
    from docker.errors import APIError, DockerException

    from cube.engine.docker.errors import UNREACHABLE
    from cube.engine.docker.images import has_image

    if has_image(calls, image):
        return ""
    note(f"pulling {image}")
    repository, _, tag = image.rpartition(":")
    try:
        streams.pull(repository, tag=tag)
    except (APIError, DockerException, *UNREACHABLE):
        return f"The image {image} is not here and cannot be pulled."
    return "" if has_image(calls, image) else f"The image {image} cannot be pulled."


def left_behind(url: str | None, cluster: str) -> str:
    """What an engine still holds of a cluster, counted."""
    from cube.engine.docker.names import label_filter

    filters = {"label": label_filter(cluster)}
    with _docker(url) as (api, _):
        containers = api.containers(all=True, quiet=True, filters=filters)
        networks = api.networks(filters=filters)
        volumes = api.volumes(filters=filters)["Volumes"] or []
    return ", ".join(
        plural(len(found), word)
        for found, word in ((containers, "container"), (networks, "network"), (volumes, "volume"))
    )
