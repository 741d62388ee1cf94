"""The door of the API: who may do what, and how much of a body is read.

Owns the token of each request and what is known of tokens. Whether one is enough is decided by
`cube.access`; tokens are the manager's, apart from the one in the state directory, which is always
let in.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from cube.access import Refusal, admit_user, digest
from cube.api.known import KnownAccess
from cube.api.problems import Problem, as_problem
from cube.serving.door import is_too_long, limited, pass_on, signed, too_long
from cube.task import Token
from cube.world import NoAnswer

MAX_BODY_BYTES = 4 << 20
MAX_OPEN_BODY_BYTES = 64 << 10  # of whoever has shown no token yet
OPEN_PATHS = ("/v1/health",)
_LOOKING = ("GET", "HEAD", "OPTIONS")  # methods that change nothing
_PLANS = "/v1/plan"  # is a POST for the size of what it asks about, and changes nothing
STATUS = {"unknown": 401, "expired": 401, "forbidden": 403, "taken": 409}


class Tokens:
    """All tokens that are let in: the manager's, and that of the state directory."""

    def __init__(self, known: KnownAccess, local: str) -> None:
        self._known = known
        self._local = Token("local", "full", digest(local), 0.0)

    def is_local(self, secret: str) -> bool:
        """Is it the one in the state directory?"""
        return isinstance(admit_user((self._local,), secret, 0.0, changes=True), Token)

    def judge(self, secret: str, *, changes: bool) -> Token | Refusal:
        """Whose secret that is, or why it is not let in. May wait for the manager.

        Raises:
            NoAnswer: the manager does not answer.
        """
        return admit_user(self._known.now().tokens, secret, self._known.clock(), changes=changes)


class Gate:
    """Lets only those in whose token may do that, and no more of their body than is allowed."""

    def __init__(self, app: ASGIApp, tokens: Tokens, open_paths: Iterable[str]) -> None:
        self._app = app
        self._tokens = tokens
        self._open = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer why not."""
        if scope["type"] != "http":
            return

        problem, send = None, signed(send)
        is_open = scope["path"] in self._open
        limit = MAX_OPEN_BODY_BYTES if is_open else MAX_BODY_BYTES
        if not is_open:
            secret = bearer(scope)
            if not self._tokens.is_local(secret):
                problem = await run_in_threadpool(self._refuse, scope, secret)
        if problem is None and is_too_long(scope, limit):
            problem = as_problem(HTTPException(413, too_long(limit)))
        if problem is None:
            await pass_on(self._app, scope, limited(receive, limit), send)
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
        return Problem(STATUS[found.kind], found.text, found.remedy)


def bearer(scope: Scope) -> str:
    """The secret that came with a request; "" if none did."""
    given: bytes = dict(scope["headers"]).get(b"authorization", b"")
    kind, _, secret = given.decode("latin-1").partition(" ")
    return secret if kind == "Bearer" else ""
