"""What the engines of a box themselves tell: every start and end of a container of Cube's.

All machines share one clock, so times of different engines compare. An engine that was away is
asked for what runs when it is back: what is missing then has ended while nobody told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

import requests
from docker.errors import DockerException

from cube.engine.docker import names
from tests.cluster.box import Box
from tests.cluster.engine import Container, Engine

LOOK_SECONDS = 0.5  # at what no engine tells
AWAY_SECONDS = 0.1  # between two tries to reach an engine


@dataclass(slots=True)
class Life:
    """A container's time on a node."""

    node: str
    container: Container
    began: float  # Unix seconds
    ended: float | None = None


@dataclass
class Watch:
    """Follows all engines of a box from its making until it is closed."""

    box: Box
    lives: list[Life] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._news = threading.Condition()
        self._closed = threading.Event()
        self._streams: dict[str, Any] = {}
        engines = self.box.engines.items()
        self._threads = [threading.Thread(target=self._follow, args=each) for each in engines]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Follow no longer."""
        self._closed.set()
        for stream in list(self._streams.values()):
            with suppress(OSError, AttributeError, ValueError):
                stream.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> float:
        """Look after each event, and now and then, until it holds; the seconds that it took.

        Raises:
            AssertionError: it does not come to hold in time.
        """
        begun = time.monotonic()
        with self._news:
            while not condition():
                spent = time.monotonic() - begun
                assert spent < seconds, f"in vain for {seconds} s"
                self._news.wait(LOOK_SECONDS)
        return time.monotonic() - begun

    def of(self, task: str) -> list[Life]:
        """The lives of a task's containers, by their begin."""
        with self._news:
            return sorted(
                (x for x in self.lives if x.container.task == task), key=lambda x: x.began
            )

    def running(self, at: float, tasks: Iterable[str]) -> int:
        """How many of these tasks had a container running at a time."""
        wanted = set(tasks)
        with self._news:
            up = {
                life.container.task
                for life in self.lives
                if life.began <= at and (life.ended is None or life.ended > at)
            }
        return len(up & wanted)

    def lost_power(self, node: str) -> None:
        """All that ran there has ended, and no engine could tell."""
        with self._news:
            for life in self.lives:
                if life.node == node and life.ended is None:
                    life.ended = time.time()

    # --- one thread per engine ---

    def _follow(self, node: str, engine: Engine) -> None:
        while not self._closed.is_set():
            if engine.answers():
                with suppress(DockerException, requests.RequestException, OSError, ValueError):
                    self._follow_once(node, engine)
            self._closed.wait(AWAY_SECONDS)

    def _follow_once(self, node: str, engine: Engine) -> None:
        with closing(engine.api()) as api:
            wanted = {"type": "container", "label": names.CLUSTER, "event": ["start", "die"]}
            stream = api.events(decode=True, filters=wanted)
            self._streams[node] = stream
            try:
                self._compare(node, engine.containers())
                for event in stream:
                    self._take(node, event)
            finally:
                stream._response.close()  # an engine that died ends it, and does not close it

    def _compare(self, node: str, running: list[Container]) -> None:
        now, there = time.time(), {c.id: c for c in running}
        with self._news:
            for life in self.lives:
                if life.node == node and life.ended is None and life.container.id not in there:
                    life.ended = now
            for container in there.values():
                self._begin(node, container, now)
            self._news.notify_all()

    def _take(self, node: str, event: dict[str, Any]) -> None:
        labels, at = event["Actor"]["Attributes"], event["timeNano"] / 1e9
        key = names.key_of(labels)
        if key is None:
            return
        task = key.uid.rpartition("@")[0]
        container = Container(task, key.attempt, key.restart, event["id"][:12], "running")
        with self._news:
            if event["Action"] == "start":
                self._begin(node, container, at)
            for life in self.lives:
                same = life.node == node and life.container.id == container.id
                if same and life.ended is None and event["Action"] == "die":
                    life.ended = at
            self._news.notify_all()

    def _begin(self, node: str, container: Container, at: float) -> None:
        up = (x for x in self.lives if x.node == node and x.ended is None)
        if container.id not in {life.container.id for life in up}:
            self.lives.append(Life(node, container, at))
