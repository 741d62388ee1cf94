"""Routes to what a node's tasks say, and for commands beside them."""

from __future__ import annotations

import threading
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cube.engine import CannotExecute, NoSuchRun, TaskIO
from cube.engine.session import Session, Wish
from cube.messages import RunKey
from cube.serving.sessions import Sessions
from cube.serving.streams import Bell, LiveResponse, from_thread


class TaskRoutes:
    """Of one engine; None: it is simulated, and its tasks say nothing."""

    def __init__(self, engine: TaskIO | None, bell: Bell) -> None:
        self._engine = engine
        self._bell = bell
        self._sessions = Sessions(bell)

    def routes(self) -> list[Route]:
        """To be guarded by whoever serves them."""
        return [
            Route("/v1/tasks/{uid:path}/logs", self.logs),
            Route("/v1/tasks/{uid:path}/exec", self.execute, methods=["POST"]),
            Route("/v1/exec/{number}/input", self.give, methods=["POST"]),
            Route("/v1/exec/{number}/size", self.resize, methods=["POST"]),
        ]

    async def logs(self, request: Request) -> Response:
        """The output of a task's newest run, or of exactly the one that `attempt` and so on name.

        Answered once the run is found; `follow`, `tail` and `since` as `TaskIO.logs` has them.
        """
        query, stop = request.query_params, threading.Event()
        run: str | RunKey = request.path_params["uid"]
        try:
            if "attempt" in query:
                run = RunKey(str(run), int(query["attempt"]), int(query["restart"]))
            tail = int(query["tail"]) if "tail" in query else None
            since = float(query["since"]) if "since" in query else None
        except (ValueError, KeyError):
            raise HTTPException(422, "That is no question for output.") from None
        engine = self._reach()
        try:
            pieces = await run_in_threadpool(
                lambda: engine.logs(
                    run, follow="follow" in query, tail=tail, since=since, stop=stop
                )
            )
        except NoSuchRun as error:
            raise HTTPException(404, str(error)) from None
        return LiveResponse(from_thread(pieces, stop, self._bell), "application/octet-stream")

    async def execute(self, request: Request) -> Response:
        """Run a command beside a task; the answer is a stream of frames."""
        uid, wish = request.path_params["uid"], _wish(await _json(request))
        engine = self._reach()
        try:
            session = await run_in_threadpool(engine.execute, uid, wish)
        except NoSuchRun as error:
            raise HTTPException(404, str(error)) from None
        except CannotExecute as error:
            raise HTTPException(422, str(error)) from None
        return self._sessions.respond(session)

    async def give(self, request: Request) -> Response:
        """The body is input for a command; with `end` there is no more."""
        session, data = self._find(request), await request.body()
        if data:
            await run_in_threadpool(session.write, data)
        if "end" in request.query_params:
            await run_in_threadpool(session.end_input)
        return Response(status_code=204)

    async def resize(self, request: Request) -> Response:
        """The terminal of a command's user has another size."""
        session, size = self._find(request), await _json(request)
        try:
            rows, columns = int(size["rows"]), int(size["columns"])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise HTTPException(422, "That is no size.") from None
        await run_in_threadpool(session.resize, rows, columns)
        return Response(status_code=204)

    def _reach(self) -> TaskIO:
        if self._engine is None:
            raise HTTPException(501, "The simulated engine has no output and runs no commands.")
        return self._engine

    def _find(self, request: Request) -> Session:
        session = self._sessions.find(request.path_params["number"])
        if session is None:
            raise HTTPException(404, "That command has ended.")
        return session


async def _json(request: Request) -> Any:
    try:
        return await request.json()
    except (ValueError, RecursionError):
        raise HTTPException(400, "That is not JSON.") from None


def _wish(body: Any) -> Wish:
    try:
        command = tuple(str(word) for word in body["command"])
        if not command or any("\0" in word for word in command):
            raise ValueError
        return Wish(command, bool(body["tty"]), int(body["rows"]), int(body["columns"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise HTTPException(422, "That is no command.") from None
