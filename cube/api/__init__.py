"""The manager's HTTP API: what users and the command line speak to.

Owns routes, the token and the shape of errors. Decides nothing: it asks the manager, reads the
store's events and renders `cube.views`. `gate` has the door, `problems` the errors, `admission`
which jobs are let in, `known` who is, `describing` /openapi.json, `looking`, `changing`,
`operating`, `tokens`, `registries`, `joining` and `following` the routes, `machines` what nodes
say, which is served apart.
"""

from __future__ import annotations

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer

from cube import __version__
from cube.api import describing, problems
from cube.api.backend import Backend
from cube.api.changing import changing_routes
from cube.api.execs import exec_routes
from cube.api.following import following_routes
from cube.api.gate import MAX_BODY_BYTES, OPEN_PATHS, Gate, Tokens
from cube.api.joining import JOINING_PATHS, Trust, joining_routes
from cube.api.known import KnownAccess
from cube.api.looking import looking_routes
from cube.api.operating import operating_routes
from cube.api.registries import registry_routes
from cube.api.tokens import token_routes
from cube.serving.boundary import ErrorBoundary
from cube.views import ProblemView

__all__ = ["MAX_BODY_BYTES", "Backend", "make_app"]

PROBLEM = {"model": ProblemView, "description": "A problem (RFC 9457) with its remedy."}


def make_app(
    backend: Backend, token: str, known: KnownAccess | None = None, trust: Trust | None = None
) -> FastAPI:
    """The application.

    Args:
        backend: the cluster.
        token: that of the state directory; others are made by its holder.
        known: who is let in, if others ask for it too.
        trust: what machines need to join; None: there is only this one.
    """
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
    describing.install(app)
    made = (looking_routes, changing_routes, operating_routes, following_routes, exec_routes)
    for routes in made:
        app.include_router(routes(backend))
    app.include_router(token_routes(backend, trust))
    app.include_router(registry_routes(backend.registries))
    known = known or KnownAccess(backend)
    if trust is not None:
        app.include_router(joining_routes(backend, known, trust))
    open_paths = OPEN_PATHS if trust is None else OPEN_PATHS + JOINING_PATHS
    tokens = Tokens(known, token)
    app.add_middleware(Gate, tokens=tokens, open_paths=open_paths)
    app.add_middleware(ErrorBoundary)
    return app
