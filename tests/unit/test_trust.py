"""The authority, what it signs, and how a machine becomes a node, killed at any point."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cube.trust import (
    Authority,
    Identity,
    Joining,
    JoinToken,
    Party,
    Role,
    TrustError,
    key_print,
    party_of,
)
from cube.trust.certificates import CERTIFICATE_SECONDS, DAY, issue, new_key, pem, requested_key
from cube.trust.identity import key_pem

NOW = 1_800_000_000.0
HOSTS = ("127.0.0.1", "manager.example")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca.pem", "c0ffee", NOW)


def node(authority: Authority, path: Path, name: str, now: float = NOW) -> Identity:
    """Join, as a worker does."""
    joining = Joining(path, name)
    made = authority.node(joining.request(), name, now)
    return joining.joined(pem(made), authority.certificate, f"secret-of-{name}")


# --- the manager's side ----------------------------------------------------------------------


def test_authority_is_made_once(tmp_path: Path, authority: Authority) -> None:
    again = Authority(tmp_path / "ca.pem", "c0ffee", NOW + 1000 * DAY)
    assert again.pem == authority.pem
    assert again.fingerprint == authority.fingerprint
    assert Authority(tmp_path / "other.pem", "c0ffee", NOW).fingerprint != authority.fingerprint


def test_what_a_crash_left_half_written_is_never_read(tmp_path: Path) -> None:
    torn = tmp_path / ".ca.pem.fresh"
    torn.write_text("-----BEGIN PRIVATE KEY-----\nAAAA")
    first = Authority(tmp_path / "ca.pem", "c0ffee", NOW)
    assert not torn.exists()
    torn.write_text("-----BEGIN PRIVATE KEY-----\nAAAA")
    assert Authority(tmp_path / "ca.pem", "c0ffee", NOW).pem == first.pem


def test_manager_certificate_is_kept_while_it_serves(tmp_path: Path, authority: Authority) -> None:
    path = tmp_path / "manager.pem"
    first = authority.manager(path, HOSTS, NOW)
    assert party_of(first.certificate) == Party("c0ffee", Role.MANAGER)
    assert authority.manager(path, HOSTS[:1], NOW + DAY).certificate == first.certificate
    moved = authority.manager(path, ("::1",), NOW + DAY)
    assert moved.certificate != first.certificate
    assert key_print(moved.certificate) == key_print(first.certificate)
    late = NOW + DAY + CERTIFICATE_SECONDS * 0.7
    assert moved.renewal_due(late)
    renewed = authority.manager(path, ("::1",), late)
    assert renewed.certificate != moved.certificate
    assert not renewed.renewal_due(late)


def test_manager_certificate_of_another_authority_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "manager.pem"
    old = Authority(tmp_path / "old.pem", "c0ffee", NOW).manager(path, HOSTS, NOW)
    authority = Authority(tmp_path / "new.pem", "c0ffee", NOW)
    fresh = authority.manager(path, HOSTS, NOW)
    assert (fresh.certificate != old.certificate, fresh.authority) == (True, authority.certificate)


def test_private_keys_are_for_their_owner_only(tmp_path: Path, authority: Authority) -> None:
    before = os.umask(0)
    try:
        authority.manager(tmp_path / "manager.pem", HOSTS, NOW)
        Joining(tmp_path / "half.pem", "node-2").request()
        node(authority, tmp_path / "node.pem", "node-1")
    finally:
        os.umask(before)
    files = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    names = {"ca.pem", "manager.pem", "half.pem.asking", "node.pem"}
    assert files == dict.fromkeys(names, 0o600)


@pytest.mark.parametrize("text", ["", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA"])
def test_damaged_file_is_refused_with_a_remedy_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(text)
    with pytest.raises(TrustError, match=r"ca\.pem is damaged\.\nPut it back"):
        Authority(path, "c0ffee", NOW)
    assert path.read_text() == text


def test_key_and_certificate_that_do_not_belong_together_are_refused(
    tmp_path: Path, authority: Authority
) -> None:
    made = authority.manager(tmp_path / "manager.pem", HOSTS, NOW)
    (tmp_path / "manager.pem").write_text(key_pem(new_key()) + pem(made.certificate))
    with pytest.raises(TrustError, match="is damaged"):
        Identity.read(tmp_path / "manager.pem")


def test_directory_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrustError, match=r"cannot be (read|written)"):
        Authority(tmp_path / "file" / "ca.pem", "c0ffee", NOW)


def test_only_requests_with_proof_are_signed(authority: Authority, tmp_path: Path) -> None:
    good = Joining(tmp_path / "node.pem", "node-1").request()
    assert requested_key(good)
    lines = good.splitlines()
    lines[3] = lines[3].swapcase()
    for bad in ("", "nonsense", "\n".join(lines), good * 100, good.replace("A", "é")):
        with pytest.raises(TrustError, match="not a request"):
            authority.node(bad, "node-1", NOW)


@pytest.mark.parametrize(
    "uri",
    ["https://x/manager", "cube:///manager", "cube://c/node/", "cube://c/node/a/b", "cube://c"],
)
def test_other_uris_are_nobody(uri: str) -> None:
    assert Party.parse(uri) is None


@pytest.mark.parametrize("party", [Party("c", Role.MANAGER), Party("c", Role.NODE, "node-1")])
def test_party_is_told_by_its_certificate(party: Party, tmp_path: Path) -> None:
    assert Party.parse(party.uri) == party
    path = tmp_path / "ca.pem"
    Authority(path, "c", NOW)
    own = Identity.read(path)
    assert own is not None
    assert party_of(own.certificate) is None  # an authority is no party
    made = issue(own.key, own.certificate, new_key().public_key(), party, NOW, HOSTS)
    assert party_of(made) == party


# --- the token -------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32))
def test_token_is_one_word_that_comes_back(fingerprint: bytes) -> None:
    token = JoinToken.make(fingerprint)
    text = token.text()
    assert (text[:6], len(text.split())) == ("cube1-", 1)
    assert JoinToken.parse(f" {text}\n") == token
    assert JoinToken.make(fingerprint) != token
    assert token.secret not in repr(token)


def test_half_a_token_is_refused_and_not_repeated() -> None:
    text = JoinToken.make(bytes(32)).text()
    swapped = text[:-1] + ("a" if text[-1] != "a" else "q")
    for bad in (
        text[:-1],
        text[:20],
        text[6:],
        swapped,
        "",
        "cube1-",
        "cube1-é",
        text + "aaaaaaaa",
    ):
        with pytest.raises(TrustError, match="not a whole join token") as error:
            JoinToken.parse(bad)
        assert bad[6:] == "" or bad[6:] not in str(error.value)


def test_token_pins_its_authority(authority: Authority, tmp_path: Path) -> None:
    token = JoinToken.make(authority.fingerprint)
    assert token.pinned(authority.pem) == authority.certificate
    other = Authority(tmp_path / "other.pem", "c0ffee", NOW)
    with pytest.raises(TrustError, match="not the manager that made this token"):
        token.pinned(other.pem)
    with pytest.raises(TrustError, match="not a manager"):
        token.pinned("<html>")


# --- the worker's side -----------------------------------------------------------------------


def test_joined_node_has_all_it_needs_in_one_file(authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "node.pem"
    made = node(authority, path, "node-1")
    kept = Joining(path, "node-1").identity()
    assert kept is not None
    assert (kept.certificate, kept.authority) == (made.certificate, authority.certificate)
    assert kept.secret == "secret-of-node-1"
    assert kept.secret not in repr(kept)
    assert party_of(kept.certificate) == Party("c0ffee", Role.NODE, "node-1")


def test_worker_killed_while_it_joins_asks_again_with_the_same_key(
    authority: Authority, tmp_path: Path
) -> None:
    path = tmp_path / "node.pem"
    asked = requested_key(Joining(path, "node-1").request())  # killed before the answer came
    assert requested_key(Joining(path, "node-1").request()) == asked
    joined = node(authority, path, "node-1")
    assert joined.key.public_key() == asked
    assert requested_key(Joining(path, "node-1").request()) == asked  # it joins once more
    (tmp_path / "node.pem.asking").write_text("torn")
    assert requested_key(Joining(path, "node-1").request()) == asked
    path.unlink()
    assert requested_key(Joining(path, "node-1").request()) != asked


def test_renewal_keeps_key_and_secret(authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "node.pem"
    first = node(authority, path, "node-1")
    late = NOW + 0.7 * CERTIFICATE_SECONDS
    assert (first.renewal_due(NOW), first.renewal_due(late)) == (False, True)
    joining = Joining(path, "node-1")
    second = joining.renewed(pem(authority.node(joining.request(), "node-1", late)))
    assert not second.renewal_due(late)
    assert (second.secret, key_print(second.certificate)) == (
        first.secret,
        key_print(first.certificate),
    )
    kept = joining.identity()
    assert kept is not None
    assert kept.certificate == second.certificate


def test_answers_for_somebody_else_are_refused(authority: Authority, tmp_path: Path) -> None:
    joining = Joining(tmp_path / "node.pem", "node-1")
    request = joining.request()
    own = authority.certificate
    other = Authority(tmp_path / "other.pem", "c0ffee", NOW)
    stranger = Joining(tmp_path / "stranger.pem", "node-1").request()
    for certificate, why in (
        (pem(authority.node(request, "node-2", NOW)), "somebody else"),
        (pem(authority.node(stranger, "node-1", NOW)), "somebody else"),
        (pem(other.node(request, "node-1", NOW)), "not signed by its authority"),
        ("nonsense", "no certificate"),
    ):
        with pytest.raises(TrustError, match=why):
            joining.joined(certificate, own, "secret")
    assert joining.identity() is None


def test_identity_of_another_name_is_not_used(authority: Authority, tmp_path: Path) -> None:
    node(authority, tmp_path / "node.pem", "node-1")
    with pytest.raises(TrustError, match=r"identity of node-1, not of node-2\.\nUse --name node-1"):
        Joining(tmp_path / "node.pem", "node-2").identity()
