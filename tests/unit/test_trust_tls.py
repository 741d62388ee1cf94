"""Real TLS over loopback: who gets through, who does not, and at which door they are stopped."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from cube.access import Refusal, admit_join, admit_node, digest
from cube.task import NodeKey, Token
from cube.trust import Authority, Identity, Joining, JoinToken, TrustError, key_print
from cube.trust.certificates import DAY, pem
from cube.trust.contexts import (
    expect,
    first_contact,
    machines_listener,
    manager_to_node,
    node_to_manager,
    peer,
    to_manager,
    users_listener,
)

CLUSTER, HOST = "c0ffee", "127.0.0.1"
PATIENCE = 20.0  # seconds; a bound, never waited for
Handle = Callable[[ssl.SSLSocket], str]


@contextmanager
def serving(context: ssl.SSLContext, handle: Handle) -> Iterator[int]:
    """Serve one connection after another; gives the port. A handshake that fails ends just that."""
    with socket.create_server((HOST, 0)) as server:

        def serve() -> None:
            while True:
                try:
                    raw, _ = server.accept()
                except OSError:
                    return
                raw.settimeout(PATIENCE)
                with raw, suppress(OSError), context.wrap_socket(raw, server_side=True) as sock:
                    sock.sendall(handle(sock).encode())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def say(context: ssl.SSLContext, port: int, words: str, host: str = HOST) -> str:
    """Say one line; what is answered."""
    with (
        socket.create_connection((HOST, port), PATIENCE) as raw,
        context.wrap_socket(raw, server_hostname=host) as sock,
    ):
        sock.sendall(words.encode() + b"\n")
        answer = b""
        while part := sock.recv(4096):
            answer += part
        return answer.decode()


def heard(sock: ssl.SSLSocket) -> str:
    with sock.makefile("r", encoding="utf-8") as lines:
        return lines.readline().rstrip("\n")


@dataclass
class Site:
    """A manager, and machines that have joined it or not."""

    path: Path
    cluster: str = CLUSTER

    def __post_init__(self) -> None:
        self.path.mkdir()
        self.now = time.time()  # TLS judges validity by the machine's own clock
        self.authority = Authority(self.path / "ca.pem", self.cluster, self.now)
        self.manager = self.path / "manager.pem"
        self.authority.manager(self.manager, [HOST], self.now)
        self.token = JoinToken.make(self.authority.fingerprint)
        self.tokens = [Token("join", "join", digest(self.token.secret), self.now)]
        self.keys: dict[str, NodeKey] = {}

    def join(self, name: str, now: float | None = None) -> Path:
        """What a join leaves on the node; the manager keeps the digest."""
        path = self.path / f"{name}.pem"
        joining = Joining(path, name)
        made = self.authority.node(joining.request(), name, now or self.now)
        joining.joined(pem(made), self.authority.certificate, f"secret of {name}")
        kept = NodeKey(name, key_print(made), digest(f"secret of {name}"), self.now)
        self.keys[name] = kept
        return path

    def for_nodes(self, sock: ssl.SSLSocket) -> str:
        """What the manager's listener for nodes decides: `NODE SECRET` is what was said."""
        node, _, secret = heard(sock).partition(" ")
        party, shown = peer(sock)
        refusal = admit_node(self.keys, (party.name, key_print(shown)), secret, node)
        return "welcome" if refusal is None else refusal.kind

    def asks(self, identity: Path, words: str) -> str:
        """A node asks this manager."""
        context = node_to_manager(identity, self.authority.certificate)
        server = machines_listener(self.manager, self.authority.certificate)
        with serving(server, self.for_nodes) as port:
            return say(context, port, words)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def other(tmp_path: Path) -> Site:
    """Another cluster, which calls itself the same."""
    return Site(tmp_path / "other")


# --- nodes to their manager ------------------------------------------------------------------


def test_node_that_has_joined_is_served(site: Site) -> None:
    assert site.asks(site.join("node-1"), "node-1 secret of node-1") == "welcome"


def test_nobody_without_a_certificate_of_this_authority_gets_through_the_handshake(
    site: Site, other: Site
) -> None:
    own = site.authority.certificate
    strangers = node_to_manager(other.join("node-1"), own)
    site.join("node-1")
    asked: list[str] = []

    def handle(sock: ssl.SSLSocket) -> str:
        asked.append(heard(sock))
        return "welcome"

    with serving(machines_listener(site.manager, own), handle) as port:
        for context in (to_manager(own), strangers):
            with pytest.raises(OSError, match=r"(?i)alert|reset|eof|broken pipe"):
                say(context, port, "node-1 secret of node-1")
    assert asked == []


def test_expired_certificate_does_not_get_through_the_handshake(site: Site) -> None:
    late = site.join("node-1", site.now - 91 * DAY)
    with pytest.raises(OSError, match=r"(?i)alert|reset|eof|broken pipe"):
        site.asks(late, "node-1 secret of node-1")


def test_node_does_not_speak_to_a_manager_of_another_authority(site: Site, other: Site) -> None:
    mine = node_to_manager(site.join("node-1"), site.authority.certificate)
    theirs = machines_listener(other.manager, other.authority.certificate)
    with serving(theirs, other.for_nodes) as port, pytest.raises(ssl.SSLCertVerificationError):
        say(mine, port, "node-1 secret of node-1")


def test_node_does_not_speak_to_a_manager_at_another_address(site: Site) -> None:
    own = site.authority.certificate
    mine = node_to_manager(site.join("node-1"), own)
    with (
        serving(machines_listener(site.manager, own), site.for_nodes) as port,
        pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)hostname mismatch"),
    ):
        say(mine, port, "node-1 secret of node-1", host="manager.example")


def test_node_cannot_pass_for_the_manager(site: Site) -> None:
    """It holds a certificate of the cluster, but not for the manager's address."""
    own = site.authority.certificate
    mine = node_to_manager(site.join("node-1"), own)
    impostor = machines_listener(site.join("node-2"), own)
    with serving(impostor, heard) as port, pytest.raises(ssl.SSLCertVerificationError):
        say(mine, port, "node-1 secret of node-1")


def test_another_nodes_certificate_secret_or_both_are_refused(site: Site) -> None:
    first, second = site.join("node-1"), site.join("node-2")
    assert site.asks(second, "node-1 secret of node-1") == "forbidden"
    assert site.asks(second, "node-1 secret of node-2") == "forbidden"
    assert site.asks(first, "node-1 secret of node-2") == "forbidden"
    assert site.asks(first, "node-1 ") == "forbidden"


def test_revoked_node_is_refused_although_its_certificate_is_valid(site: Site) -> None:
    identity = site.join("node-1")
    del site.keys["node-1"]
    assert site.asks(identity, "node-1 secret of node-1") == "unknown"


def test_node_that_joined_anew_makes_its_earlier_certificate_worthless(site: Site) -> None:
    old = site.join("node-1").rename(site.path / "stolen.pem")
    site.join("node-1")
    assert site.asks(old, "node-1 secret of node-1") == "forbidden"


# --- the manager to its nodes ----------------------------------------------------------------


def test_worker_obeys_the_manager_and_nobody_else(site: Site, other: Site) -> None:
    own = site.authority.certificate
    first, second = site.join("node-1"), site.join("node-2")

    def handle(sock: ssl.SSLSocket) -> str:
        heard(sock)  # what is left unread would be answered by a reset
        try:
            expect(sock, CLUSTER)
        except TrustError as error:
            return str(error)
        return "as you say"

    with serving(machines_listener(first, own), handle) as port:
        assert say(manager_to_node(site.manager, own), port, "") == "as you say"
        refused = say(manager_to_node(second, own), port, "")
        assert refused == "The other side is cube://c0ffee/node/node-2, not cube://c0ffee/manager."
        with pytest.raises(OSError, match=r"(?i)alert|reset|eof|broken pipe"):
            say(manager_to_node(other.manager, own), port, "")


def test_manager_knows_a_node_by_name_wherever_it_is(site: Site) -> None:
    own = site.authority.certificate
    listener = machines_listener(site.join("node-1"), own)
    context = manager_to_node(site.manager, own)
    with (
        serving(listener, heard) as port,
        socket.create_connection((HOST, port), PATIENCE) as raw,
        context.wrap_socket(raw) as sock,
    ):
        expect(sock, CLUSTER, "node-1")
        with pytest.raises(TrustError, match="node-1, not cube://c0ffee/node/node-2"):
            expect(sock, CLUSTER, "node-2")
        with pytest.raises(TrustError, match="node-1, not cube://c0ffee/manager"):
            expect(sock, CLUSTER)


# --- joining ---------------------------------------------------------------------------------


def answers_joins(site: Site) -> Handle:
    """The public side of a manager: its authority for all, a certificate against a token."""

    def handle(sock: ssl.SSLSocket) -> str:
        name, _, rest = heard(sock).partition(" ")
        if not name:
            return site.authority.pem
        secret, _, request = rest.partition(" ")
        made = site.authority.node(request.replace("|", "\n"), name, site.now)
        refusal = admit_join(
            site.tokens, site.keys, name, key_print(made), digest(secret), site.now
        )
        if isinstance(refusal, Refusal):
            return refusal.kind
        site.keys[name] = NodeKey(name, key_print(made), digest("given"), site.now)
        return pem(made)

    return handle


def join(path: Path, name: str, token: JoinToken, port: int) -> Identity:
    """All that a worker does at its first contact."""
    authority = token.pinned(say(first_contact(), port, ""))
    joining = Joining(path, name)
    words = f"{name} {token.secret} {joining.request().replace(chr(10), '|')}"
    answer = say(to_manager(authority), port, words)
    return joining.joined(answer, authority, "given")


def test_machine_joins_by_its_token_and_is_served(site: Site, tmp_path: Path) -> None:
    token = JoinToken.parse(site.token.text())
    with serving(users_listener(site.manager), answers_joins(site)) as port:
        join(tmp_path / "node.pem", "node-1", token, port)
    assert site.asks(tmp_path / "node.pem", "node-1 given") == "welcome"


def test_first_contact_with_somebody_else_tells_them_nothing(
    site: Site, other: Site, tmp_path: Path
) -> None:
    """One who answers with his own authority is found out; one who repeats ours cannot prove it."""
    told: list[str] = []

    def eavesdrop(authority: str) -> Handle:
        def handle(sock: ssl.SSLSocket) -> str:
            told.append(heard(sock))
            return authority

        return handle

    server = users_listener(other.manager)
    with (
        serving(server, eavesdrop(other.authority.pem)) as port,
        pytest.raises(TrustError, match="not the manager that made this token"),
    ):
        join(tmp_path / "node.pem", "node-1", site.token, port)
    with (
        serving(server, eavesdrop(site.authority.pem)) as port,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        join(tmp_path / "node.pem", "node-1", site.token, port)
    assert told == ["", ""]


def test_machine_without_the_right_token_gets_no_certificate(site: Site, tmp_path: Path) -> None:
    wrong = JoinToken.make(site.authority.fingerprint)
    with serving(users_listener(site.manager), answers_joins(site)) as port:
        with pytest.raises(TrustError, match="no certificate"):
            join(tmp_path / "node.pem", "node-1", wrong, port)
        assert site.keys == {}
        join(tmp_path / "node.pem", "node-1", site.token, port)
        with pytest.raises(TrustError, match="no certificate"):  # the name is taken
            join(tmp_path / "copy.pem", "node-1", site.token, port)


def test_old_protocols_are_not_spoken(site: Site) -> None:
    context = to_manager(site.authority.certificate)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        serving(users_listener(site.manager), heard) as port,
        pytest.raises(OSError, match=r"(?i)alert|reset|eof"),
    ):
        say(context, port, "hello")


def test_peer_of_an_unchecked_connection_is_nobody(site: Site) -> None:
    with (
        serving(users_listener(site.manager), heard) as port,
        socket.create_connection((HOST, port), PATIENCE) as raw,
        first_contact().wrap_socket(raw) as sock,
        pytest.raises(TrustError, match="no certificate that was checked"),
    ):
        peer(sock)
