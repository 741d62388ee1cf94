"""The outermost layer of what is served: what the network does there is no failure of ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cube import __version__
from cube.api.gate import Gate
from cube.remote.versions import HEADER
from cube.serving.door import Door


async def read(request: Request) -> Response:
    return Response(await request.body())


def ask(door: Middleware, *body: dict[str, Any]) -> list[dict[str, Any]]:
    """What is answered to one request, of which this much arrives."""
    app = Starlette(routes=[Route("/", read, methods=["POST"])], middleware=[door])
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [(HEADER.lower().encode(), __version__.encode())],
    }
    arriving, answers = iter(body), []

    async def receive() -> dict[str, Any]:
        return next(arriving)

    async def send(message: dict[str, Any]) -> None:
        answers.append(message)

    asyncio.run(app(scope, receive, send))
    return answers


DOORS = [
    pytest.param(Middleware(Door, limit=100), id="of machines"),
    pytest.param(Middleware(Gate, tokens=None, open_paths=("/",)), id="of users"),
]


@pytest.mark.parametrize("door", DOORS)
def test_a_sender_who_is_gone_before_all_is_read_gets_no_answer(door: Middleware) -> None:
    part = {"type": "http.request", "body": b"half of", "more_body": True}
    assert ask(door, part, {"type": "http.disconnect"}) == []
    rest = {"type": "http.request", "body": b" it", "more_body": False}
    assert ask(door, part, rest)[1]["body"] == b"half of it"
