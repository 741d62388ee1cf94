"""The servers that an engine would give its containers, of which naming one's own deprives them.

Owns the order in which Docker looks for them: the engine's own setting, the machine's, that of
systemd-resolved where the machine's leads to itself, and at last two that everybody may ask.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MOST = 2  # an engine asks three at most, and the first is ours
LAST = ("8.8.8.8", "8.8.4.4")


def upstream(root: Path = Path("/")) -> tuple[str, ...]:
    """Addresses of at most two DNS servers. `root`: of the machine's files."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        told = json.loads((root / "etc/docker/daemon.json").read_text()).get("dns")
        if told:
            return tuple(map(str, told))[:MOST]
    for file in ("etc/resolv.conf", "run/systemd/resolve/resolv.conf"):
        with suppress(OSError, UnicodeDecodeError):
            found = tuple(_servers((root / file).read_text()))
            if found:
                return found[:MOST]
    return LAST


def _servers(text: str) -> Iterator[str]:
    """Those that a container can reach."""
    for line in text.splitlines():
        keyword, *values = line.split() or [""]
        if keyword == "nameserver" and values:
            with suppress(ValueError):
                if not ipaddress.ip_address(values[0].partition("%")[0]).is_loopback:
                    yield values[0]
