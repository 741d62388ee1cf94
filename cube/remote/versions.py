"""What machines tell in headers: which version of Cube speaks, and where nodes are spoken to.

Versions work together if they are the same, one older or one newer. Each request between machines
says which version sent it, and each answer which one gave it.
"""

from __future__ import annotations

from cube import __version__

HEADER = "Cube-Version"
MACHINES_PORT = "Cube-Machines-Port"


def mismatch(theirs: str) -> str:
    """Why that version cannot work with this one; "" if it can."""
    ours, other = _numbers(__version__), _numbers(theirs)
    if other is None:
        return "it does not tell its version of Cube"
    assert ours is not None
    if ours[0] == other[0] and abs(ours[1] - other[1]) <= 1:
        return ""
    return f"it runs Cube {theirs}, and this is Cube {__version__}: at most one minor version apart"


def _numbers(version: str) -> tuple[int, int] | None:
    """Major and minor."""
    parts = version.split(".")
    if len(parts) < 2 or not all(part.isascii() and part.isdecimal() for part in parts[:2]):
        return None
    return int(parts[0]), int(parts[1])
