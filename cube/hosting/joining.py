"""How a machine becomes a node, stays one, or asks whether it would be let in."""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import dataclass, replace

from cryptography import x509

from cube.hosting import failures
from cube.hosting.addresses import machine_name
from cube.hosting.failures import ClusterError
from cube.hosting.worker_dir import JoinError, ManagerAt, WorkerDir
from cube.remote.line import Line, Refused, Unreachable
from cube.remote.versions import MACHINES_PORT
from cube.trust import Identity, Joining, JoinToken, TrustError, party_of
from cube.trust.certificates import new_key, request
from cube.trust.contexts import first_contact, node_to_manager, to_manager

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_EXITS = {401: 7, 403: 7, 409: 6, 495: 7}  # HTTP status -> exit code


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
            at = _join(directory, node, at, token)
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
        at, warning = _moved(at, known, identity.authority)
    directory.write_manager(at)
    return Membership(node, party.cluster, at, identity, warning)


def _moved(
    at: ManagerAt, known: ManagerAt | None, authority: x509.Certificate
) -> tuple[ManagerAt, str]:
    """Where the manager that we trust speaks with nodes now; a guess, with why, if it is away."""
    try:
        with (
            closing(Line(at.users, to_manager(authority))) as line,
            line.ask("GET", "/v1/authority") as response,
        ):
            return replace(at, machines_port=int(response.headers[MACHINES_PORT])), ""
    except (Refused, Unreachable) as error:
        same = known is not None and replace(known, machines_port=0) == at
        port = known.machines_port if known is not None and same else at.port + 1
        return replace(at, machines_port=port), f"{error} It goes on trying."


def ask(directory: WorkerDir, url: str, token: str, name: str) -> float:
    """Would this machine be let in? Changes nothing; says how far its clock is ahead.

    Without a token: is the node that it is still one?

    Raises:
        JoinError: this machine is no node, and there is no token.
        TrustError: somebody else answers there, or our identity is another's.
        Unreachable: nobody answers.
        Refused: it would not.
    """
    kept, known = Identity.read(directory.identity_path), directory.manager()
    at = ManagerAt.parse(url) if url else known
    if at is None or not (token or kept):
        raise JoinError("This machine is no node.\nJoin a cluster: cube worker --help.", 2)
    if token:
        authority, skew = _pinned(at, JoinToken.parse(token))
        key = new_key() if kept is None else kept.key
        node = name or directory.name() or machine_name()
        _request(at, authority, node, request(key, node), token, ask=True)
        return skew
    assert kept is not None
    context = node_to_manager(directory.identity_path, kept.authority)
    if not at.machines_port:
        at, _ = _moved(at, known, kept.authority)
    with closing(Line(at.machines, context, None, kept.secret)) as line:
        line.call("GET", f"/v1/nodes/{directory.name()}")
        return line.skew_seconds


def _join(directory: WorkerDir, node: str, at: ManagerAt, token: str) -> ManagerAt:
    """Become a node, or the same one again; says where the manager speaks with nodes."""
    joining = Joining(directory.identity_path, node)
    kept = joining.identity()
    authority, _ = _pinned(at, JoinToken.parse(token))
    if kept is not None and kept.authority != authority:
        raise TrustError(
            f"{directory.path} belongs to a node of another cluster.\n"
            "Choose another directory with --state-dir; or remove that one."
        )
    answer = json.loads(_request(at, authority, node, joining.request(), token))
    joining.joined(answer["certificate"], authority, answer["secret"])
    return ManagerAt(at.host, at.port, answer["machines_port"])


def _pinned(at: ManagerAt, token: JoinToken) -> tuple[x509.Certificate, float]:
    """The authority that the token names, and how far our clock is ahead."""
    with closing(Line(at.users, first_contact())) as first:
        told = first.call("GET", "/v1/authority")
    return token.pinned(told.decode("ascii", "replace")), first.skew_seconds


def _request(
    at: ManagerAt, authority: x509.Certificate, node: str, asked: str, token: str, ask: bool = False
) -> bytes:
    """Show the token, to the manager that the authority vouches for."""
    secret = JoinToken.parse(token).secret
    body = {"node": node, "request": asked, "secret": secret, "ask": ask}
    with closing(Line(at.users, to_manager(authority))) as line:
        return line.call("POST", "/v1/join", json.dumps(body))


def explained(error: BaseException) -> ClusterError | None:
    """What keeps a machine from being a node, as an operator is told; None: something else."""
    match error:
        case JoinError():
            return ClusterError(str(error), error.exit_code)
        case Unreachable():
            text = f"The manager cannot be asked: {error}.\nSee that it runs, and the address."
            return ClusterError(text, 8)
        case Refused():
            return ClusterError(f"{error}\n{error.remedy}", _EXITS.get(error.status, 1))
    return failures.explained(error)
