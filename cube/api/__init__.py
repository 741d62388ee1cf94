"""The manager's HTTP API: what users and the command line speak to.

Owns routes, the token and the shape of errors. Decides nothing: it asks the manager, reads the
store's events and renders `cube.views`. `problems` has the errors, `admission` what is let in,
`looking`, `changing`, `operating` and `following` the routes, `server` the thread that serves them.
"""

from __future__ import annotations

import secrets

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cube import __version__
from cube.api import problems
from cube.api.backend import Backend
from cube.api.changing import changing_routes
from cube.api.following import following_routes
from cube.api.looking import looking_routes
from cube.api.operating import operating_routes
from cube.views import ProblemView

__all__ = ["MAX_BODY_BYTES", "Backend", "make_app"]

MAX_BODY_BYTES = 4 << 20
PROBLEM = {"model": ProblemView, "description": "A problem (RFC 9457) with its remedy."}
OPEN_PATHS = ("/v1/health", "/openapi.json")


def make_app(backend: Backend, token: str) -> FastAPI:
    """The application; everything but `OPEN_PATHS` wants `Authorization: Bearer TOKEN`."""
    app = FastAPI(
        title="Cube",
        version=__version__,
        summary="Manager API: submit, look, plan, follow.",
        docs_url=None,  # the pages load scripts from elsewhere; /openapi.json is the reference
        redoc_url=None,
        redirect_slashes=False,
        responses=dict.fromkeys(("4XX", 422, "5XX"), PROBLEM),
        dependencies=[Depends(HTTPBearer(auto_error=False))],  # for /openapi.json: `_Guard` checks
    )
    problems.install(app)
    for routes in (looking_routes, changing_routes, operating_routes, following_routes):
        app.include_router(routes(backend))
    app.add_middleware(_Guard, token=token)
    return app


class _Guard:
    """Lets only those in who know the token, and no more of their body than is allowed."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._knows(scope):
            await self._app(scope, _limited(receive), send)
            return
        problem = problems.Problem(
            401,
            "The token is missing or wrong.",
            "Use the state directory of the manager you speak to: --state-dir DIR.",
        )
        await problem.response()(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        return secrets.compare_digest(given, self._expected)


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
