"""TLS contexts: who proves what to whom. TLS 1.3, and only the cluster's own certificates.

A context tells that the other side holds a certificate of the cluster, and `peer` whose it is:
whoever serves asks for both. Which requests a peer may make is decided by `cube.access`.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography import x509

from cube.trust.certificates import Party, Role, TrustError, party_of, pem


def users_listener(identity: Path) -> ssl.SSLContext:
    """The manager to users and to machines that join, who prove themselves by tokens."""
    return _server(identity)


def machines_listener(identity: Path, authority: x509.Certificate) -> ssl.SSLContext:
    """The manager to its nodes, a worker to its manager: whoever calls shows a certificate.

    It may be any machine's of the cluster. Whose it is has to be looked at: `peer`, `expect`.
    """
    context = _strict(_server(identity))
    context.load_verify_locations(cadata=pem(authority))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def node_to_manager(identity: Path, authority: x509.Certificate) -> ssl.SSLContext:
    """A node to its manager, whose certificate must be good for the address that was dialled."""
    context = to_manager(authority)
    context.load_cert_chain(identity)
    return context


def manager_to_node(identity: Path, authority: x509.Certificate) -> ssl.SSLContext:
    """The manager to a node. Nodes are known by name, not by address: ask `peer` for it."""
    context = to_manager(authority)
    context.check_hostname = False
    context.load_cert_chain(identity)
    return context


def to_manager(authority: x509.Certificate) -> ssl.SSLContext:
    """Users, and machines that join once they have pinned the authority."""
    context = _strict(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=pem(authority))
    return context


def first_contact() -> ssl.SSLContext:
    """Believes anybody: only to ask for the authority's certificate, which the token then checks.

    Nothing secret may be said over it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def peer(connection: ssl.SSLSocket | ssl.SSLObject) -> tuple[Party, x509.Certificate]:
    """Who is on the other side of a connection, of which TLS has checked the certificate.

    Raises:
        TrustError: it shows no certificate of a manager or a node.
    """
    shown = connection.getpeercert(binary_form=True)
    if connection.context.verify_mode is not ssl.CERT_REQUIRED or not shown:
        raise TrustError("The other side has shown no certificate that was checked.")
    certificate = x509.load_der_x509_certificate(shown)
    party = party_of(certificate)
    if party is None:
        raise TrustError("The certificate of the other side is not one of a manager or a node.")
    return party, certificate


def expect(connection: ssl.SSLSocket | ssl.SSLObject, cluster: str, node: str = "") -> None:
    """See that the other side is that node, or the manager if no node is named.

    Raises:
        TrustError: it is somebody else.
    """
    found, _ = peer(connection)
    wanted = Party(cluster, Role.NODE, node) if node else Party(cluster, Role.MANAGER)
    if found != wanted:
        raise TrustError(f"The other side is {found.uri}, not {wanted.uri}.")


def _server(identity: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(identity)
    return context


def _strict(context: ssl.SSLContext) -> ssl.SSLContext:
    """The rules that Python applies by itself from 3.13 on."""
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context
