"""The door of the API: who may do what, and how much of a body is read.

Owns the token of each request and what is known of tokens. Whether one is enough is decided by
`cube.access`; tokens are the manager's, apart from the one in the state directory, which is always
let in.
"""

from __future__ import annotations

import threading

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cube.access import Refusal, admit_user, digest
from cube.api.backend import Backend
from cube.api.problems import Problem, as_problem
from cube.task import Token
from cube.world import NoAnswer

MAX_BODY_BYTES = 4 << 20
OPEN_PATHS = ("/v1/health", "/openapi.json")
_LOOKING = ("GET", "HEAD", "OPTIONS")  # methods that change nothing
_PLANS = "/v1/plan"  # is a POST for the size of what it asks about, and changes nothing
_STATUS = {"unknown": 401, "expired": 401, "forbidden": 403, "taken": 409}


class Tokens:
    """All tokens that are let in. Those of the manager are asked for after each of its saves."""

    def __init__(self, backend: Backend, local: str) -> None:
        self._backend = backend
        self._local = Token("local", "full", digest(local), 0.0)
        self._known: tuple[Token, ...] = ()
        self._saves = 1
        self._seen = 0  # how many saves `_known` has seen
        self._lock = threading.Lock()
        backend.world.on_saved(self._saved)

    def is_local(self, secret: str) -> bool:
        """Is it the one in the state directory?"""
        return isinstance(admit_user((self._local,), secret, 0.0, changes=True), Token)

    def judge(self, secret: str, *, changes: bool) -> Token | Refusal:
        """Whose secret that is, or why it is not let in. May wait for the manager.

        Raises:
            NoAnswer: the manager does not answer.
        """
        now = self._backend.world.now()
        return admit_user(self._current(), secret, now, changes=changes)

    def _saved(self) -> None:
        self._saves += 1

    def _current(self) -> tuple[Token, ...]:
        with self._lock:
            saves = self._saves
            if self._seen != saves:
                self._known = self._backend.access().tokens
                self._seen = saves
            return self._known


class Gate:
    """Lets only those in whose token may do that, and no more of their body than is allowed."""

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer why not."""
        problem = None
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            secret = _bearer(scope)
            if not self._tokens.is_local(secret):
                problem = await run_in_threadpool(self._refuse, scope, secret)
        if problem is None:
            await self._app(scope, _limited(receive), send)
        else:
            await problem.response()(scope, receive, send)

    def _refuse(self, scope: Scope, secret: str) -> Problem | None:
        changes = scope["method"] not in _LOOKING and scope["path"] != _PLANS
        try:
            found = self._tokens.judge(secret, changes=changes)
        except NoAnswer as error:
            return as_problem(error)
        if isinstance(found, Token):
            return None
        return Problem(_STATUS[found.kind], found.text, found.remedy)


def _bearer(scope: Scope) -> str:
    given: bytes = dict(scope["headers"]).get(b"authorization", b"")
    kind, _, secret = given.decode("latin-1").partition(" ")
    return secret if kind == "Bearer" else ""


def _limited(receive: Receive) -> Receive:
    """Receives the request's body up to `MAX_BODY_BYTES`; beyond, whoever reads it gets a 413."""
    left = MAX_BODY_BYTES

    async def limited() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413, "The request is larger than 4 MiB.")
        return message

    return limited
