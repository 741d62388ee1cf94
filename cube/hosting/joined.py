"""A worker's directory: who it is, and where its manager is.

    DIR/node.pem      the node's key, certificate and credential, mode 0600 (see `cube.trust`)
    DIR/manager       the manager's URL, and where it speaks with nodes
    DIR/engine/       what engines keep
    DIR/worker.lock   held while a worker runs here

Owns the layout and how a machine joins.
"""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cube.hosting.addresses import machine_name
from cube.remote.line import Line, Place, Refused, Unreachable
from cube.state_dir import replace_file
from cube.trust import Identity, Joining, JoinToken, TrustError, party_of
from cube.trust.contexts import first_contact, to_manager

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


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
    def lock_path(self) -> Path:
        """Held while a worker runs here."""
        return self.path / "worker.lock"

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


@dataclass(frozen=True, slots=True)
class Membership:
    """What a machine is in a cluster."""

    node: str
    cluster: str
    at: ManagerAt
    identity: Identity
    warning: str = ""  # why it could not join anew, if it could not


def become(directory: WorkerDir, url: str, token: str, name: str) -> Membership:
    """Be the node that this machine is, or join where a token is given.

    A machine that has joined before goes on as what it is if it cannot join anew: its token may
    have expired since, or the manager be away.

    Args:
        directory: the node's.
        url: of the manager; "": as it was before.
        token: a join token, or "".
        name: of the node; "": as before, else that of the machine.

    Raises:
        JoinError: this machine is no node, and is not told how to become one.
        TrustError: somebody else answers there, or our identity is another's.
        Unreachable: nobody answers.
        Refused: the manager said no.
    """
    known, kept = directory.manager(), directory.name()
    at = ManagerAt.parse(url) if url else known
    if at is None:
        raise JoinError(
            f"This machine has not joined a cluster: {directory.path} holds no node.\n"
            "Join one: cube worker --join https://HOST:PORT --token TOKEN. The manager prints"
            " that line; cube token create NAME --join makes another token.",
            2,
        )
    node, warning = name or kept or machine_name(), ""
    if not NAME.fullmatch(node):
        text = f"A node cannot be called {node!r}.\nChoose its name with --name, of a-z, 0-9 and -."
        raise JoinError(text, 2)
    if token:
        try:
            at = _join(directory, node, at, JoinToken.parse(token))
        except (Refused, Unreachable) as error:
            if kept != node:
                raise
            warning = f"{error} It goes on as the node that it is."
    identity = Joining(directory.identity_path, node).identity()
    party = None if identity is None else party_of(identity.certificate)
    if identity is None or party is None:
        text = "This machine has not joined that cluster.\nGive the token too: --token TOKEN."
        raise JoinError(text, 2)
    if not at.machines_port:
        at = replace(at, machines_port=known.machines_port if known else at.port + 1)
    directory.write_manager(at)
    return Membership(node, party.cluster, at, identity, warning)


def _join(directory: WorkerDir, node: str, at: ManagerAt, token: JoinToken) -> ManagerAt:
    """Become a node, or the same one again; says where the manager speaks with nodes.

    Raises:
        TrustError: somebody else answers there, or our identity is another cluster's.
        Unreachable: nobody answers.
        Refused: the manager said no.
    """
    joining = Joining(directory.identity_path, node)
    kept = joining.identity()
    with closing(Line(at.users, first_contact())) as first:
        told = first.call("GET", "/v1/authority")
    authority = token.pinned(told.decode("ascii", "replace"))
    if kept is not None and kept.authority != authority:
        raise TrustError(
            f"{directory.path} belongs to a node of another cluster.\n"
            "Choose another directory with --state-dir; or remove that one."
        )
    body = {"node": node, "request": joining.request(), "secret": token.secret}
    with closing(Line(at.users, to_manager(authority))) as line:
        answer = json.loads(line.call("POST", "/v1/join", json.dumps(body)))
    joining.joined(answer["certificate"], authority, answer["secret"])
    return ManagerAt(at.host, at.port, answer["machines_port"])
