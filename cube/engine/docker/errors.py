"""What an error of the Docker engine means: not reachable, a failed start, a missing image.

Only reads texts and codes. Every text names what was wrong and what to do about it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import requests
import urllib3
from docker.errors import APIError

from cube.spec import TaskSpec

START_ENGINE = "start Docker, or use --engine process"


class Failure(NamedTuple):
    """Why a task could not be started."""

    reason: str
    exit_code: int | None = None
    retry: bool = True


class Unreachable(Exception):
    """The engine does not answer."""


UNREACHABLE = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
    Unreachable,
)
_SILENCE = (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)


def unreachable_reason(error: BaseException) -> str:
    """Why an engine does not answer, in a few words."""
    kinds = {type(cause) for cause in _causes(error)}
    if any(issubclass(kind, PermissionError) for kind in kinds):
        return "permission denied"
    if is_silence(error):
        return "it does not answer in time"
    if any(issubclass(kind, FileNotFoundError) for kind in kinds):
        return "its socket does not exist"
    if any(issubclass(kind, ConnectionRefusedError) for kind in kinds):
        return "nothing listens there"
    return "the connection broke"


def is_silence(error: BaseException) -> bool:
    """Was it given up because nothing came any more?"""
    return any(isinstance(cause, _SILENCE) for cause in _causes(error))


def unavailable_text(url: str, error: Exception) -> str:
    """Why no engine can be used at `url`, and the remedy."""
    reason = unreachable_reason(error)
    if reason == "permission denied":
        return (
            f"no permission to use the Docker engine at {url}: run as a member of the group "
            "that owns its socket (often `docker`), or use --engine process"
        )
    return f"no Docker engine answers at {url} ({reason}): {START_ENGINE}"


def _causes(error: BaseException) -> list[BaseException]:
    """The error and all that it wraps; requests and urllib3 also wrap by argument."""
    found: list[BaseException] = []
    queue: list[object] = [error]
    while queue and len(found) < 50:
        item = queue.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            queue += [item.__cause__, item.__context__, *item.args]
            queue.append(getattr(item, "reason", None))
    return found


def text_of(error: APIError) -> str:
    """The engine's own words."""
    return str(error.explanation or error).strip()


def start_failure(error: APIError, spec: TaskSpec) -> Failure:
    """Why create or start was refused."""
    text = text_of(error)
    if "executable file not found" in text or "no such file or directory" in text:
        match = re.search(r'exec: "([^"]+)"', text)
        if match:
            return Failure(f"no such command: {match[1]}", 127, retry=False)
    if "permission denied" in text and (match := re.search(r'exec: "([^"]+)"', text)):
        return Failure(f"not executable: {match[1]}", 126, retry=False)
    if "No command specified" in text:
        return Failure(f"neither {spec.name} nor its image {spec.image} has a command", None, False)
    if "port is already allocated" in text or "address already in use" in text:
        return Failure(f"{_port(text)} is already in use on this host")
    if "non-overlapping" in text:
        return Failure(
            "the engine has no address range left for another network: remove unused ones "
            "(docker network prune) or widen default-address-pools"
        )
    if "bind source path does not exist" in text:
        path = text.rpartition("bind source path does not exist: ")[2]
        return Failure(f"host path {path} does not exist on this node")
    return Failure(f"the engine refused to start it: {text}")


def _port(text: str) -> str:
    match = re.search(r"(?:Bind for |listen (?P<protocol>tcp|udp)\d? )\S*?:(?P<port>\d+)", text)
    return f"port {match['port']}" if match else "a host port"


def stalled_failure(image: str) -> Failure:
    """A pull of which nothing has been heard for long."""
    return Failure(
        f"image {image} could not be pulled: its registry has sent nothing for long: see that this "
        "node reaches it (docker pull)"
    )


def pull_failure(image: str, text: str, status: int | None = None) -> Failure:
    """Why an image could not be pulled: it is nowhere, it is refused, nobody answers."""
    low = text.lower()
    ambiguous = "does not exist or may require" in low
    if "toomanyrequests" in low or "too many requests" in low:
        return Failure(f"the registry of {image} allows no more pulls for now: {text}")
    if not ambiguous and (status in (401, 403) or any(word in low for word in _REFUSED)):
        return Failure(
            f"the registry refuses image {image}: log in for all nodes (cube registry login) or on "
            f"this one (docker login), or check that it may be pulled ({text})",
            retry=False,  # another node may have been given what this one lacks
        )
    if ambiguous or any(word in low for word in _NOWHERE):
        login = ", or log in if it is private (docker login)" if ambiguous else ""
        return Failure(
            f"no such image: {image} is neither on this node nor in its registry: check the "
            f"name and the tag{login}",
            retry=False,
        )
    if any(word in low for word in _UNREACHABLE):
        return Failure(
            f"image {image} is not on this node, and its registry does not answer: {text}"
        )
    return Failure(f"image {image} could not be pulled: {text}")


def credentials_failure(image: str, error: Exception) -> Failure:
    """Why a pull was not begun."""
    return Failure(
        f"image {image} was not pulled: the credentials for its registry cannot be read: {error}: "
        "see credsStore and credHelpers in this node's Docker config",
        retry=False,
    )


_REFUSED = (
    "unauthorized",
    "authentication required",
    "no basic auth",
    "denied",
    "forbidden",
    "status 401",
    "status 403",
    "403 (",
    "401 (",
)
_NOWHERE = ("manifest unknown", "not found", "name unknown", "no such image", "404")
_UNREACHABLE = (
    "timeout",
    "timed out",
    "deadline exceeded",
    "dial tcp",
    "no such host",
    "connection refused",
    "connection reset",
    "unreachable",
    "eof",
    "request canceled",
    "server misbehaving",
)
