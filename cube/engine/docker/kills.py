"""Ends containers: the stop signal at once, SIGKILL when the grace is over.

Owns the deadlines of the kills that are under way. A kill occupies no thread while its grace
runs; that the container has ended is learnt elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Set
from functools import partial

from docker.api.client import APIClient
from docker.errors import APIError, NotFound

from cube.engine.docker.look import Inspected
from cube.messages import Kill, RunKey

AGAIN_SECONDS = 10.0  # between SIGKILLs to what does not die

Submit = Callable[[object, Callable[[], None], float], None]


class Kills:
    """The kills of one engine."""

    def __init__(self, api: APIClient, submit: Submit, gone: Callable[[RunKey], None]) -> None:
        """`submit(lane, job, after)` runs a job later; `gone` hears of containers that vanished."""
        self._api, self._submit, self._gone = api, submit, gone
        self._under_way: dict[RunKey, tuple[str, float]] = {}  # container id, deadline

    def begin(self, kill: Kill, container: Inspected) -> None:
        """Kill a running container. Repeating it can only bring the deadline forward."""
        key, deadline = kill.key, time.monotonic() + kill.grace_seconds
        signalled = key in self._under_way
        if signalled:
            deadline = min(deadline, self._under_way[key][1])
        self._under_way[key] = (container["Id"], deadline)
        if kill.grace_seconds <= 0.0:
            self._kill_hard(key)
            return
        if not signalled:
            self._send(key, container["Config"].get("StopSignal") or "SIGTERM")
        self._submit(key, partial(self._kill_hard, key), kill.grace_seconds)

    def __contains__(self, key: object) -> bool:
        return key in self._under_way

    def over(self, key: RunKey) -> None:
        """The container has ended."""
        self._under_way.pop(key, None)

    def keep(self, running: Set[RunKey]) -> None:
        """Forget the kills of everything that does not run."""
        for key in self._under_way.keys() - running:
            del self._under_way[key]

    def _kill_hard(self, key: RunKey) -> None:
        """SIGKILL, again and again, until the end has been seen."""
        if key in self._under_way:
            self._submit(key, partial(self._kill_hard, key), AGAIN_SECONDS)
            self._send(key, "SIGKILL")

    def _send(self, key: RunKey, signal: str) -> None:
        try:
            self._api.kill(self._under_way[key][0], signal)
        except NotFound:
            self._gone(key)
        except APIError as error:
            if error.status_code != 409:  # it has ended: the event says so
                raise
