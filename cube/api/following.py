"""Routes that stream: events as they are saved, output as it is printed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator
from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Query
from fastapi.responses import JSONResponse, Response

from cube.api.backend import Backend
from cube.api.streams import LiveResponse, from_thread
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
        follow: bool = False,
        job: str | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = PAGE,
        last_event_id: Annotated[int | None, Header(ge=0, le=MAX_REVISION)] = None,
    ) -> Response:
        """The oldest `limit` events after a revision; with `follow=1`, all and those to come.

        A stream's ids are revisions: a client that comes back with `Last-Event-ID` misses nothing.
        """
        start = after if last_event_id is None else last_event_id
        if follow:
            return LiveResponse(_follow(backend, start, job), "text/event-stream")
        found = backend.store.events(start, limit, job)
        return JSONResponse([show_event(event) for event in found])

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
    ) -> Response:
        """Output of a task's newest run; with `follow=1` until the run ends."""
        stop = threading.Event()

        def open_logs() -> AsyncGenerator[bytes]:
            task = backend.task(backend.look(), job, service, index)
            source = backend.logs(task, stop, follow=follow, tail=tail, since=since)
            return from_thread(source, stop, backend.bell)

        return LiveResponse(await to_thread.run_sync(open_logs), "application/octet-stream")

    return router


async def _follow(backend: Backend, after: int, job: str | None) -> AsyncGenerator[bytes]:
    """Events as server-sent events, until the server stops."""
    with backend.bell.heard() as rung:
        yield b"retry: 1000\n\n"
        while not backend.bell.closed:
            rung.clear()
            found = await to_thread.run_sync(partial(backend.store.events, after, PAGE, job))
            for event in found:
                after = event.revision
                data = json.dumps(show_event(event), ensure_ascii=False)
                yield f"id: {after}\ndata: {data}\n\n".encode()
            if found or backend.bell.closed:
                continue
            try:
                await asyncio.wait_for(rung.wait(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield b": still here\n\n"
