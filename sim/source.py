"""Which code runs here: the source of Cube and its simulator as a digest, and what it stands on."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

ROOTS = tuple(Path(__file__).parents[1] / name for name in ("cube", "sim"))
_PACKAGES = ("numpy", "simpy", "pykka", "pydantic")


@cache
def versions() -> dict[str, str]:
    """Python's version and those of the packages that a run stands on."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


@cache
def code_digest() -> str:
    """Hex digest of the source of `cube` and `sim` that this process runs."""
    total = hashlib.blake2b(digest_size=16)
    for root in ROOTS:
        for path in sorted(root.rglob("*.py")):
            total.update(f"{path.relative_to(root.parent)}\n".encode() + path.read_bytes())
    return total.hexdigest()
