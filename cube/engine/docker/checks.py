"""Health checks over the network of containers: where each is reached, and when it is tested.

A local engine's containers are reached at their own addresses: a published port answers even where
nothing listens behind it. Of an engine on another machine only published ports can be reached.
"""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from cube.engine.docker import look
from cube.engine.docker.names import made_from
from cube.engine.health import HealthChecks
from cube.engine.probes import probe
from cube.messages import RunKey


class NetworkChecks:
    """The checks of one engine's containers that the engine itself does not run."""

    def __init__(self, url: str, health: HealthChecks) -> None:
        self._health = health
        self._elsewhere = urlsplit(url).hostname  # None: the engine is on this machine

    def watch(self, key: RunKey, container: look.Inspected) -> None:
        """A container runs: test it from now on, if it is to be tested."""
        spec = made_from(look.labels_of(container))
        if spec is None or spec.check is None:
            return
        host, port = self._elsewhere, look.published(container, spec.check.port)
        if host is None:
            host, port = look.address(container), spec.check.port
        if port is not None:
            self._health.watch(key, spec.check, partial(probe, spec.check, host, port))
        else:
            failure = f"{spec.check}: publish the port, its engine is on another machine"
            self._health.watch(key, spec.check, lambda: failure)

    def forget(self, key: RunKey) -> None:
        """It does not run any more."""
        self._health.forget(key)

    def verdict(self, key: RunKey, container: look.Inspected) -> bool | None:
        """Whether it is healthy, whoever tests it; None while nobody knows."""
        own = self._health.verdict(key)
        return look.healthy(container) if own is None else own
