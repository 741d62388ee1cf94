"""Who is let in, and what those who are not are told."""

from __future__ import annotations

from typing import Any

import pytest

from cube.access import Refusal, admit_join, admit_node, admit_user, digest
from cube.task import NodeKey, Token

FULL = Token("ann", "full", digest("full secret"), 0.0)
READ = Token("bob", "read", digest("read secret"), 0.0, expires=100.0)
JOIN = Token("rack", "join", digest("join secret"), 0.0, expires=100.0)
TOKENS = (FULL, READ, JOIN)
KEYS = {n: NodeKey(n, f"key of {n}", digest(f"secret of {n}"), 0.0) for n in ("node-1", "node-2")}


def kind(verdict: Any) -> str:
    return verdict.kind if isinstance(verdict, Refusal) else "let in"


@pytest.mark.parametrize(
    ("secret", "now", "changes", "expected"),
    [
        ("full secret", 1e9, True, "let in"),
        ("read secret", 99.0, False, "let in"),
        ("read secret", 99.0, True, "forbidden"),
        ("read secret", 100.0, False, "expired"),
        ("read secret", 100.0, True, "expired"),
        ("join secret", 1.0, False, "unknown"),  # it lets machines in, not users
        ("", 1.0, False, "unknown"),
        ("full secre", 1.0, False, "unknown"),
        (FULL.digest, 1.0, False, "unknown"),  # who has read the store has not got in
        ("\udcff", 1.0, False, "unknown"),
    ],
)
def test_users(secret: str, now: float, changes: bool, expected: str) -> None:
    assert kind(admit_user(TOKENS, secret, now, changes=changes)) == expected


@pytest.mark.parametrize(
    ("node", "key", "secret", "now", "expected"),
    [
        ("node-3", "key of node-3", "join secret", 99.0, "let in"),
        ("node-1", "key of node-1", "join secret", 99.0, "let in"),  # its answer was lost
        ("node-1", "key of node-3", "join secret", 99.0, "taken"),
        ("node-3", "key of node-3", "join secret", 100.0, "expired"),
        ("node-3", "key of node-3", "full secret", 99.0, "unknown"),
        ("node-3", "key of node-3", "", 99.0, "unknown"),
    ],
)
def test_joining(node: str, key: str, secret: str, now: float, expected: str) -> None:
    verdict = admit_join(TOKENS, KEYS, node, key, digest(secret), now)
    assert kind(verdict) == expected
    if expected == "taken":
        assert isinstance(verdict, Refusal)
        assert "cube node rm node-1" in verdict.remedy


@pytest.mark.parametrize(
    ("shown", "secret", "node", "expected"),
    [
        (("node-1", "key of node-1"), "secret of node-1", "node-1", "let in"),
        (("node-2", "key of node-2"), "secret of node-2", "node-1", "forbidden"),
        (("node-2", "key of node-2"), "secret of node-1", "node-1", "forbidden"),
        (("node-1", "key of node-1"), "secret of node-2", "node-1", "forbidden"),
        (("node-1", "key of node-2"), "secret of node-1", "node-1", "forbidden"),
        (("node-1", "key of node-1"), "", "node-1", "forbidden"),
        (("node-3", "key of node-3"), "secret of node-3", "node-3", "unknown"),
    ],
)
def test_nodes(shown: tuple[str, str], secret: str, node: str, expected: str) -> None:
    assert kind(admit_node(KEYS, shown, secret, node)) == expected


def test_node_that_was_removed_is_nobody_until_it_joins_again() -> None:
    left = {"node-2": KEYS["node-2"]}
    shown = ("node-1", "key of node-1")
    assert kind(admit_node(left, shown, "secret of node-1", "node-1")) == "unknown"
    assert admit_join(TOKENS, left, "node-1", "key of node-3", digest("join secret"), 1.0) is None


def test_no_refusal_and_no_record_repeats_a_secret_or_a_digest() -> None:
    refusals = [
        admit_user(TOKENS, "read secret", 100.0, changes=False),
        admit_user(TOKENS, "wrong secret", 1.0, changes=False),
        admit_join(TOKENS, KEYS, "node-1", "k", JOIN.digest, 1.0),
        admit_node(KEYS, ("node-1", "k"), "wrong secret", "node-1"),
    ]
    text = repr([refusals, TOKENS, KEYS])
    assert all(isinstance(r, Refusal) for r in refusals)
    assert "secret" not in text.replace("secret of", "")
    assert not any(t.digest in text for t in TOKENS)
    assert not any(k.digest in text for k in KEYS.values())
