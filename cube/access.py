"""Who is let in: users by tokens, machines that join by join tokens, nodes by all they have.

Pure decisions over the manager's records and a time that is handed in. Secrets come in, digests are
compared, and no answer repeats what was given. What a certificate says has been checked by TLS
before; making certificates and tokens is `cube.trust`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Literal

from cube.task import NodeKey, Token

Kind = Literal["unknown", "expired", "forbidden", "taken"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody is not let in, and what to do about it."""

    kind: Kind
    text: str
    remedy: str


def digest(secret: str) -> str:
    """What is kept of a secret. Secrets are drawn at random, so a plain hash cannot be guessed."""
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def admit_user(
    tokens: Iterable[Token], secret: str, now: float, *, changes: bool
) -> Token | Refusal:
    """The token of whoever sent `secret`, if it may do that.

    Args:
        tokens: all that the manager knows.
        secret: what came as the bearer.
        now: seconds since 1970.
        changes: is anything to be changed? Read-only tokens may not.
    """
    token = _find(tokens, secret)
    if token is None or token.scope == "join":
        return Refusal(
            "unknown",
            "The token is missing or wrong.",
            "Use the state directory of the manager you speak to: --state-dir DIR.",
        )
    if _is_over(token, now):
        return Refusal(
            "expired",
            f"The token {token.name} has expired.",
            "Have another one made: cube token create NAME.",
        )
    if changes and token.scope != "full":
        return Refusal(
            "forbidden",
            f"The token {token.name} may only look, not change anything.",
            "Use a token with full rights.",
        )
    return token


def admit_join(
    tokens: Iterable[Token], keys: Mapping[str, NodeKey], node: str, key: str, join: str, now: float
) -> Refusal | None:
    """May a machine become the node `node`? None: yes.

    The same machine may ask again: its answer may have been lost, or its certificate has expired.

    Args:
        tokens: all that the manager knows.
        keys: the nodes that have joined.
        node: the name that it asks for.
        key: the print of its public key, which it has proved to hold.
        join: the digest of the secret in its join token.
        now: seconds since 1970.
    """
    token = _with_digest(tokens, join)
    if token is None or token.scope != "join":
        return Refusal(
            "unknown",
            "The join token is not one of this manager's.",
            "Have a new one made: cube token create NAME --join.",
        )
    if _is_over(token, now):
        return Refusal(
            "expired",
            "The join token has expired.",
            "Have a new one made: cube token create NAME --join.",
        )
    known = keys.get(node)
    if known is not None and known.key != key:
        return Refusal(
            "taken",
            f"Another machine is the node {node}.",
            f"Choose another name with --name; or, if that machine is gone: cube node rm {node}.",
        )
    return None


def admit_node(
    keys: Mapping[str, NodeKey], shown: tuple[str, str], secret: str, node: str
) -> Refusal | None:
    """Is this request from the node `node`, for which it speaks? None: yes.

    Args:
        keys: the nodes that have joined and were not removed.
        shown: the node's name and the print of its key in the certificate that TLS has checked.
        secret: what came as the bearer.
        node: in whose name the request is made.
    """
    known = keys.get(node)
    if known is None:
        return Refusal(
            "unknown",
            f"The node {node} has not joined, or was removed.",
            "Join it again: cube worker --join URL --token TOKEN.",
        )
    same = shown == (known.node, known.key)
    if not compare_digest(known.digest, digest(secret)) or not same:
        return Refusal(
            "forbidden",
            f"That is not the node {node}.",
            "Each machine has an identity of its own: remove a copied one, and join.",
        )
    return None


def _find(tokens: Iterable[Token], secret: str) -> Token | None:
    return _with_digest(tokens, digest(secret))


def _with_digest(tokens: Iterable[Token], wanted: str) -> Token | None:
    return next((t for t in tokens if compare_digest(t.digest, wanted)), None)


def _is_over(token: Token, now: float) -> bool:
    return token.expires is not None and token.expires <= now
