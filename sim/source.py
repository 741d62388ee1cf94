"""Which code runs here: the source of Cube and its simulator as a digest, and what it stands on."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

ROOTS = tuple(Path(__file__).parents[1] / name for name in ("cube", "sim"))
_PACKAGES = ("numpy", "simpy", "pykka", "pydantic")
_LISTING = r"""
import sys
sys.path[:] = {path!r}
import {module}
print(*[m.__file__ for n, m in sys.modules.items() if n.partition(".")[0] in {roots}], sep="\n")
"""


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
    return _digest(path for root in ROOTS for path in root.rglob("*.py"))


@cache
def digest_of(module: str) -> str:
    """Hex digest of the source of a module and of all ours that importing it brings along.

    What is only imported later, within a function, is not in it.
    """
    roots = {root.name for root in ROOTS}
    listing = _LISTING.format(path=sys.path, module=module, roots=roots)
    # In a process of its own: in this one, more may have been imported.
    told = subprocess.run([sys.executable, "-c", listing], check=True, stdout=subprocess.PIPE)
    return _digest(map(Path, told.stdout.decode().splitlines()))


def _digest(files: Iterable[Path]) -> str:
    total = hashlib.blake2b(digest_size=16)
    above = ROOTS[0].parent
    for path in sorted(files):
        total.update(f"{path.relative_to(above)}\n".encode() + path.read_bytes())
    return total.hexdigest()
