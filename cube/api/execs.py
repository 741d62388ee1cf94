"""Routes that run a command beside a task, with its output, input and terminal.

One request starts it and streams what it says, in frames (`cube.frames`); others, which name it,
bring input and sizes. It ends with the stream.
"""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from cube.api.backend import Backend
from cube.api.problems import not_found
from cube.engine.session import Session, Wish
from cube.serving.sessions import Sessions

NO_NUL = r"^[^\x00]*$"  # no system call takes one
Size = Annotated[int, Field(ge=1, le=10_000)]


class SizeBody(BaseModel):
    """How large a terminal is."""

    model_config = ConfigDict(extra="forbid")

    rows: Size = 24
    columns: Size = 80


class ExecBody(SizeBody):
    """Run this beside a task."""

    command: list[Annotated[str, Field(max_length=100_000, pattern=NO_NUL)]] = Field(
        min_length=1, max_length=1000
    )
    tty: bool = False


def exec_routes(backend: Backend) -> APIRouter:
    """The routes, on this cluster."""
    router = APIRouter()
    sessions = Sessions(backend.bell)

    def find(number: str) -> Session:
        session = sessions.find(number)
        if session is None:
            raise not_found("such command; it has ended")
        return session

    @router.post(
        "/v1/tasks/{job}/{service}/{index}/exec",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}},
    )
    async def start(job: str, service: str, index: str, body: ExecBody) -> Response:
        """Run a command where a task runs; the answer is a stream of frames."""

        def begin() -> Session:
            task = backend.task(backend.look(), job, service, index)
            return backend.exec(task, Wish(tuple(body.command), body.tty, body.rows, body.columns))

        return sessions.respond(await to_thread.run_sync(begin))

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
