"""Tokens and node keys in the manager's books: saved first, then told, gone when removed."""

from __future__ import annotations

from typing import Any

from cube.access import digest
from cube.messages import Access, CreateToken, Enrol, LookAccess, RemoveNode, RemoveToken, Reply
from tests.managers import Driver


def told(d: Driver, message: Any) -> Reply:
    """The manager's answer."""
    (reply,) = [e.message for e in d.tell(message) if e.to == "edge/1"]
    assert isinstance(reply, Reply)
    return reply


def create(d: Driver, name: str, scope: Any = "full", seconds: float | None = None) -> Reply:
    number = f"create-{name}-{d.now}"
    return told(d, CreateToken(number, name, scope, digest(f"{name}'s"), "edge/1", seconds))


def enrol(d: Driver, node: str, key: str, token: str = "rack", number: str = "") -> Reply:
    request = number or f"enrol-{node}-{key}-{d.now}"
    join, own = digest(f"{token}'s"), digest(f"secret of {key}")
    return told(d, Enrol(request, node, key, join, own, "edge/1"))


def access(d: Driver) -> Access:
    body = told(d, LookAccess("look", "edge/1")).body
    assert isinstance(body, Access)
    return body


def test_token_is_made_once_kept_and_taken_back() -> None:
    d = Driver()
    assert create(d, "ann").status == "created"
    assert create(d, "bob", "read", 60.0).body == {"token": "bob", "expires": d.now + 60.0}
    d.now += 1
    again = create(d, "ann", "read")
    assert (again.status, again.text) == ("conflict", "there is a token ann already")
    d.restart()
    assert [(t.name, t.scope) for t in access(d).tokens] == [("ann", "full"), ("bob", "read")]
    assert told(d, RemoveToken("rm", "ann", "edge/1")).status == "ok"
    assert told(d, RemoveToken("rm-2", "ann", "edge/1")).status == "not-found"
    assert list(d.store.load().tokens) == ["bob"]
    assert [t.name for t in access(d).tokens] == ["bob"]


def test_machine_is_enrolled_by_a_join_token_until_that_expires() -> None:
    d = Driver(nodes=0)
    create(d, "rack", "join", 60.0)
    create(d, "ann")
    assert enrol(d, "node-1", "k1").status == "created"
    for token in ("ann", "nobody"):
        assert enrol(d, "node-2", "k2", token).status == "forbidden"
    d.now += 60
    late = enrol(d, "node-2", "k2")
    assert (late.status, "has expired" in late.text) == ("forbidden", True)
    d.restart()
    assert {n: k.key for n, k in access(d).node_keys.items()} == {"node-1": "k1"}


def test_taken_name_is_refused_and_the_same_machine_may_ask_again() -> None:
    d = Driver(nodes=0)
    create(d, "rack", "join")
    enrol(d, "node-1", "k1")
    taken = enrol(d, "node-1", "k2")
    assert (taken.status, "cube node rm node-1" in taken.text) == ("conflict", True)
    d.now += 1
    assert enrol(d, "node-1", "k1").text == "node-1 was given a new identity"
    assert access(d).node_keys["node-1"].since == d.now


def test_removed_node_is_nobody_until_it_joins_again() -> None:
    d = Driver(nodes=0)
    create(d, "rack", "join")
    enrol(d, "node-1", "k1")  # it never reports
    assert told(d, RemoveNode("rm", "node-1", "edge/1")).status == "ok"
    assert (access(d).node_keys, d.store.load().node_keys) == ({}, {})
    assert told(d, RemoveNode("rm-2", "node-1", "edge/1")).status == "not-found"
    assert enrol(d, "node-1", "k2").status == "created"


def test_no_secret_reaches_events_or_answers() -> None:
    d = Driver(nodes=0)
    create(d, "rack", "join")
    message = Enrol("e", "node-1", "k1", digest("rack's"), digest("own"), "edge/1")
    told(d, message)
    kept = d.store.load()
    text = repr([message, d.store.events(), kept.answers, kept.tokens, kept.node_keys])
    assert [e.kind for e in d.store.events()][-2:] == ["token.created", "node.enrolled"]
    assert digest("rack's") not in text
    assert digest("own") not in text
