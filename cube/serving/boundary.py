"""The boundary that no unexpected error of an application crosses.

Whoever asked is answered with one line and a number; the log has the number too, with what failed
and where. Texts of errors are not logged: they may repeat what somebody sent, and that may be
secret.
"""

from __future__ import annotations

import logging
import os
import secrets
import traceback
from collections.abc import Iterator

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cube.serving.door import problem_response

log = logging.getLogger("cube")


class ErrorBoundary:
    """Answers what nobody expected. To be the outermost of an application's middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; never raise."""
        started = False

        async def send_watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_watched)
        except ClientDisconnect:
            pass  # nobody is left to be answered
        except Exception as error:
            number = secrets.token_hex(4)
            what = f"{scope.get('method', '')} {_path(scope)}".strip()
            log.error("failure %s: %s: %s", number, what, "".join(described(error)))
            if not started:  # else the server breaks the connection, and the client sees that
                text = f"The server failed; its log tells more of failure {number}."
                remedy = "Try again. If it fails again, report what the log tells."
                await problem_response(500, text, remedy)(scope, receive, send)


def described(error: BaseException) -> Iterator[str]:
    """What went wrong and where, and what led to that, without the errors' own texts."""
    yield type(error).__name__
    if isinstance(error, OSError) and isinstance(error.errno, int):
        yield f" ({os.strerror(error.errno)})"
    yield "\n"
    yield from traceback.format_tb(error.__traceback__)
    for inner in getattr(error, "exceptions", ()):
        yield "  of which one is "
        yield from described(inner)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield "after "
        yield from described(cause)


def _path(scope: Scope) -> str:
    """As it was sent, so that it is one line of ASCII."""
    raw: bytes = scope.get("raw_path") or b""
    return raw.partition(b"?")[0].decode("ascii", "backslashreplace")
