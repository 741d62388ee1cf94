"""Routes for whoever looks after the machines: drain, label, declare lost, remove a node.

As in `changing`, each passes one message to the manager, which decides.
"""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import Field

from cube.api.backend import Backend
from cube.api.changing import Body, RequestId, show_answer
from cube.messages import DeclareLost, Drain, LabelNode, RemoveNode
from cube.views import AnswerView

MAX_LABELS = 100
MAX_SECONDS = 1e9

LabelKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_./-]+$", max_length=100)]
LabelValue = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=250)]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=MAX_LABELS)]


class DrainBody(Body):
    """Move a node's tasks elsewhere, or let it have some again."""

    on: bool = True
    deadline_seconds: float | None = Field(
        None,
        ge=0,
        le=MAX_SECONDS,
        allow_inf_nan=False,
        description="After which what is left is stopped without waiting. None: never.",
    )


class LabelBody(Body):
    """Add labels to those that the worker tells; take added ones away."""

    add: Labels = Field({})
    drop: Annotated[list[LabelKey], Field(max_length=MAX_LABELS)] = Field([])


def operating_routes(backend: Backend) -> APIRouter:
    """The routes, on this cluster."""
    router = APIRouter()

    @router.post("/v1/nodes/{name}/drain", response_model=AnswerView)
    def drain(name: str, body: DrainBody) -> JSONResponse:
        """Empty a node and give it no new tasks; with `on` false, let it have some again."""
        return show_answer(
            backend.request(
                lambda edge: Drain(body.request, name, edge, body.on, body.deadline_seconds)
            )
        )

    @router.post("/v1/nodes/{name}/labels", response_model=AnswerView)
    def label(name: str, body: LabelBody) -> JSONResponse:
        """Add labels to a node; they hold before its worker's own, and survive it."""
        add, drop = tuple(body.add.items()), tuple(body.drop)
        return show_answer(
            backend.request(lambda edge: LabelNode(body.request, name, edge, add, drop))
        )

    @router.post("/v1/nodes/{name}/lost", response_model=AnswerView)
    def lost(name: str, body: Body) -> JSONResponse:
        """A silent node is gone: place its tasks elsewhere at once."""
        conflict = f"Move its tasks with: cube node drain {name}"
        return show_answer(
            backend.request(lambda edge: DeclareLost(body.request, name, edge), conflict)
        )

    @router.delete("/v1/nodes/{name}", response_model=AnswerView)
    def remove(name: str, request: Annotated[RequestId | None, Query()] = None) -> JSONResponse:
        """Forget a node that is gone for good."""
        number = request or uuid.uuid4().hex
        conflict = f"Stop its worker, or say that it is gone with: cube node lost {name}"
        return show_answer(backend.request(lambda edge: RemoveNode(number, name, edge), conflict))

    return router
