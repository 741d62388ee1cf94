"""Routes that stream: events as they are saved, output as it is printed."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator
from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Query
from fastapi.responses import JSONResponse, Response

from cube.api.backend import Backend
from cube.serving.streams import LiveResponse, from_thread
from cube.task import Event
from cube.views import EventView
from cube.views.show import show_event

KEEP_ALIVE_SECONDS = 15.0
PAGE = 1000  # events read at once
MAX_REVISION = 1 << 62

Revision = Annotated[int, Query(ge=0, le=MAX_REVISION)]


def following_routes(backend: Backend) -> APIRouter:
    """The routes, on this cluster."""
    router = APIRouter()

    @router.get(
        "/v1/events",
        response_model=list[EventView],
        responses={200: {"content": {"text/event-stream": {}}}},
    )
    def events(
        after: Revision = 0,
        epoch: Annotated[int | None, Query(ge=0, le=MAX_REVISION)] = None,
        follow: bool = False,
        job: str | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = PAGE,
        last_event_id: Annotated[str | None, Header(pattern=r"^\d{1,18}-\d{1,18}$")] = None,
    ) -> Response:
        """The oldest `limit` events after a revision; with `follow=1`, all and those to come.

        A stream's ids are EPOCH-REVISION: a client that comes back with `Last-Event-ID` (or with
        `epoch` and `after`) misses nothing. If the store was restored or lost meanwhile, its other
        history is told from the beginning, after an event of the kind `history.reset`.
        """
        if last_event_id is not None:
            epoch, after = map(int, last_event_id.split("-"))
        reset = epoch is not None and not _knows(backend, epoch, after)
        start = 0 if reset else after
        told = [_reset(after)] if reset else []
        if follow:
            return LiveResponse(_follow(backend, start, job, told), "text/event-stream")
        told += backend.store.events(start, limit - len(told), job) if limit > len(told) else []
        return JSONResponse([show_event(event) for event in told])

    @router.get(
        "/v1/tasks/{job}/{service}/{index}/logs",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}},
    )
    async def logs(
        job: str,
        service: str,
        index: str,
        follow: bool = False,
        tail: Annotated[int | None, Query(ge=0, le=1_000_000)] = None,
        since: Annotated[float | None, Query(ge=0, le=1e12, allow_inf_nan=False)] = None,
        previous: bool = False,
    ) -> Response:
        """Output of a task's newest run; with `follow=1` until the run ends.

        With `previous=1` that of the run before it: what it said before it was restarted.
        """
        stop = threading.Event()

        def open_logs() -> AsyncGenerator[bytes]:
            task = backend.task(backend.look(), job, service, index)
            source = backend.logs(
                task, stop, follow=follow, tail=tail, since=since, previous=previous
            )
            return from_thread(source, stop, backend.bell)

        return LiveResponse(await to_thread.run_sync(open_logs), "application/octet-stream")

    return router


def _knows(backend: Backend, epoch: int, revision: int) -> bool:
    """Is that event still part of the history?"""
    found = backend.store.events(revision - 1, 1)
    return any((e.epoch, e.revision) == (epoch, revision) for e in found)


def _reset(after: int) -> Event:
    text = f"this store has another history than the one that was followed to revision {after}"
    return Event(0, time.time(), "history.reset", text)


def _as_sent(event: Event) -> bytes:
    data = json.dumps(show_event(event), ensure_ascii=False)
    return f"id: {event.epoch}-{event.revision}\ndata: {data}\n\n".encode()


async def _follow(
    backend: Backend, after: int, job: str | None, told: list[Event]
) -> AsyncGenerator[bytes]:
    """Events as server-sent events, `told` first, until the server stops."""
    with backend.bell.heard() as rung:
        yield b"retry: 1000\n\n"
        for event in told:
            yield _as_sent(event)
        while not backend.bell.closed:
            rung.clear()
            found = await to_thread.run_sync(partial(backend.store.events, after, PAGE, job))
            for event in found:
                after = event.revision
                yield _as_sent(event)
            if found or backend.bell.closed:
                continue
            try:
                await asyncio.wait_for(rung.wait(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield b": still here\n\n"
