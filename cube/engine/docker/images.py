"""Gets images onto a node: one pull per image, however many tasks wait for it.

Owns the threads that pull. Reports progress and the outcome through callbacks; never starts
anything.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from docker.api.client import APIClient
from docker.auth import resolve_repository_name
from docker.errors import APIError, DockerException, ImageNotFound

from cube.engine.capacity import MIB
from cube.engine.docker.errors import (
    UNREACHABLE,
    Failure,
    credentials_failure,
    is_silence,
    pull_failure,
    stalled_failure,
    text_of,
    unreachable_reason,
)
from cube.engine.docker.pulled import PulledImages
from cube.registries import Credential, Find, Unavailable

log = logging.getLogger(__name__)

PULL_THREADS = 2
PROGRESS_SECONDS = 1.0

OnProgress = Callable[[str], None]
OnDone = Callable[[Failure | None], None]


def has_image(api: APIClient, image: str) -> bool:
    """Is the image on the node?"""
    look: Callable[[str], object] = api.inspect_image
    try:
        look(image)
    except ImageNotFound:
        return False
    return True


def absent_failure(image: str) -> Failure:
    """Why a task with `pull_policy: never` cannot start."""
    return Failure(
        f"no such image: {image} is not on this node, and pull_policy is never: load it here "
        "(docker load) or allow pulling",
        retry=False,
    )


class Pulls:
    """The pulls that are under way, by image."""

    def __init__(self, api: APIClient, name: str, pulled: PulledImages) -> None:
        """`api` gives up a pull that has stalled; `pulled` is told of what is new."""
        self._api = api
        self._pulled = pulled
        self._name = name
        self._changed = threading.Condition()
        self._waiters: dict[str, list[tuple[OnProgress, OnDone]]] = {}
        self._queue: deque[str] = deque()
        self._closed = False
        self._threads: list[threading.Thread] = []
        self.find_credential: Find = lambda registry: None

    def request(self, image: str, progress: OnProgress, done: OnDone) -> None:
        """Pull `image`, or join the pull that is under way; `done` gets None on success."""
        with self._changed:
            waiters = self._waiters.setdefault(image, [])
            waiters.append((progress, done))
            if len(waiters) > 1:
                return
            self._queue.append(image)
            if len(self._threads) < PULL_THREADS:
                name = f"{self._name}-pull-{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()

    def close(self, timeout: float = 2.0) -> None:
        """Forget who waits. A pull that hangs in the engine is left to end by itself."""
        with self._changed:
            self._closed = True
            self._waiters.clear()
            self._queue.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout)
        self._api.close()

    def _work(self) -> None:
        while (image := self._next()) is not None:
            try:
                failure = self._pull(image)
            except Exception as error:
                log.exception("a pull failed unexpectedly")
                failure = Failure(f"image {image} could not be pulled: {error}")
            with self._changed:
                waiters = self._waiters.pop(image, [])
            for _, done in waiters:
                done(failure)

    def _next(self) -> str | None:
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            return None if self._closed else self._queue.popleft()

    def _pull(self, image: str) -> Failure | None:
        """Pull with the cluster's credential, or else with what this node's Docker config has."""
        self._tell(image, f"pulling {image}")
        login, unknown = None, ""
        try:
            login = self.find_credential(resolve_repository_name(image)[0])
        except Unavailable as error:
            unknown = f"whether the cluster has a login for it is not known: {error}"
        failure = self._attempt(image, login)
        if failure is not None and not failure.retry and unknown:
            return Failure(f"{failure.reason}; {unknown}")
        return failure

    def _attempt(self, image: str, login: Credential | None) -> Failure | None:
        given = {"username": login.user, "password": login.password} if login else None
        try:
            was_here = has_image(self._api, image)
            self._api.reload_config()  # somebody may have logged in since
            lines: Iterator[dict[str, Any]] = self._api.pull(
                image, stream=True, decode=True, auth_config=given
            )
            failure = self._follow(image, lines)
            if failure is None and not was_here:
                self._pulled.add(image)
            return failure
        except APIError as error:
            return pull_failure(image, text_of(error), error.status_code)
        except UNREACHABLE as error:
            if is_silence(error):
                return stalled_failure(image)
            reason = unreachable_reason(error)
            return Failure(f"image {image} could not be pulled: the Docker engine: {reason}")
        except DockerException as error:  # a helper that is missing, or fails
            return credentials_failure(image, error)

    def _follow(self, image: str, lines: Iterator[dict[str, Any]]) -> Failure | None:
        layers = Layers()
        told = time.monotonic()
        for line in lines:
            if self._closed:
                return Failure("the engine was closed")
            if "error" in line:
                return pull_failure(image, str(line["error"]))
            layers.note(line)
            if time.monotonic() - told >= PROGRESS_SECONDS:
                told = time.monotonic()
                self._tell(image, f"pulling {image}: {layers}")
        return None

    def _tell(self, image: str, text: str) -> None:
        with self._changed:
            waiters = list(self._waiters.get(image, ()))
        for progress, _ in waiters:
            progress(text)


class Layers:
    """How far the layers of one pull have come."""

    def __init__(self) -> None:
        self._done: dict[str, bool] = {}
        self._bytes: dict[str, int] = {}

    def note(self, line: dict[str, Any]) -> None:
        """Take in one line of the engine's progress."""
        layer, status = line.get("id"), line.get("status", "")
        if not layer or status.startswith("Pulling from"):
            return
        self._done[layer] = status in ("Pull complete", "Already exists")
        if status == "Downloading":
            self._bytes[layer] = line.get("progressDetail", {}).get("current", 0)

    def __str__(self) -> str:
        done, size = sum(self._done.values()), sum(self._bytes.values()) / MIB
        return f"{done} of {len(self._done)} layers, {size:.1f} MiB"
