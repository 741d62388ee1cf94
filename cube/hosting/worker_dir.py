"""A worker's directory: who it is, where its manager is, what it runs tasks with.

    DIR/node.pem      the node's key, certificate and credential, mode 0600 (see `cube.trust`)
    DIR/manager       the manager's URL, and where it speaks with nodes
    DIR/kind          the engine that it ran tasks with, for starts that do not name one
    DIR/engine/       what engines keep
    DIR/names.json    where services were reached, as the manager told it last
    DIR/worker.lock   held while a worker runs here

Owns the layout. How a machine becomes a node is owned by `joining`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from cube.remote.line import Place
from cube.state_dir import replace_file
from cube.trust import Identity, party_of

EngineKind = Literal["docker", "process", "simulated"]
ENGINES: tuple[EngineKind, ...] = get_args(EngineKind)  # the first one unless another is asked for


class JoinError(Exception):
    """The machine is no node, and cannot become one; the second line says what to do."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class ManagerAt:
    """Where the manager is."""

    host: str
    port: int  # for users, and for machines that join
    machines_port: int = 0

    @classmethod
    def parse(cls, url: str) -> ManagerAt:
        """Read `https://HOST:PORT`.

        Raises:
            JoinError: it is something else.
        """
        where = urlsplit(url if "//" in url else f"https://{url}")
        try:
            if where.scheme == "https" and where.hostname and not where.path.strip("/"):
                return cls(where.hostname, where.port or 7460)
        except ValueError:
            pass
        raise JoinError(f"{url} is not a manager's address.\nWrite https://HOST:PORT.", 2)

    @property
    def users(self) -> Place:
        """Where users speak to it."""
        return Place(self.host, self.port)

    @property
    def machines(self) -> Place:
        """Where nodes speak to it."""
        return Place(self.host, self.machines_port)


@dataclass(frozen=True, slots=True)
class WorkerDir:
    """One node's directory."""

    path: Path

    @property
    def identity_path(self) -> Path:
        """The node's key, certificate and credential."""
        return self.path / "node.pem"

    @property
    def engine_path(self) -> Path:
        """Where engines keep what they need."""
        return self.path / "engine"

    @property
    def names_path(self) -> Path:
        """Where services were reached, as last told."""
        return self.path / "names.json"

    @property
    def lock_path(self) -> Path:
        """Held while a worker runs here."""
        return self.path / "worker.lock"

    def kind(self) -> EngineKind:
        """The engine of the last start; what it has started no other would see, or stop."""
        try:
            known = (self.path / "kind").read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            known = ""
        return next((kind for kind in ENGINES if kind == known), ENGINES[0])

    def write_kind(self, kind: EngineKind) -> None:
        """Remember it."""
        replace_file(self.path / "kind", f"{kind}\n")

    def name(self) -> str:
        """The node that this machine is; "" if it has not joined.

        Raises:
            TrustError: its identity cannot be used.
        """
        kept = Identity.read(self.identity_path)
        party = None if kept is None else party_of(kept.certificate)
        return "" if party is None else party.name

    def manager(self) -> ManagerAt | None:
        """Where it was when we joined."""
        try:
            told: dict[str, Any] = json.loads((self.path / "manager").read_text(encoding="ascii"))
            return ManagerAt(str(told["host"]), int(told["port"]), int(told["machines_port"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_manager(self, at: ManagerAt) -> None:
        """Remember it."""
        replace_file(self.path / "manager", json.dumps(asdict(at)) + "\n")
