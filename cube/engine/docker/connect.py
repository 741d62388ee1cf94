"""Connects to a Docker engine by URL, and tells what machine it stands for.

Never looks at the user's Docker context: the URL is given.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from docker.api.client import APIClient
from docker.errors import DockerException

from cube.engine import EngineUnavailable
from cube.engine.capacity import MIB, Share, boot_id, free_disk_mib, with_capacity
from cube.engine.docker.errors import UNREACHABLE, unavailable_text
from cube.messages import NodeInfo

DEFAULT_URL = "unix:///var/run/docker.sock"
CALL_SECONDS = 60  # of silence before a call is given up
KNOCK_SECONDS = 5
STREAM_SECONDS = 10 * 365 * 86_400  # streams may be silent for ever
PULL_SECONDS = 600  # of silence before a pull is given up: its registry sends nothing any more


def connect(url: str) -> tuple[APIClient, APIClient]:
    """Two clients of one engine: for calls, and for streams, which may be silent.

    Raises:
        EngineUnavailable: it does not answer, or may not be used.
    """
    if ":" not in url:
        raise EngineUnavailable(
            f"{url} is not the address of a Docker engine: set DOCKER_HOST as in "
            "unix:///var/run/docker.sock or tcp://127.0.0.1:2375, or use --engine process"
        )
    try:
        knock(url)
        calls = APIClient(base_url=url, version="auto", timeout=CALL_SECONDS)
        streams = APIClient(base_url=url, version=calls.api_version, timeout=STREAM_SECONDS)
    except (DockerException, OSError, *UNREACHABLE) as error:
        raise EngineUnavailable(unavailable_text(url, error)) from error
    return calls, streams


class _PullClient(APIClient):
    """The library's own pull waits without end, whatever time-out its client has."""

    def send(self, request: Any, **options: Any) -> Any:
        return super().send(request, **{**options, "timeout": PULL_SECONDS})


def for_pulls(url: str, calls: APIClient) -> APIClient:
    """Another client of the engine of `calls`, which gives up a pull that has stalled."""
    return _PullClient(base_url=url, version=calls.api_version)


def knock(url: str) -> None:
    """Does the engine take connections? A stopping one does not, while it still tells events.

    Raises:
        OSError: nothing listens there, or it may not be used.
    """
    where = urlsplit(url)
    if is_local(url):
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(KNOCK_SECONDS)
            door.connect(where.path)
    elif where.hostname and where.port:
        socket.create_connection((where.hostname, where.port), KNOCK_SECONDS).close()


def root_of(api: APIClient) -> str:
    """Where the engine keeps its data; tasks and images fill the file system there."""
    return str(api.info().get("DockerRootDir", ""))


def describe(api: APIClient, url: str, info: NodeInfo, share: Share) -> NodeInfo:
    """`info` with the engine's capacity and identity.

    The disk is what is free where the engine keeps its data; of an engine on another machine
    that is unknown, and counts as none.
    """
    about: dict[str, Any] = api.info()
    local = is_local(url)
    disk = free_disk_mib(about.get("DockerRootDir", "")) if local else 0
    sized = with_capacity(info, about["NCPU"] * 1000, about["MemTotal"] // MIB, disk, share)
    return replace(
        sized,
        host=str(about["ID"]),
        engine="docker",
        boot_id=(boot_id() if local else "") or str(about["ID"]),
    )


def is_local(url: str) -> bool:
    """Does the engine run on this machine?"""
    return url.startswith("unix://")
