"""Ended containers that nobody wants any more stay a while, for whoever asks why they ended.

A kept container is renamed, which says for ever and to everybody that its run is over and done
with: it is listed no longer, and its run's name is free. Owns how long and how many are kept.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from docker.api.client import APIClient

from cube.engine.docker import look
from cube.engine.docker.names import TASK, is_kept, kept_name, label_filter
from cube.engine.docker.purge import remove_container

KEPT_SECONDS = 86_400.0
KEPT_OF_TASK = 2
KEPT_AT_MOST = 50  # on a node: short tasks by the thousand must not fill it


class _Ended(NamedTuple):
    at: float  # seconds since 1970
    container: str
    task: str


class KeptContainers:
    """Those of one node."""

    def __init__(
        self,
        api: APIClient,
        cluster: str,
        node: str,
        now: Callable[[], float] = time.time,
        at_most: int = KEPT_AT_MOST,
    ) -> None:
        self._api, self._now, self._at_most = api, now, at_most
        self._labels = label_filter(cluster, node)
        self._lock = threading.Lock()
        self._ended: list[_Ended] | None = None  # None: not looked up yet

    def keep(self, container: look.Inspected) -> None:
        """Keep an ended container instead of those that it makes too many."""
        with self._lock:
            ended = self._known()
            name = kept_name(container["Name"].removeprefix("/"))
            if (older := look.inspect(self._api, name)) is not None:
                remove_container(self._api, older["Id"])
            self._api.rename(container["Id"], name)
            ended.append(_ended(container))
            surplus = self._take_surplus()
        for container_id in surplus:
            remove_container(self._api, container_id)

    def tidy(self) -> None:
        """Remove those whose time is over."""
        with self._lock:
            self._known()
            surplus = self._take_surplus()
        for container_id in surplus:
            remove_container(self._api, container_id)

    def _known(self) -> list[_Ended]:
        if self._ended is None:
            filters = {"label": self._labels, "name": [kept_name("")]}
            found = self._api.containers(all=True, quiet=True, filters=filters)
            looks = (look.inspect(self._api, c["Id"]) for c in found)
            self._ended = [_ended(c) for c in looks if c is not None and is_kept(c["Name"])]
        return self._ended

    def _take_surplus(self) -> list[str]:
        """Forget those that are too old or too many; their ids."""
        assert self._ended is not None
        stay: list[_Ended] = []
        surplus: list[str] = []
        of_task: Counter[str] = Counter()
        for ended in sorted(self._ended, reverse=True):
            of_task[ended.task] += 1
            young = self._now() - ended.at < KEPT_SECONDS
            if young and of_task[ended.task] <= KEPT_OF_TASK and len(stay) < self._at_most:
                stay.append(ended)
            else:
                surplus.append(ended.container)
        self._ended = stay
        return surplus


def _ended(container: look.Inspected) -> _Ended:
    whole, _, fraction = str(container["State"]["FinishedAt"]).removesuffix("Z").partition(".")
    at = datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{fraction or 0}")
    return _Ended(at, str(container["Id"]), look.labels_of(container).get(TASK, ""))
