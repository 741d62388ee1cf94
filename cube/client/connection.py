"""The way to a manager: one request and its answer, or a stream, and what goes wrong on the way.

Owns whom to believe, how long to wait and which error follows; paths and shapes are the client's.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import httpx2

from cube.client.errors import ApiProblem, Distrusted, NoManager

TIMEOUT_SECONDS = 15.0  # longer than the server waits for its manager
CONNECT_SECONDS = 3.0
STREAM_SILENCE_SECONDS = 45.0  # the server speaks at least every 15 s


class Connection:
    """Reaches one manager. Close it, or use it in a `with`."""

    def __init__(self, address: str, token: str, authority: str = "") -> None:
        """`authority`: the certificate in PEM that vouches for an https address."""
        self.address = address.rstrip("/")
        self.authority = authority
        self.http = httpx2.Client(
            base_url=self.address,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx2.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,  # no proxy between us and a manager on this machine
            # Loading certificates takes 0.2 s, and plain HTTP (on loopback) has none to check.
            verify=_trusting(authority) if self.address.startswith("https:") else False,
        )

    def close(self) -> None:
        """Let go of connections."""
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str, **query: Any) -> Any:
        """What is at a path, as it came."""
        return self.send("GET", path, None, query)

    def send(self, method: str, path: str, body: Any, query: dict[str, Any] | None = None) -> Any:
        """One request and the JSON that it is answered with.

        Raises:
            ClientError: it did not succeed.
        """
        with self._reach():
            response = self.http.request(method, path, json=body, params=_given(query or {}))
        check(response)
        return response.json()

    @contextmanager
    def stream(
        self,
        path: str,
        query: dict[str, Any],
        silence_seconds: float | None = STREAM_SILENCE_SECONDS,
        body: dict[str, Any] | None = None,
    ) -> Iterator[httpx2.Response]:
        """A request whose answer is read as it comes; silence ends it, None: however long.

        Raises:
            ClientError: it did not succeed, or was cut off.
        """
        timeout = httpx2.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS, read=silence_seconds)
        with (
            self._reach(),
            self.http.stream(
                "GET" if body is None else "POST",
                path,
                params=_given(query),
                timeout=timeout,
                json=body,
            ) as response,
        ):
            if response.is_error:
                response.read()
            check(response)
            yield response

    @contextmanager
    def _reach(self) -> Iterator[None]:
        """Turn what goes wrong on the way into `NoManager`."""
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            if (why := _distrust(error)) is not None:
                raise Distrusted(
                    f"{self.address} is not the manager that is trusted: {why}."
                ) from None
            raise NoManager(f"No manager answers at {self.address}.") from error
        except httpx2.TimeoutException as error:
            raise NoManager(
                f"The manager at {self.address} did not answer in time.",
                "Look at what it says where it runs, and try again.",
            ) from error
        except httpx2.TransportError as error:
            raise NoManager(
                f"The connection to the manager at {self.address} broke.",
                "It was probably stopped. Start it again with: cube dev, or cube manager",
            ) from error


def check(response: httpx2.Response) -> None:
    """Raise what the server says went wrong."""
    if not response.is_error:
        return
    try:
        problem = ApiProblem(response.json())
    except (ValueError, KeyError, TypeError):
        raise NoManager(
            f"{response.url} answered {response.status_code}, but not as a Cube manager does.",
            "Is another program listening there? Start Cube with: cube dev --listen HOST:PORT",
        ) from None
    raise problem


def _trusting(authority: str) -> ssl.SSLContext:
    """Believes who that authority vouches for, and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if authority:
        context.load_verify_locations(cadata=authority)
    return context


def _distrust(error: BaseException | None) -> str | None:
    """Why TLS does not believe the other side; None if that is not what went wrong."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return None if error is None else error.verify_message


def _given(query: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}
