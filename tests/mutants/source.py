"""Source that is changed in one process.

Owns what a patch is and how a module comes to be made from other text than its file holds: where
only functions change their code is replaced, else the module is imported anew, and with it all
that has taken something from it.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
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


class Watch:
    """Notes which functions of ours run while everything is imported: their effect is there."""

    def __init__(self) -> None:
        self._ran: set[tuple[str, str]] = set()  # path and qualified name

    def __enter__(self) -> Watch:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *raised: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            self._ran.add((frame.f_code.co_filename, frame.f_code.co_qualname))

    def ran(self, path: str, functions: Iterable[str]) -> bool:
        """Has one of these been run?"""
        return any((path, function) in self._ran for function in functions)


def replace_code(module: str, source: str, watch: Watch) -> bool:
    """Give the functions of an imported module the code that they have in that source.

    Says whether that is all there is to it. Where something outside functions differs, or in one
    that ran while everything was imported, nothing is done.
    """
    path = str(path_of(module))
    old = compile(path_of(module).read_text(), path, "exec", dont_inherit=True)
    new = compile(source, path, "exec", dont_inherit=True)
    changed = _changed(old, new)
    if changed is None or watch.ran(path, changed):
        return False
    functions = [f for f in gc.get_objects() if isinstance(f, FunctionType)]
    for function in functions:
        code = changed.get(function.__qualname__)
        if code is not None and function.__module__ == module:
            function.__code__ = code
    return True


def _changed(old: CodeType, new: CodeType) -> dict[str, CodeType] | None:
    """The functions that differ in two bodies of a module or class; None: it is not only they."""
    if _shallow(old) != _shallow(new):
        return None
    changed: dict[str, CodeType] = {}
    for before, after in zip(_nested(old), _nested(new), strict=True):
        if before.co_flags & CO_OPTIMIZED:  # a function; bodies of classes are not
            if before != after:
                if "<" in after.co_qualname:
                    return None  # a lambda or a comprehension at the top: it has no name
                changed[after.co_qualname] = after
            continue
        inside = _changed(before, after)
        if inside is None:
            return None
        changed |= inside
    return changed


def _shallow(code: CodeType) -> tuple[object, ...]:
    constants = [repr(c) for c in code.co_consts if not isinstance(c, CodeType)]
    return code.co_name, code.co_code, code.co_names, constants, len(_nested(code))


def _nested(code: CodeType) -> list[CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def forget() -> None:
    """Have everything that was imported from here imported anew when it is wanted again."""
    ours = [ROOT / part for part in ("cube", "sim", "tests")]
    machinery = Path(__file__).parent
    for name, module in list(sys.modules.items()):
        above = Path(getattr(module, "__file__", None) or "/").parents
        if machinery not in above and any(part in above for part in ours):
            del sys.modules[name]


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
