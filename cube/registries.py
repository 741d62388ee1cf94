"""Credentials for image registries: kept by the manager in one file, asked for by nodes that pull.

They are no part of the cluster's state: no actor sees them, and no event, snapshot, recording or
answer to a user holds a password. Whoever may read the file has them, as with Docker's own.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from cube.state_dir import replace_file

HUB = "docker.io"
MOST = 100
_OF_HUB = ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com")
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.|(?=:|$)))+(?::[0-9]{1,5})?", re.ASCII)
_IPV6 = re.compile(r"\[[0-9a-f:.]+\](?::[0-9]{1,5})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Credential:
    """With which a registry lets somebody in."""

    user: str
    password: str = field(repr=False)


Find = Callable[[str], Credential | None]  # by registry; raises `Unavailable`


class Unavailable(Exception):
    """Whether there is a credential cannot be known now; the text says why."""


class RegistriesError(Exception):
    """The file cannot be used; the text's second line says what to do."""


@runtime_checkable
class UsesCredentials(Protocol):
    """An engine that pulls images."""

    def use_credentials(self, find: Find) -> None:
        """Ask there before each pull from now on."""


def registry_named(text: str) -> str:
    """The registry that a user means: `HOST`, `HOST:PORT`, or a URL of one.

    Raises:
        ValueError: it names none.
    """
    host = re.sub(r"^https?://", "", text.strip().lower()).partition("/")[0]
    if len(host) > 255 or not (_HOST.fullmatch(host) or _IPV6.fullmatch(host)):
        raise ValueError(f"{text[:100]!r} is no registry: name its host, as in registry.example")
    return HUB if host in _OF_HUB else host


class Registries:
    """The credentials in one file. Used from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def all(self) -> dict[str, Credential]:
        """By registry.

        Raises:
            RegistriesError: the file is there and cannot be read.
        """
        try:
            found = json.loads(self._path.read_text(encoding="ascii"))
            return {name: Credential(**told) for name, told in found.items()}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise RegistriesError(
                f"{self._path} cannot be read: {error.strerror}.\nOnly the manager's user may."
            ) from error
        except (AttributeError, TypeError, ValueError) as error:
            raise RegistriesError(
                f"{self._path} is damaged.\nRemove it, and log in to each registry again."
            ) from error

    def find(self, registry: str) -> Credential | None:
        """That of one registry, as engines in the manager's own process ask for it.

        Raises:
            Unavailable: the file cannot be read.
        """
        try:
            return self.all().get(registry)
        except RegistriesError as error:
            raise Unavailable(str(error).partition("\n")[0]) from error

    def put(self, registry: str, credential: Credential) -> None:
        """Use it from now on instead of any other for that registry.

        Raises:
            RegistriesError: the file cannot be read or written, or there are too many.
        """
        with self._lock:
            known = {**self.all(), registry: credential}
            if len(known) > MOST:
                raise RegistriesError(
                    f"{MOST} registries have credentials already.\n"
                    "Take some of them back: cube registry logout HOST."
                )
            self._write(known)

    def drop(self, registry: str) -> bool:
        """Forget the credential of a registry. False: there was none.

        Raises:
            RegistriesError: the file cannot be read or written.
        """
        with self._lock:
            known = self.all()
            if known.pop(registry, None) is None:
                return False
            self._write(known)
            return True

    def _write(self, known: dict[str, Credential]) -> None:
        told: dict[str, Any] = {
            name: {"user": known[name].user, "password": known[name].password}
            for name in sorted(known)
        }
        try:
            replace_file(self._path, json.dumps(told, indent=2) + "\n")
        except OSError as error:
            raise RegistriesError(
                f"{self._path} cannot be written: {error.strerror}.\n"
                "Free some space, or make its directory writable, then repeat this."
            ) from error
