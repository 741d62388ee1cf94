"""The application: routes, and who may use them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache

from cryptography import x509
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cube import __version__
from cube.codec import CodecError, loads
from cube.messages import Assign, worker_name
from cube.serving import PEER
from cube.serving.door import Door, problem_response
from cube.trust import Party, Role, party_of
from cube.world import World

MAX_ASSIGNMENT_BYTES = 64 << 20
Handler = Callable[[Request], Awaitable[Response]]


def make_worker_app(world: World, cluster: str, node: str) -> Starlette:
    """The application of one node's worker."""

    async def assignment(request: Request) -> Response:
        """What the node should run: all of it. The newest counts."""
        try:
            message = await run_in_threadpool(loads, await request.body())
        except CodecError as error:
            raise HTTPException(422, f"That is no assignment: {error}") from None
        if not isinstance(message, Assign) or message.node != node:
            raise HTTPException(422, f"That is no assignment for {node}.")
        world.send(worker_name(node), message)
        return Response(status_code=204)

    manager = _ManagerOnly(Party(cluster, Role.MANAGER))
    return Starlette(
        routes=[
            Route("/v1/health", _health),
            Route("/v1/assignment", manager(assignment), methods=["PUT"]),
        ],
        middleware=[Middleware(Door, limit=MAX_ASSIGNMENT_BYTES)],
        exception_handlers={HTTPException: _answer},
    )


async def _health(_: Request) -> Response:
    """The worker serves."""
    return JSONResponse({"status": "ok", "version": __version__})


async def _answer(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem_response(error.status_code, error.detail)


class _ManagerOnly:
    """Makes handlers that answer the manager of the cluster and nobody else."""

    def __init__(self, manager: Party) -> None:
        self._manager = manager

    def __call__(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            if _party(request.scope["state"].get(PEER)) != self._manager:
                raise HTTPException(403, "Only the manager of the cluster may do that.")
            return await handler(request)

        return guarded


@lru_cache(maxsize=64)
def _party(certificate: bytes | None) -> Party | None:
    """Whose certificate it is, which TLS has checked."""
    return None if certificate is None else party_of(x509.load_der_x509_certificate(certificate))
