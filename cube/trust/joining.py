"""How a machine becomes a node: the token that is pasted, and the worker's side of joining.

The token holds the fingerprint of the authority's certificate, so the first contact is safe, and a
secret that the manager knows by its digest. Owns the token's form and the worker's file. Before it
asks, the worker keeps its key: if it is killed at any point, it asks again with the same key, and
the manager sees that it is the same machine.
"""

from __future__ import annotations

import secrets
from base64 import b32decode, b32encode
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from cube.trust.certificates import (
    Role,
    TrustError,
    fingerprint,
    key_print,
    new_key,
    party_of,
    request,
)
from cube.trust.identity import Identity, key_pem, read_key, read_secret, write_secret

_PREFIX = "cube1-"
_FINGERPRINT, _SECRET, _CHECK = 32, 16, 4  # bytes
_TRUNCATED = "That is not a whole join token.\nPaste all of it; it begins with cube1- ."


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What `cube worker --join` is given. Its text is a secret: only `text` tells it."""

    fingerprint: bytes  # of the authority's certificate
    secret: str = field(repr=False)

    @classmethod
    def make(cls, fingerprint: bytes) -> JoinToken:
        """A new one, with a secret of 128 bits."""
        return cls(fingerprint, secrets.token_hex(_SECRET))

    def text(self) -> str:
        """In one word, with a check sum against half a paste."""
        body = self.fingerprint + bytes.fromhex(self.secret)
        whole = body + sha256(body).digest()[:_CHECK]
        return _PREFIX + b32encode(whole).decode("ascii").rstrip("=").lower()

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        """Read it back.

        Raises:
            TrustError: it is not a whole token; the error does not repeat it.
        """
        word = text.strip()
        if not word.startswith(_PREFIX):
            raise TrustError(_TRUNCATED)
        body = word.removeprefix(_PREFIX).upper()
        try:
            whole = b32decode(body + "=" * (-len(body) % 8))
        except ValueError:
            raise TrustError(_TRUNCATED) from None
        known, check = whole[:-_CHECK], whole[-_CHECK:]
        if len(known) != _FINGERPRINT + _SECRET or sha256(known).digest()[:_CHECK] != check:
            raise TrustError(_TRUNCATED)
        return cls(known[:_FINGERPRINT], known[_FINGERPRINT:].hex())

    def pinned(self, authority: str) -> x509.Certificate:
        """The authority's certificate, as whoever answered told it, if it is the one we want.

        Raises:
            TrustError: it is another's: somebody else answers at that address.
        """
        try:
            found = x509.load_pem_x509_certificate(authority.encode("ascii"))
        except ValueError:
            raise TrustError("What answers there is not a manager of Cube.") from None
        if not secrets.compare_digest(fingerprint(found), self.fingerprint):
            raise TrustError(
                "What answers there is not the manager that made this token.\n"
                "Check the address; or the manager's state was made anew: use a new token."
            )
        return found


class Joining:
    """The worker's side. `path` holds its identity once it has joined."""

    def __init__(self, path: Path, node: str) -> None:
        self._path = path
        self._asking = path.with_name(f"{path.name}.asking")
        self._node = node

    def identity(self) -> Identity | None:
        """What an earlier join has left.

        Raises:
            TrustError: it cannot be used, or belongs to a node of another name.
        """
        kept = Identity.read(self._path)
        if kept is None:
            return None
        party = party_of(kept.certificate)
        if party is None or (party.role, party.name) != (Role.NODE, self._node):
            held = "another" if party is None else party.name
            raise TrustError(
                f"{self._path} is the identity of {held}, not of {self._node}.\n"
                f"Use --name {held}, or another state directory."
            )
        return kept

    def request(self) -> str:
        """What to send to the manager; repeating it asks with the same key.

        Raises:
            TrustError: the key cannot be kept.
        """
        return request(self._key(), self._node)

    def joined(self, certificate: str, authority: x509.Certificate, secret: str) -> Identity:
        """Keep what the manager answered.

        Raises:
            TrustError: it is not an answer to our request, or cannot be kept.
        """
        key = self._key()
        made = Identity(key, _certificate(certificate), authority, secret)
        _check(made, self._node)
        made.write(self._path)
        self._asking.unlink(missing_ok=True)
        return made

    def renewed(self, certificate: str) -> Identity:
        """Keep a certificate that replaces the present one; key and secret stay.

        Raises:
            TrustError: it is not for our key, not from our authority, or cannot be kept.
        """
        kept = self.identity()
        if kept is None:
            raise TrustError("There is no identity to renew.\nJoin first.")
        made = Identity(kept.key, _certificate(certificate), kept.authority, kept.secret)
        _check(made, self._node)
        made.write(self._path)
        return made

    def _key(self) -> ec.EllipticCurvePrivateKey:
        """The key of an earlier identity or of a join that was cut off; else a new one, kept."""
        kept = self.identity()
        if kept is not None:
            return kept.key
        text = read_secret(self._asking)
        if text is not None:
            try:
                key = read_key(text)
            except ValueError:
                key = None
            if key is not None:
                return key
        key = new_key()
        write_secret(self._asking, key_pem(key))
        return key


def _certificate(text: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(text.encode("ascii"))
    except ValueError:
        raise TrustError("The manager's answer holds no certificate.") from None


def _check(made: Identity, node: str) -> None:
    party = party_of(made.certificate)
    ours = party is not None and (party.role, party.name) == (Role.NODE, node)
    if not ours or key_print(made.certificate) != key_print(made.key.public_key()):
        raise TrustError("The manager's answer is for somebody else.")
    try:
        made.certificate.verify_directly_issued_by(made.authority)
    except (ValueError, TypeError, InvalidSignature):
        raise TrustError("The manager's answer is not signed by its authority.") from None
