"""The manager's HTTP API: what users and the command line speak to.

Owns routes, the token and the shape of errors. Decides nothing: it asks the manager, reads the
store's events and renders `cube.views`. `gate` has the door, `problems` the errors, `admission`
which jobs are let in, `looking`, `changing`, `operating`, `tokens` and `following` the routes,
`server` the thread that serves them.
"""

from __future__ import annotations

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer

from cube import __version__
from cube.api import problems
from cube.api.backend import Backend
from cube.api.changing import changing_routes
from cube.api.execs import exec_routes
from cube.api.following import following_routes
from cube.api.gate import MAX_BODY_BYTES, Gate, Tokens
from cube.api.looking import looking_routes
from cube.api.operating import operating_routes
from cube.api.tokens import token_routes
from cube.views import ProblemView

__all__ = ["MAX_BODY_BYTES", "Backend", "make_app"]

PROBLEM = {"model": ProblemView, "description": "A problem (RFC 9457) with its remedy."}


def make_app(backend: Backend, token: str) -> FastAPI:
    """The application. `token` is that of the state directory; others are made by its holder."""
    app = FastAPI(
        title="Cube",
        version=__version__,
        summary="Manager API: submit, look, plan, follow.",
        docs_url=None,  # the pages load scripts from elsewhere; /openapi.json is the reference
        redoc_url=None,
        redirect_slashes=False,
        responses=dict.fromkeys(("4XX", 422, "5XX"), PROBLEM),
        dependencies=[Depends(HTTPBearer(auto_error=False))],  # for /openapi.json: `Gate` checks
    )
    problems.install(app)
    made = (looking_routes, changing_routes, operating_routes, token_routes, following_routes)
    for routes in (*made, exec_routes):
        app.include_router(routes(backend))
    app.add_middleware(Gate, tokens=Tokens(backend, token))
    return app
