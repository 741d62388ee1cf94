"""The outermost check of what machines send one another: its version, and how long it is.

Every answer tells our version, a refusal too.
"""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cube import __version__
from cube.remote.versions import HEADER, mismatch


class Door:
    """Lets requests of machines through whose version goes with ours."""

    def __init__(self, app: ASGIApp, limit: int, others: tuple[str, ...] = ()) -> None:
        """`limit`: bytes of a request's body; `others`: paths that not only Cube asks for."""
        self._app = app
        self._limit = limit
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer why not."""
        if scope["type"] != "http":
            return

        send = signed(send)
        why = mismatch(Headers(scope=scope).get(HEADER, ""))
        if why and scope["path"] not in self._others:
            refusal = problem_response(426, f"It cannot be used: {why}.", "Update the older one.")
            await refusal(scope, receive, send)
        elif is_too_long(scope, self._limit):
            await problem_response(413, too_long(self._limit))(scope, receive, send)
        else:
            await pass_on(self._app, scope, limited(receive, self._limit), send)


async def pass_on(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass a request on. One whose sender is gone before it was read is over, and no failure."""
    with suppress(ClientDisconnect):
        await app(scope, receive, send)


def signed(send: Send) -> Send:
    """Sends answers that tell our version."""

    async def send_signed(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)[HEADER] = __version__
        await send(message)

    return send_signed


def limited(receive: Receive, limit: int) -> Receive:
    """Receives the request's body up to so many bytes; beyond, whoever reads it gets a 413."""
    left = limit

    async def receive_some() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413, too_long(limit))
        return message

    return receive_some


def is_too_long(scope: Scope, limit: int) -> bool:
    """Does a request announce more than so many bytes? One of unknown length does not."""
    announced = Headers(scope=scope).get("content-length", "")
    return announced.isdecimal() and int(announced[:20]) > limit


def too_long(limit: int) -> str:
    """What whoever sent more is told."""
    size = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit >> 10} KiB"
    return f"The request is larger than {size}."


def sendable(text: str) -> str:
    """The text with what is not Unicode (half of a surrogate pair) written out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def problem_response(status: int, detail: str, remedy: str = "") -> JSONResponse:
    """An error between machines, in the form that users get too."""
    title = HTTPStatus(status).phrase
    content = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": sendable(detail),
        "remedy": remedy,
        "exit_code": 1,
    }
    return JSONResponse(content, status, media_type="application/problem+json")
