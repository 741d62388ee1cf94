"""Reads the output of a task's container, live or from its beginning. Starts nothing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from docker.api.client import APIClient
from docker.types import CancellableStream

from cube.engine import NoSuchRun
from cube.engine.docker.errors import UNREACHABLE
from cube.engine.docker.look import Inspected, inspect_all, labels_of
from cube.engine.docker.names import key_of
from cube.engine.docker.streams import cut, release
from cube.messages import RunKey

STOP_POLL_SECONDS = 0.2


def newest(api: APIClient, cluster: str, node: str, task: str | RunKey) -> Inspected:
    """The container of a run, or of the newest run of a task.

    Raises:
        NoSuchRun: there is none on this node.
    """
    uid = task.uid if isinstance(task, RunKey) else task
    runs = {
        key: container
        for container in inspect_all(api, cluster, node, uid, kept=True)
        if (key := key_of(labels_of(container))) is not None
    }
    key = task if isinstance(task, RunKey) else max(runs, default=None)
    if key is None or key not in runs:
        raise NoSuchRun(f"nothing of task {uid} is on node {node}")
    return runs[key]


def read(
    streams: APIClient,
    container: str,
    *,
    follow: bool,
    tail: int | None,
    since: float | None,
    stop: threading.Event | None,
) -> Iterator[bytes]:
    """Chunks of output, as they come. `streams` must not time out on silence."""
    stream: CancellableStream[bytes] = streams.logs(
        container,
        stream=True,
        follow=follow,
        tail="all" if tail is None else tail,
        since=since,
    )
    over = threading.Event()
    closer = threading.Thread(
        target=_close_at, args=(stream, stop, over), name="docker-logs", daemon=True
    )
    if follow and stop is not None:
        closer.start()
    try:
        with contextlib.suppress(*UNREACHABLE):
            yield from stream
    finally:
        over.set()
        if closer.ident is not None:
            closer.join()
        release(stream)


def _close_at(
    stream: CancellableStream[bytes], stop: threading.Event, over: threading.Event
) -> None:
    while not over.is_set():
        if stop.wait(STOP_POLL_SECONDS):
            cut(stream)
            return
