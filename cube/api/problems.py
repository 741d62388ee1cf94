"""Errors of the API as `application/problem+json` (RFC 9457), each with a remedy.

Owns which error has which HTTP status and which exit code of the command line. What nobody expected
is for `cube.serving.boundary`.
"""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from cube.codec import CodecError
from cube.engine import NoSuchRun
from cube.messages import Reply
from cube.policies import PolicyError, policy_names
from cube.registries import RegistriesError
from cube.serving.door import sendable
from cube.store import StoreError
from cube.views import ProblemView
from cube.world import NoAnswer

ERROR, USAGE, NOT_FOUND, CONFLICT, NOT_ALLOWED, NO_MANAGER = 1, 2, 5, 6, 7, 8  # exit codes

_EXITS = {401: NOT_ALLOWED, 403: NOT_ALLOWED, 404: NOT_FOUND, 409: CONFLICT, 504: NO_MANAGER}
_REPLIES = {  # the manager's word -> status and remedy
    "not-found": (404, "See what there is with: cube status"),
    "conflict": (409, "Choose another name, or stop and remove what is in the way."),
    "forbidden": (403, "Ask whoever looks after the cluster for a token that may do that."),
    "refused": (422, "Change the request as the text says, and send it again."),
    "unavailable": (503, "Make the store work again (disk space, permissions), then repeat this."),
}
_HTTP = {
    404: "There is no such address; /openapi.json lists those that there are.",
    405: "This address takes other methods; /openapi.json lists them.",
    413: "Make the job file smaller, or split the job.",
}


class Problem(Exception):
    """An error to be told to the client."""

    def __init__(
        self, status: int, detail: str, remedy: str = "", exit_code: int | None = None
    ) -> None:
        super().__init__(detail)
        self.view: ProblemView = {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": sendable(detail),
            "remedy": remedy,
            "exit_code": _EXITS.get(status, ERROR) if exit_code is None else exit_code,
        }

    def response(self) -> JSONResponse:
        """The problem as an HTTP response."""
        headers = {"WWW-Authenticate": "Bearer"} if self.view["status"] == 401 else None
        return JSONResponse(
            self.view, self.view["status"], headers, media_type="application/problem+json"
        )


def check_reply(reply: Reply, conflict: str = "") -> Reply:
    """The reply, if it is not an error; `conflict`: what to do if it is one.

    Raises:
        Problem: the manager refused.
    """
    if reply.status in _REPLIES:
        status, remedy = _REPLIES[reply.status]
        raise Problem(status, reply.text, conflict if conflict and status == 409 else remedy)
    return reply


def not_answered(seconds: float, note: str) -> Problem:
    """The manager did not answer a request in time; `note` says what ails it, if it tells."""
    if not note:
        return as_problem(NoAnswer(f"it did not answer within {seconds:g} s"))
    text = f"The manager cannot do it now: {note}. It may still do it once it can."
    return Problem(503, text, _REPLIES["unavailable"][1])


def not_found(what: str) -> Problem:
    """There is no job, task or node of that name."""
    return Problem(404, f"There is no {what}.", _REPLIES["not-found"][1])


def as_problem(error: Exception) -> Problem:
    """What an exception means to a client."""
    match error:
        case Problem():
            return error
        case NoAnswer():
            return Problem(
                504, f"The manager is busy or stuck: {error}.", "Try again; see the server's log."
            )
        case StoreError():
            return Problem(503, f"The store does not work: {error}", _REPLIES["unavailable"][1])
        case RegistriesError():
            what, _, remedy = str(error).partition("\n")
            return Problem(503, what, remedy)
        case PolicyError():
            known = ", ".join(policy_names())
            return Problem(422, str(error), f"Name one of {known}; or package.module:name.", USAGE)
        case CodecError():
            return Problem(422, f"The job is not one of ours: {error}", "Send what Cube wrote.")
        case NoSuchRun():
            return Problem(404, f"There is no output: {error}.", "Has the task run yet?")
        case RequestValidationError():
            return _invalid(error)
        case HTTPException(status_code=400):
            return _not_json()  # the only reason for which FastAPI itself answers so
        case HTTPException():
            detail = str(error.detail)
            return Problem(error.status_code, detail, _HTTP.get(error.status_code, ""))
        case _:
            raise error  # nobody expected it: `cube.serving.boundary` answers


def _invalid(error: RequestValidationError) -> Problem:
    found = error.errors()
    if any(e["type"] == "json_invalid" for e in found):
        return _not_json()
    texts = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in found]
    return Problem(422, "; ".join(texts[:10]), "Change the request as /openapi.json says.")


def _not_json() -> Problem:
    return Problem(400, "The request's body is not JSON.", "Send a JSON object.")


_EXPECTED: tuple[type[Exception], ...] = (
    Problem,
    NoAnswer,
    StoreError,
    PolicyError,
    RegistriesError,
    CodecError,
    NoSuchRun,
    RequestValidationError,
    HTTPException,
)


def install(app: Starlette) -> None:
    """Have every error that is expected of `app` answered as a problem."""

    async def answer(_: Request, error: Exception) -> JSONResponse:
        return as_problem(error).response()

    for kind in _EXPECTED:
        app.add_exception_handler(kind, answer)
