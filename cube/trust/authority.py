"""The manager's side: an authority of its own, made at first start, that signs certificates.

Owns `ca.pem` and `manager.pem` in the state directory. Who is given a certificate is decided
elsewhere (`cube.access`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from cube.trust.certificates import (
    Party,
    Role,
    covers,
    fingerprint,
    issue,
    new_key,
    party_of,
    pem,
    requested_key,
    self_signed,
)
from cube.trust.identity import Identity


class Authority:
    """Signs for one cluster. Its file is made if there is none.

    Raises:
        TrustError: its file cannot be used.
    """

    def __init__(self, path: Path, cluster: str, now: float) -> None:
        self._cluster = cluster
        kept = Identity.read(path)
        if kept is None:
            key = new_key()
            certificate = self_signed(key, cluster, now)
            kept = Identity(key, certificate, certificate)
            kept.write(path)
        self._own = kept

    @property
    def certificate(self) -> x509.Certificate:
        """What all machines of the cluster trust."""
        return self._own.certificate

    @property
    def pem(self) -> str:
        """The certificate as text; it is no secret."""
        return pem(self.certificate)

    @property
    def fingerprint(self) -> bytes:
        """What a join token pins."""
        return fingerprint(self.certificate)

    def manager(self, path: Path, hosts: Iterable[str], now: float) -> Identity:
        """The manager's identity, good for `hosts`; made anew where it is due or lacks one.

        Raises:
            TrustError: its file cannot be used.
        """
        wanted = tuple(dict.fromkeys(hosts))
        party = Party(self._cluster, Role.MANAGER)
        kept = Identity.read(path)
        if kept is not None and self._serves(kept, party, wanted, now):
            return kept
        key = new_key() if kept is None else kept.key
        made = self._issue(key.public_key(), party, now, wanted)
        fresh = Identity(key, made, self.certificate)
        fresh.write(path)
        return fresh

    def node(self, request: str, name: str, now: float) -> x509.Certificate:
        """A certificate for the node `name`, for the key in `request`.

        Raises:
            TrustError: it is no request.
        """
        return self._issue(requested_key(request), Party(self._cluster, Role.NODE, name), now)

    def _serves(self, kept: Identity, party: Party, hosts: tuple[str, ...], now: float) -> bool:
        ours = kept.authority == self.certificate and party_of(kept.certificate) == party
        return ours and covers(kept.certificate, hosts) and not kept.renewal_due(now)

    def _issue(
        self,
        key: ec.EllipticCurvePublicKey,
        party: Party,
        now: float,
        hosts: tuple[str, ...] = (),
    ) -> x509.Certificate:
        return issue(self._own.key, self.certificate, key, party, now, hosts)
