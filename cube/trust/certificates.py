"""Certificates: what they say, how they are made, when they are to be renewed.

Who a certificate belongs to stands in a URI among its alternative names, as SPIFFE has it:
`cube://CLUSTER/manager` or `cube://CLUSTER/node/NAME`. Keys are P-256, signatures SHA-256. The
time is always handed in. Owns no file.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = 86_400.0
AUTHORITY_SECONDS = 7300 * DAY
CERTIFICATE_SECONDS = 90 * DAY
BACKDATED_SECONDS = DAY  # clocks differ; a new certificate is good on all machines at once
RENEW_SHARE = 1 / 3  # of its life is left when a certificate is renewed
MAX_REQUEST_BYTES = 8192
_SCHEME = "cube://"


class TrustError(Exception):
    """A key, certificate or token cannot be used; the text says why and what to do."""


class Role(StrEnum):
    """What the owner of a certificate is in the cluster."""

    MANAGER = "manager"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Party:
    """Whose certificate it is."""

    cluster: str
    role: Role
    name: str = ""  # of a node

    @property
    def uri(self) -> str:
        """As it stands in the certificate."""
        name = f"/{self.name}" if self.name else ""
        return f"{_SCHEME}{self.cluster}/{self.role}{name}"

    @classmethod
    def parse(cls, uri: str) -> Party | None:
        """Read it back; None if it is anything else."""
        if not uri.startswith(_SCHEME):
            return None
        match uri.removeprefix(_SCHEME).split("/"):
            case [str(cluster), "manager"] if cluster:
                return cls(cluster, Role.MANAGER)
            case [str(cluster), "node", str(name)] if cluster and name:
                return cls(cluster, Role.NODE, name)
        return None


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh private key."""
    return ec.generate_private_key(ec.SECP256R1())


def self_signed(key: ec.EllipticCurvePrivateKey, cluster: str, now: float) -> x509.Certificate:
    """The certificate of a cluster's authority; it may sign certificates and nothing else."""
    name = _name(f"Cube CA {cluster}")
    builder = _begin(name, name, key.public_key(), now, AUTHORITY_SECONDS)
    usage = _usage(key_cert_sign=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())


def issue(
    authority_key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    public_key: ec.EllipticCurvePublicKey,
    party: Party,
    now: float,
    hosts: Iterable[str] = (),
) -> x509.Certificate:
    """A certificate for `party`; both sides of a connection use theirs.

    Args:
        authority_key: signs it.
        authority: the certificate of that key.
        public_key: the owner's.
        party: the owner.
        now: seconds since 1970.
        hosts: names and addresses under which the owner is reached.
    """
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(party.uri)]
    names += [_general_name(host) for host in hosts]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    subject = _name(party.name or str(party.role))
    return (
        _begin(subject, authority.subject, public_key, now, CERTIFICATE_SECONDS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(signer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def party_of(certificate: x509.Certificate) -> Party | None:
    """Whose it is; None if it is no certificate of ours. The signature is TLS's to check."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return Party.parse(uris[0]) if len(uris) == 1 else None


def covers(certificate: x509.Certificate, hosts: Iterable[str]) -> bool:
    """Is it good for all these names and addresses?"""
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return all(_general_name(host) in found for host in hosts)


def renewal_due(certificate: x509.Certificate, now: float) -> bool:
    """Is so little of its life left that it should be renewed?"""
    begin, end = (
        at.timestamp() for at in (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    )
    return now >= end - (end - begin) * RENEW_SHARE


def fingerprint(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the whole certificate."""
    return certificate.fingerprint(hashes.SHA256())


def key_print(holder: x509.Certificate | ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of a public key, in hex: the same over all renewals."""
    key = holder.public_key() if isinstance(holder, x509.Certificate) else holder
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()


def request(key: ec.EllipticCurvePrivateKey, node: str) -> str:
    """What a node sends to be given a certificate, as PEM: proof that it has the key."""
    made = x509.CertificateSigningRequestBuilder().subject_name(_name(node))
    return pem(made.sign(key, hashes.SHA256()))


def requested_key(text: str) -> ec.EllipticCurvePublicKey:
    """The key in a request. What else stands in it is ignored: the manager decides names.

    Raises:
        TrustError: it is no request, not signed by its own key, or another kind of key.
    """
    try:
        if len(text) > MAX_REQUEST_BYTES:
            raise ValueError
        found = x509.load_pem_x509_csr(text.encode("ascii"))
        key = found.public_key()
        if not found.is_signature_valid:
            raise ValueError
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        raise TrustError("That is not a request for a certificate.") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise TrustError("Certificates are given for P-256 keys only.")
    return key


def pem(thing: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """As text."""
    return thing.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _begin(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: float,
    seconds: float,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(now - BACKDATED_SECONDS, UTC))
        .not_valid_after(datetime.fromtimestamp(now + seconds, UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(**used: bool) -> x509.KeyUsage:
    kinds = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{kind: used.get(kind, False) for kind in kinds})
