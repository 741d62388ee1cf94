"""Routes that run a command beside a task, with its output, input and terminal.

One request starts it and streams what it says; others, which name it, bring input and sizes. It
ends with the stream. A frame is a byte for its kind, its length in four bytes (big-endian), and
that many bytes.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from cube.api.backend import Backend
from cube.api.problems import not_found
from cube.engine.session import Session, Wish
from cube.serving.streams import LiveResponse, from_thread

STARTED, STDOUT, STDERR, ENDED = range(4)  # kinds of frames; the first and last are JSON
Size = Annotated[int, Field(ge=1, le=10_000)]


class SizeBody(BaseModel):
    """How large a terminal is."""

    model_config = ConfigDict(extra="forbid")

    rows: Size = 24
    columns: Size = 80


class ExecBody(SizeBody):
    """Run this beside a task."""

    command: list[Annotated[str, Field(max_length=100_000)]] = Field(min_length=1, max_length=1000)
    tty: bool = False


def exec_routes(backend: Backend) -> APIRouter:
    """The routes, on this cluster."""
    router = APIRouter()
    running: dict[str, Session] = {}

    def find(number: str) -> Session:
        session = running.get(number)
        if session is None:
            raise not_found("such command; it has ended")
        return session

    @router.post(
        "/v1/tasks/{job}/{service}/{index}/exec",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}},
    )
    async def start(job: str, service: str, index: str, body: ExecBody) -> Response:
        """Run a command where a task runs; the answer is a stream of frames, see above."""

        def begin() -> Session:
            task = backend.task(backend.look(), job, service, index)
            return backend.exec(task, Wish(tuple(body.command), body.tty, body.rows, body.columns))

        session = await to_thread.run_sync(begin)
        number = secrets.token_hex(16)
        running[number] = session
        return LiveResponse(_frames(backend, running, number), "application/octet-stream")

    @router.post("/v1/exec/{number}/input", status_code=204)
    async def give(number: str, request: Request, end: bool = False) -> Response:
        """The body is input for the command; with `end=1` there is no more."""
        session, data = find(number), await request.body()
        if data:
            await to_thread.run_sync(session.write, data)
        if end:
            await to_thread.run_sync(session.end_input)
        return Response(status_code=204)

    @router.post("/v1/exec/{number}/size", status_code=204)
    def resize(number: str, body: SizeBody) -> Response:
        """The user's terminal has another size."""
        find(number).resize(body.rows, body.columns)
        return Response(status_code=204)

    return router


async def _frames(
    backend: Backend, running: dict[str, Session], number: str
) -> AsyncGenerator[bytes]:
    """What a session says; when nobody listens any more, it is closed."""
    session, stop = running[number], threading.Event()
    try:
        yield frame(STARTED, json.dumps({"exec": number}).encode())
        async with aclosing(from_thread(_said(session, stop), stop, backend.bell)) as said:
            async for piece in said:
                yield piece
    finally:
        del running[number]
        threading.Thread(target=session.close, daemon=True).start()  # it may wait for an end


def _said(session: Session, stop: threading.Event) -> Iterator[bytes]:
    for stream, piece in session.output(stop):
        yield frame(stream, piece)
    yield frame(ENDED, json.dumps({"exit_code": session.exit_code()}).encode())


def frame(kind: int, data: bytes) -> bytes:
    """One piece of the stream."""
    return bytes([kind]) + len(data).to_bytes(4, "big") + data
