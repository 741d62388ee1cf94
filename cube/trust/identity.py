"""A key with its certificate, the authority behind it, and a node's credential: one file.

The file is PEM: key, certificate, authority and, for a node, a block of Cube's own with the secret
that goes with every request. TLS libraries read the blocks they know. Owns its form, and that it
is replaced whole.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cube.state_dir import replace_file
from cube.trust.certificates import TrustError, pem, renewal_due

_BEGIN, _END = "-----BEGIN CUBE CREDENTIAL-----", "-----END CUBE CREDENTIAL-----"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a machine proves itself with."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate
    authority: x509.Certificate
    secret: str = field(default="", repr=False)  # a node's; goes with each of its requests

    def renewal_due(self, now: float) -> bool:
        """Is so little of the certificate's life left that a new one should be asked for?"""
        return renewal_due(self.certificate, now)

    def write(self, path: Path) -> None:
        """Keep it there, for the owner of the process only.

        Raises:
            TrustError: it cannot be written.
        """
        parts = [key_pem(self.key), pem(self.certificate), pem(self.authority)]
        if self.secret:
            parts.append(f"{_BEGIN}\n{b64encode(self.secret.encode()).decode()}\n{_END}\n")
        write_secret(path, "".join(parts))

    @classmethod
    def read(cls, path: Path) -> Identity | None:
        """What is kept there, or None if there is nothing.

        Raises:
            TrustError: something is there that cannot be used.
        """
        text = read_secret(path)
        if text is None:
            return None
        try:
            first, *others = x509.load_pem_x509_certificates(text.encode())
            key = read_key(text)
            secret = _secret(text)
        except ValueError:
            raise _damaged(path) from None
        if key is None or key.public_key() != first.public_key():
            raise _damaged(path)
        return cls(key, first, others[0] if others else first, secret)


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """A private key as text."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode("ascii")


def read_key(text: str) -> ec.EllipticCurvePrivateKey | None:
    """The private key in a text; None if it is of a kind that Cube does not make.

    Raises:
        ValueError: there is none.
    """
    begin, end = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
    block = text[text.index(begin) : text.index(end) + len(end)]
    key = serialization.load_pem_private_key(block.encode(), password=None)
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def read_secret(path: Path) -> str | None:
    """The text of a file that is ours alone, or None if there is none.

    Raises:
        TrustError: it cannot be read.
    """
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise _damaged(path) from None
    except OSError as error:
        raise TrustError(
            f"{path} cannot be read: {error.strerror}.\nRun as the user who owns it."
        ) from error


def write_secret(path: Path, text: str) -> None:
    """Replace a file that is ours alone.

    Raises:
        TrustError: it cannot be written.
    """
    try:
        replace_file(path, text)
    except OSError as error:
        raise TrustError(
            f"{path} cannot be written: {error.strerror}.\nFree the disk, or change its owner."
        ) from error


def _secret(text: str) -> str:
    _, begin, rest = text.partition(_BEGIN)
    return b64decode(rest.partition(_END)[0], validate=False).decode() if begin else ""


def _damaged(path: Path) -> TrustError:
    return TrustError(
        f"{path} is damaged.\nPut it back from a backup; or move it away and join again."
    )
