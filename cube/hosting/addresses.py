"""Under which names and addresses this machine is reached, as far as it can know.

Asks the system and sends nothing.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import psutil

from cube.serving import Listen
from cube.serving.listening import is_loopback

_LOCAL = ("127.0.0.1", "::1", "localhost")
_INNER = ("docker", "br-", "veth", "virbr")
_FAR = ("192.0.2.1", 9)  # an address for documentation: whatever is the way to it leads outwards


def machine_name() -> str:
    """The machine's own name, as a node may be called; "" if nothing is left of it."""
    plain = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().partition(".")[0].lower())
    return plain.strip("-")[:40]


def names(listen: Listen, advertised: tuple[str, ...]) -> tuple[str, ...]:
    """What a certificate for a server there has to be good for."""
    found = [*advertised, *_LOCAL, socket.gethostname(), listen.host]
    if listen.is_anywhere:
        found.remove(listen.host)
        found += _of_interfaces(socket.AF_INET, socket.AF_INET6)
    return tuple(dict.fromkeys(found))


def outward(listen: Listen, towards: tuple[str, int] = _FAR) -> str:
    """The address at which others reach what listens there; "" if this machine has no way out.

    Where every address is listened to, the one from which it would speak to `towards`.
    """
    if not listen.is_anywhere:
        return listen.host
    try:
        family = socket.getaddrinfo(*towards, type=socket.SOCK_DGRAM)[0][0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(towards)
            return str(probe.getsockname()[0])
    except OSError:
        return next(_of_interfaces(socket.AF_INET), "")  # no way there now: what this machine has


def _of_interfaces(*families: int) -> Iterator[str]:
    """The addresses of this machine, those of the links between its containers left out."""
    for name, addresses in psutil.net_if_addrs().items():
        for address in addresses:
            text = address.address.partition("%")[0]
            if address.family in families and not name.startswith(_INNER) and not is_loopback(text):
                yield text
