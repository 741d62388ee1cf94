"""Routes for machines that join: the authority's certificate, and a certificate of one's own.

They need no bearer: the first tells what is no secret, the second wants a join token. Whether it is
good is decided by the manager; what is signed here is the key of whoever it let in.
"""

from __future__ import annotations

import secrets
import time
import uuid
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from cube.access import admit_join, digest
from cube.api.backend import Backend
from cube.api.gate import STATUS
from cube.api.known import KnownAccess
from cube.api.problems import Problem
from cube.messages import Enrol
from cube.remote.versions import MACHINES_PORT, mismatch
from cube.trust import Authority, TrustError, key_print
from cube.trust.certificates import MAX_REQUEST_BYTES, pem, requested_key
from cube.views import JoinedView

JOINING_PATHS = ("/v1/authority", "/v1/join")
_TAKEN = "Choose another name with --name; or, if that machine is gone: cube node rm NAME."


@dataclass(frozen=True, slots=True)
class Trust:
    """What the manager signs with, and where its nodes speak to it."""

    cluster: str
    authority: Authority
    machines_port: int

    def certificate(self, request: str, node: str) -> str:
        """A certificate for a node, in PEM.

        Raises:
            Problem: that is no request for one.
        """
        try:
            return pem(self.authority.node(request, node, time.time()))
        except TrustError as error:
            raise Problem(422, str(error), "Send what cube worker makes.") from None


class JoinBody(BaseModel):
    """A machine wants to be a node."""

    model_config = ConfigDict(extra="forbid", strict=True)

    node: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    request: str = Field(max_length=MAX_REQUEST_BYTES, description="For a certificate, in PEM.")
    secret: str = Field(max_length=100, description="Of the join token.")
    ask: bool = Field(False, description="Say only whether it may; change nothing.")


def joining_routes(backend: Backend, known: KnownAccess, trust: Trust) -> APIRouter:
    """The routes, on this cluster."""
    router = APIRouter()

    @router.get("/v1/authority", response_class=PlainTextResponse)
    async def authority() -> PlainTextResponse:
        """The certificate behind all others; needs no token, and is no secret.

        A header says where the manager speaks with nodes.
        """
        where = {MACHINES_PORT: str(trust.machines_port)}
        return PlainTextResponse(trust.authority.pem, 200, where, "application/x-pem-file")

    @router.post("/v1/join", response_model=JoinedView, responses={204: {}})
    def join(body: JoinBody, cube_version: Annotated[str, Header()] = "") -> Response:
        """Become a node; the same machine may ask again. Needs a join token in the body.

        With `ask` nothing happens, and the answer is 204 if it would have been let in.
        """
        if why := mismatch(cube_version):
            raise Problem(426, f"The worker cannot join: {why}.", "Update the older one.")
        try:
            key = key_print(requested_key(body.request))
        except TrustError as error:
            raise Problem(422, str(error), "Send what cube worker makes.") from None
        join = digest(body.secret)
        if body.ask:
            word = known.now()
            refusal = admit_join(word.tokens, word.node_keys, body.node, key, join, known.clock())
            if refusal is not None:
                raise Problem(STATUS[refusal.kind], refusal.text, refusal.remedy)
            return Response(status_code=204)
        secret, number = secrets.token_urlsafe(32), uuid.uuid4().hex
        backend.request(
            lambda edge: Enrol(number, body.node, key, join, digest(secret), edge), _TAKEN
        )
        answer: JoinedView = {
            "cluster": trust.cluster,
            "certificate": trust.certificate(body.request, body.node),
            "secret": secret,
            "machines_port": trust.machines_port,
        }
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    return router
