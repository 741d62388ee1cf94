"""The application: routes, and who may use them."""

from __future__ import annotations

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
from cube.codec import CodecError, loads_sent
from cube.engine import TaskIO
from cube.messages import Assign, worker_name
from cube.remote.sound import is_sound
from cube.serving import PEER
from cube.serving.boundary import ErrorBoundary
from cube.serving.door import Door, problem_response
from cube.serving.streams import Bell
from cube.trust import Party, Role, party_of
from cube.worker_api.state import Told
from cube.worker_api.tasks import TaskRoutes
from cube.world import World

MAX_ASSIGNMENT_BYTES = 64 << 20


def make_worker_app(
    world: World, cluster: str, node: str, engine: TaskIO | None, told: Told, bell: Bell
) -> Starlette:
    """The application of one node's worker.

    Args:
        world: hosts the worker.
        cluster: whose manager is let in.
        node: its name.
        engine: what runs its tasks; None: nothing does, it is simulated.
        told: what the worker tells of itself.
        bell: ends what lasts when it is closed.
    """

    async def assignment(request: Request) -> Response:
        """What the node should run: all of it. The newest counts."""
        try:
            message = await run_in_threadpool(loads_sent, await request.body())
        except CodecError as error:
            raise HTTPException(422, f"That is no assignment: {error}") from None
        if not isinstance(message, Assign) or message.node != node or not is_sound(message):
            raise HTTPException(422, f"That is no assignment for {node}.")
        world.send(worker_name(node), message)
        return Response(status_code=204)

    guarded = [Route("/v1/assignment", assignment, methods=["PUT"])]
    guarded += [*told.routes(), *TaskRoutes(engine, bell).routes()]
    manager, itself = Party(cluster, Role.MANAGER), Party(cluster, Role.NODE, node)
    return Starlette(
        routes=[
            Route("/v1/health", _health),
            *(_only((manager,), route) for route in guarded),
            _only((manager, itself), Route("/metrics", told.metrics)),
        ],
        middleware=[
            Middleware(ErrorBoundary),
            Middleware(Door, limit=MAX_ASSIGNMENT_BYTES, others=("/v1/health", "/metrics")),
        ],
        exception_handlers={HTTPException: _answer},
    )


async def _health(_: Request) -> Response:
    """The worker serves."""
    return JSONResponse({"status": "ok", "version": __version__})


async def _answer(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem_response(error.status_code, error.detail)


def _only(parties: tuple[Party, ...], route: Route) -> Route:
    """The same route, for these and nobody else; the first is the manager."""

    async def guarded(request: Request) -> Response:
        if _party(request.scope["state"].get(PEER)) not in parties:
            raise HTTPException(403, "Only the manager of the cluster may do that.")
        answer: Response = await route.endpoint(request)
        return answer

    return Route(route.path, guarded, methods=list(route.methods or ()))


@lru_cache(maxsize=64)
def _party(certificate: bytes | None) -> Party | None:
    """Whose certificate it is, which TLS has checked."""
    return None if certificate is None else party_of(x509.load_der_x509_certificate(certificate))
