"""Answers DNS on the gateways of jobs' networks, where containers ask what their engine cannot say.

Owns the sockets, and what is answered to whom: `SERVICE` is one of the job whose network the
question came through, `SERVICE.JOB.cube` one of any job. All else is refused, so that the engine
goes on to the next server of the container.
"""

from __future__ import annotations

import ipaddress
import logging
import random
import selectors
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple, TypeAlias

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

log = logging.getLogger("cube")

PORT = 53
DOMAIN = "cube"
TTL_SECONDS = 2
MOST = 16  # addresses in an answer: it fits into 512 bytes, and clients take the first
MAX_QUERY_BYTES = 4096
_VERSIONS = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}

# From job and service; None if there is no such one. LookupError: nobody knows.
Addresses: TypeAlias = Callable[[str, str], tuple[str, ...] | None]


class Responder:
    """One thread for all gateways."""

    def __init__(self, addresses: Addresses, port: int = PORT) -> None:
        self._addresses = addresses
        self._port = port
        self._sockets: dict[str, socket.socket] = {}  # by gateway
        self._jobs: dict[str, str] = {}  # by gateway
        self._complaint = ""
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._bell, self._rung = socket.socketpair()
        self._selector.register(self._rung, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="cube-dns", daemon=True)
        self._thread.start()

    def serve(self, gateway: str, job: str) -> bool:
        """Answer what containers of `job` ask at `gateway`. False: that cannot be done."""
        with self._lock:
            if gateway not in self._sockets and not self._listen(gateway):
                return False
            self._jobs[gateway] = job
            return True

    def settle(self, gateways: Mapping[str, str]) -> None:
        """Those are all that there are, with their jobs."""
        with self._lock:
            for gateway in self._sockets.keys() - gateways.keys():
                del self._jobs[gateway]
                self._selector.unregister(self._sockets[gateway])
                self._sockets.pop(gateway).close()
        for gateway, job in gateways.items():
            self.serve(gateway, job)

    def close(self) -> None:
        """Answer nobody any more."""
        self._bell.close()
        self._thread.join()
        self._selector.close()
        for opened in (*self._sockets.values(), self._rung):
            opened.close()

    def _listen(self, gateway: str) -> bool:
        family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_DGRAM)
        try:
            # Two workers on one engine share its networks: either may answer.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            opened.bind((gateway, self._port))
            opened.setblocking(False)
        except OSError as error:
            opened.close()
            self._complain(f"port {self._port} of {gateway} cannot be used: {error.strerror}")
            return False
        self._sockets[gateway] = opened
        self._selector.register(opened, selectors.EVENT_READ, gateway)
        return True

    def _complain(self, why: str) -> None:
        """Once, and not for every network."""
        if not self._complaint:
            log.warning("containers will not find services on other machines: %s", why)
        self._complaint = why

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return  # closed
                with self._lock:
                    job, opened = self._jobs.get(key.data), self._sockets.get(key.data)
                if job is not None and opened is not None:
                    with suppress(OSError):  # it was closed meanwhile, or whoever asked is gone
                        self._take(opened, job)

    def _take(self, opened: socket.socket, job: str) -> None:
        query, asker = opened.recvfrom(MAX_QUERY_BYTES)
        said = answer(query, job, self._addresses)
        if said is not None:
            opened.sendto(said, asker)


def answer(query: bytes, job: str, addresses: Addresses) -> bytes | None:
    """The answer to one query from a container of `job`; None if it is no query."""
    try:
        asked = dns.message.from_wire(query)
        response = dns.message.make_response(asked)
    except (dns.exception.DNSException, ValueError):
        return None
    if asked.opcode() != dns.opcode.QUERY or len(asked.question) != 1:
        response.set_rcode(dns.rcode.NOTIMP)
        return response.to_wire()
    question = asked.question[0]
    found = _named(question.name, job)
    if found is None or question.rdclass != dns.rdataclass.IN:
        response.set_rcode(dns.rcode.REFUSED)
        return response.to_wire()
    try:
        known = addresses(found.job, found.service)
    except LookupError:
        response.set_rcode(dns.rcode.SERVFAIL)
        return response.to_wire()
    if known is None:
        # Of our own domain nobody else may say otherwise; else the engine asks the next server.
        response.set_rcode(dns.rcode.NXDOMAIN if found.in_domain else dns.rcode.REFUSED)
        return response.to_wire()
    response.flags |= dns.flags.AA
    version = _VERSIONS.get(question.rdtype)
    fit = [a for a in known if ipaddress.ip_address(a).version == version]
    if fit:
        some = random.sample(fit, min(MOST, len(fit)))  # so that work is shared out
        response.answer.append(
            dns.rrset.from_text(question.name, TTL_SECONDS, "IN", question.rdtype, *some)
        )
    return response.to_wire()


class _Named(NamedTuple):
    """What a name means."""

    job: str
    service: str
    in_domain: bool


def _named(name: dns.name.Name, job: str) -> _Named | None:
    """What a container of `job` means by a name; None if it can be none of ours."""
    labels = [label.decode("ascii", "replace") for label in name.labels if label]
    if len(labels) > 1 and labels[-1].lower() == DOMAIN:
        *service, of = labels[:-1]
        return _Named(of, ".".join(service), in_domain=True)
    return _Named(job, ".".join(labels), in_domain=False) if labels else None
