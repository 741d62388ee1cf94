"""One connection to another machine, kept open between requests and opened anew when it broke.

Owns the connection and its timeouts. A half-open one is noticed by the first request that stays
without an answer; where nothing is asked for long, as while output is followed, by the kernel.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from functools import partial
from typing import TypeVar

from cube import __version__
from cube.keepalive import stay
from cube.remote.versions import HEADER, mismatch
from cube.trust import TrustError

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0
RESTED_SECONDS = 60.0  # half as long as servers keep connections at rest
_NOT_YET, _OVER = 9, 10  # OpenSSL's numbers for certificates whose time is not now
_OTHER_HOST = (62, 64)
DISTRUST = 495  # as nginx has it: not an answer, but our own refusal of whoever answers
_LASTING = (401, 403, 426, DISTRUST)

T = TypeVar("T")
Response = http.client.HTTPResponse
Check = Callable[[ssl.SSLSocket], None]


class Unreachable(Exception):
    """Nobody answered; the text says what happened."""


class Refused(Exception):
    """The other side answered, and said no; `remedy` says what to do."""

    def __init__(self, status: int, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.remedy = remedy

    @property
    def lasts(self) -> bool:
        """Will it be refused again, until somebody does something about it?"""
        return self.status in _LASTING


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody is reached."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """Read `HOST:PORT`; None if it is something else."""
        host, _, port = text.rpartition(":")
        if not host or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
            return None
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Line:
    """Requests to one machine, one after the other. Not for two threads at once."""

    def __init__(
        self,
        place: Place,
        context: ssl.SSLContext,
        check: Check | None = None,
        secret: str = "",
    ) -> None:
        """`check` raises `TrustError` if somebody else is at the other end."""
        self.place = place
        self._context = context
        self._check = check
        self._headers = {HEADER: __version__, "Content-Type": "application/json"}
        if secret:
            self._headers["Authorization"] = f"Bearer {secret}"
        self._open: http.client.HTTPSConnection | None = None
        self._used = 0.0  # when its newest answer was read
        self.skew_seconds = 0.0  # our clock against theirs, at the newest answer

    def call(self, method: str, path: str, body: str | bytes | None = None) -> bytes:
        """The answer's body. The request may arrive twice.

        Raises:
            Unreachable: nobody answered.
            Refused: whoever answered said no, or is not whom we want.
        """
        with self.ask(method, path, body) as response:
            return self._reading(response.read)

    def tell(self, path: str, body: bytes, seconds: float) -> None:
        """Post it once: it never arrives twice. The answer may take so many seconds.

        Raises:
            Unreachable: nobody answered; it may have arrived.
            Refused: whoever answered said no, or is not whom we want.
        """
        if self._open is not None and time.monotonic() - self._used > RESTED_SECONDS:
            self.close()  # the other end may be about to close it
        send = partial(self._reading, lambda: self._send("POST", path, body, seconds))
        with self._asked(send) as response:
            self._reading(response.read)

    @contextmanager
    def ask(self, method: str, path: str, body: str | bytes | None = None) -> Iterator[Response]:
        """The answer, to be read within; what is not read then closes the connection.

        Raises:
            Unreachable: nobody answered.
            Refused: whoever answered said no, or is not whom we want.
        """
        with self._asked(lambda: self._first(method, path, body)) as response:
            yield response

    @contextmanager
    def _asked(self, send: Callable[[], Response]) -> Iterator[Response]:
        """An answer that is none of refusal, from a version that goes with ours."""
        response = send()
        try:
            self.skew_seconds = ahead_seconds(response.headers.get("Date", ""), time.time())
            if response.status >= 400:
                raise _refusal(response.status, self._reading(response.read))
            why = mismatch(response.headers.get(HEADER, ""))
            if why:
                raise Refused(426, f"{self.place} cannot be used: {why}.", "Update the older one.")
            yield response
        finally:
            self._used = time.monotonic()
            if not response.isclosed():
                self.close()

    def close(self) -> None:
        """Hang up; the next request connects anew."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @property
    def socket(self) -> ssl.SSLSocket | None:
        """What it stands on, while it is open."""
        return None if self._open is None else self._open.sock

    def _first(self, method: str, path: str, body: str | bytes | None) -> Response:
        """The beginning of the answer; a connection that was closed at rest is replaced once."""
        rested = self._open is not None
        try:
            return self._reading(lambda: self._send(method, path, body))
        except Unreachable:
            if not rested:
                raise
        return self._reading(lambda: self._send(method, path, body))

    def _send(
        self, method: str, path: str, body: str | bytes | None, seconds: float = ANSWER_SECONDS
    ) -> Response:
        if self._open is None:
            self._open = self._connect()
        self._open.sock.settimeout(seconds)
        self._open.request(
            method, path, body.encode() if isinstance(body, str) else body, self._headers
        )
        return self._open.getresponse()

    def _connect(self) -> http.client.HTTPSConnection:
        made = http.client.HTTPSConnection(
            self.place.host, self.place.port, timeout=CONNECT_SECONDS, context=self._context
        )
        try:
            made.connect()
            stay(made.sock)
            if self._check is not None:
                self._check(made.sock)
        except BaseException:
            made.close()
            raise
        return made

    def _reading(self, read: Callable[[], T]) -> T:
        """Whatever goes wrong on the way is one of two things."""
        try:
            return read()
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise self._distrusted(error) from error
        except TrustError as error:
            self.close()
            raise Refused(DISTRUST, str(error)) from error
        except TimeoutError as error:
            self.close()
            raise Unreachable(f"{self.place} does not answer") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Unreachable(f"{self.place} cannot be reached: {reason}") from error

    def _distrusted(self, error: ssl.SSLCertVerificationError) -> Refused:
        what = f"The certificate of {self.place} is not good: {error.verify_message}."
        if error.verify_code in (_NOT_YET, _OVER):
            return Refused(DISTRUST, what, "Compare the clocks of both machines.")
        if error.verify_code in _OTHER_HOST:
            remedy = "Start the manager with --advertise and the name that machines use for it."
            return Refused(DISTRUST, what, remedy)
        return Refused(
            DISTRUST, what, "Another cluster's manager, or another program, answers there."
        )


def ahead_seconds(date: str, now: float) -> float:
    """How far a clock that shows `now` is ahead of what an answer tells; 0 if it tells nothing."""
    told = parsedate_tz(date)
    return 0.0 if told is None else now - mktime_tz(told)


def _refusal(status: int, body: bytes) -> Refused:
    """What a problem (RFC 9457) says."""
    try:
        problem: Mapping[str, str] = json.loads(body)
        return Refused(status, problem["detail"], problem.get("remedy", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Refused(status, f"It was answered with the HTTP status {status}.")
