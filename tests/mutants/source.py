"""Source that is changed before it is imported.

Owns what a patch is and how a module comes to be made from other text than its file holds. It
must be asked before the module is imported for the first time in its process.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]


class Stale(Exception):
    """The code that a patch changes is no longer there, or there more than once."""


@dataclass(frozen=True, slots=True)
class Patch:
    """One fragment of a module's source, and what stands there instead."""

    module: str
    old: str
    new: str

    def apply(self, source: str) -> str:
        """The source with the fragment replaced.

        Raises:
            Stale: the fragment is not there exactly once.
        """
        found = source.count(self.old)
        if found != 1:
            raise Stale(f"{self.module} has this {found} times, not once:\n{self.old}")
        return source.replace(self.old, self.new)


def path_of(module: str) -> Path:
    """The file of a module or package."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def patched(patches: Iterable[Patch]) -> dict[str, str]:
    """By module, its source with all its patches applied.

    Raises:
        Stale: one of them does not fit.
    """
    sources: dict[str, str] = {}
    for patch in patches:
        source = sources.get(patch.module) or path_of(patch.module).read_text()
        sources[patch.module] = patch.apply(source)
    return sources


def import_from(sources: Mapping[str, str]) -> None:
    """Have these modules made from these sources, for the rest of this process."""
    early = sorted(sources.keys() & sys.modules.keys())
    assert not early, f"{early} were imported before they could be changed"
    sys.meta_path.insert(0, _Finder(sources))


class _Finder(MetaPathFinder):
    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        source = self._sources.get(name)
        if source is None:
            return None
        spec = PathFinder.find_spec(name, path, target)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = _Loader(name, spec.origin, source)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        """Compile the other text; nothing of it is kept for the next import."""
        code: Any = compile(self._source, self.path, "exec", dont_inherit=True)
        assert isinstance(code, CodeType)
        return code
