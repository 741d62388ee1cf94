"""What nodes say to their manager: reports, and requests for what they need to go on.

Served where TLS has demanded a certificate of the cluster. Each request must come from the very
node in whose name it speaks: that is for `cube.access` to say. Reports go to the manager as they
are; it judges what they tell.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

from cryptography import x509
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from cube.access import admit_node
from cube.api import problems
from cube.api.admission import is_admissible
from cube.api.gate import STATUS, bearer
from cube.api.joining import Trust
from cube.api.known import KnownAccess
from cube.api.names import KnownNames
from cube.api.problems import Problem, not_found
from cube.api.registries import named
from cube.codec import CodecError, loads_sent
from cube.messages import MANAGER, Fact, Report, SetAside, worker_name
from cube.registries import Registries
from cube.remote.sound import is_sound
from cube.remote.workers import Workers
from cube.serving import PEER
from cube.serving.boundary import ErrorBoundary
from cube.serving.door import Door
from cube.task import NodeKey
from cube.trust import Role, TrustError, key_print, party_of
from cube.trust.certificates import MAX_REQUEST_BYTES
from cube.world import World

MAX_REPORT_BYTES = 32 << 20


class Machines:
    """The doors that nodes come through."""

    def __init__(
        self,
        world: World,
        known: KnownAccess,
        workers: Workers,
        trust: Trust,
        names: KnownNames,
        registries: Registries,
    ) -> None:
        self._world = world
        self._names = names
        self._known = known
        self._workers = workers
        self._trust = trust
        self._registries = registries

    def app(self) -> Starlette:
        """The application, to be served with TLS."""
        node = "/v1/nodes/{node}"
        made = Starlette(
            routes=[
                Route(node, self._known_node),
                Route(f"{node}/reports", self._reports, methods=["POST"]),
                Route(f"{node}/names", self._reached),
                Route(f"{node}/registries/{{registry}}", self._credential),
                Route(f"{node}/certificate", self._certificate, methods=["POST"]),
            ],
            middleware=[Middleware(ErrorBoundary), Middleware(Door, limit=MAX_REPORT_BYTES)],
        )
        problems.install(made)
        return made

    async def _known_node(self, request: Request) -> Response:
        """A node asks whether it is still one."""
        await self._admitted(request)
        return Response(status_code=204)

    async def _reports(self, request: Request) -> Response:
        """A worker tells what its node runs."""
        node = await self._admitted(request)
        try:
            message = await run_in_threadpool(loads_sent, await request.body())
        except CodecError as error:
            raise Problem(422, f"That is no report: {error}", "Send what a worker made.") from None
        if not _is_about(message, node) or not is_sound(message):
            raise Problem(422, f"That is no report of {node}.", "Send what a worker made.")
        if isinstance(message, Report) and message.info is not None:
            self._workers.heard(node, message.info.address)
        self._world.send(MANAGER, _cleaned(message))
        return Response(status_code=204)

    async def _reached(self, request: Request) -> Response:
        """A node asks where services are reached, if that is not as it knows."""
        await self._admitted(request)
        known = request.query_params.get("known", "")
        told = await run_in_threadpool(self._names.since, known)
        if not told:
            return Response(status_code=204)
        return Response(told, media_type="application/json")

    async def _credential(self, request: Request) -> Response:
        """A node pulls from a registry, and asks how to log in there."""
        await self._admitted(request)
        name = named(request.path_params["registry"])
        found = (await run_in_threadpool(self._registries.all)).get(name)
        if found is None:
            raise not_found(f"credential for the registry {name}")
        told = {"user": found.user, "password": found.password}
        return JSONResponse(told, headers={"Cache-Control": "no-store"})

    async def _certificate(self, request: Request) -> Response:
        """A node asks for a certificate that lasts longer; its key stays."""
        node = await self._admitted(request)
        body = await request.body()
        text = body[: MAX_REQUEST_BYTES + 1].decode("ascii", "replace")
        made = await run_in_threadpool(self._trust.certificate, text, node)
        return PlainTextResponse(made, headers={"Cache-Control": "no-store"})

    async def _admitted(self, request: Request) -> str:
        """The node that speaks.

        Raises:
            Problem: it is not the one in whose name it speaks.
            NoAnswer: the manager does not answer.
        """
        node: str = request.path_params["node"]
        keys = await self._keys()
        shown = _shown(request.scope["state"].get(PEER))
        refusal = admit_node(keys, shown, bearer(request.scope), node)
        if refusal is not None:
            raise Problem(STATUS[refusal.kind], refusal.text, refusal.remedy)
        return node

    async def _keys(self) -> dict[str, NodeKey]:
        known = self._known
        if known.is_current:
            return known.now().node_keys
        return (await run_in_threadpool(known.now)).node_keys


def _is_about(message: Any, node: str) -> bool:
    """Is it a report of that node, and does it speak of nobody else?"""
    match message:
        case Report():
            return message.node == node and (message.info is None or message.info.name == node)
        case SetAside():
            return message.actor == worker_name(node)
    return False


def _cleaned(message: Report | SetAside) -> Report | SetAside:
    """Without specs that no user could submit: what they were made from would not be adopted."""
    if isinstance(message, SetAside) or all(_may_be_kept(fact) for fact in message.facts):
        return message
    facts = (f if _may_be_kept(f) else replace(f, spec=None) for f in message.facts)
    return replace(message, facts=tuple(facts))


def _may_be_kept(fact: Fact) -> bool:
    return fact.spec is None or is_admissible(fact.spec)


@lru_cache(maxsize=4096)
def _shown(certificate: bytes | None) -> tuple[str, str]:
    """The node, and the print of its key, in a certificate that TLS has checked."""
    if certificate is None:
        return "", ""
    found = x509.load_der_x509_certificate(certificate)
    party = party_of(found)
    try:
        key = key_print(found)
    except (TrustError, ValueError):
        return "", ""
    return (party.name, key) if party is not None and party.role is Role.NODE else ("", "")
