"""Routes for tokens: made, listed, taken back. A secret is told once, and kept by nobody here."""

from __future__ import annotations

import secrets
import uuid
from typing import Annotated, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from cube.access import digest
from cube.api.backend import Backend
from cube.api.changing import show_answer
from cube.api.joining import Trust
from cube.api.problems import Problem
from cube.messages import CreateToken, RemoveToken
from cube.trust import JoinToken
from cube.views import AnswerView, NewTokenView, TokenView
from cube.views.show import show_time

TokenName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]


class TokenBody(BaseModel):
    """A token to be made. Repeating this makes another secret, so the name is then taken."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: TokenName
    scope: Literal["full", "read", "join"] = "full"
    seconds: float | None = Field(
        None, gt=0, le=1e9, allow_inf_nan=False, description="Until it expires. None: never."
    )


def token_routes(backend: Backend, trust: Trust | None) -> APIRouter:
    """The routes, on this cluster."""
    router = APIRouter()

    @router.get("/v1/tokens", response_model=list[TokenView])
    def tokens() -> list[TokenView]:
        """All tokens that were made, by name, without what is secret of them."""
        return [
            {
                "name": token.name,
                "scope": token.scope,
                "created": show_time(token.created),
                "expires": None if token.expires is None else show_time(token.expires),
            }
            for token in sorted(backend.access().tokens, key=lambda t: t.name)
        ]

    @router.post("/v1/tokens", response_model=NewTokenView)
    def create(body: TokenBody) -> JSONResponse:
        """Make a token. Its secret is in this answer and nowhere else."""
        number = uuid.uuid4().hex
        secret, text = _make(body.scope, trust)
        known = digest(secret)
        reply = backend.request(
            lambda edge: CreateToken(number, body.name, body.scope, known, edge, body.seconds),
            "Choose another name, or take that token back: cube token rm NAME.",
        )
        answer: NewTokenView = {"status": reply.status, "text": reply.text, "token": text}
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    @router.delete("/v1/tokens/{name}", response_model=AnswerView)
    def remove(name: str) -> JSONResponse:
        """Let nobody in by that token any more."""
        number = uuid.uuid4().hex
        return show_answer(backend.request(lambda edge: RemoveToken(number, name, edge)))

    return router


def _make(scope: str, trust: Trust | None) -> tuple[str, str]:
    """A new secret, and the token that holds it.

    Raises:
        Problem: machines cannot join here.
    """
    if scope != "join":
        secret = secrets.token_urlsafe(32)
        return secret, secret
    if trust is None:
        what = "No machines can join this cluster: it runs in one process."
        raise Problem(409, what, "Start one that they can join: cube manager.")
    made = JoinToken.make(trust.authority.fingerprint)
    return made.secret, made.text()
