"""Everything that a result depends on, as one digest: equal fingerprints, equal results.

A fingerprint covers the scenario, the policy and its source, the user's metrics and theirs, the
files that the scenario names, Cube's own source, and the versions of what it stands on. Source is
followed through imports, as far as it is neither Cube's nor installed from a package. Where the
source of a policy cannot be seen, no two fingerprints are equal, so nothing is ever reused.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import pickle
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from cube.policies import Policy
from sim.errors import InputError
from sim.metrics import Measure
from sim.scenario import Scenario, written
from sim.schema import SCHEMA_VERSION
from sim.source import ROOTS, code_digest, versions

_INSTALLED = tuple(
    Path(sysconfig.get_path(name)).resolve()
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


def fingerprint(scenario: Scenario, policy: Policy, measures: Iterable[Measure] = ()) -> str:
    """Hex digest of all that decides the figures of one run.

    Raises:
        InputError: a module of the user's own was edited after it was imported.
    """
    own = list(measures)
    what = {
        "schema": SCHEMA_VERSION,
        "scenario": written(scenario),
        "policy": _configured(policy),
        "source": source_digests([policy.code, *(measure.function for measure in own)]),
        "metrics": [repr(measure.metric) for measure in own],
        "inputs": _inputs(scenario),
        "cube": code_digest(),
        "versions": versions(),
    }
    return hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=16).hexdigest()


def _configured(policy: Policy) -> str:
    """The policy's text, and what else it was made with."""
    code = policy.code
    if inspect.isfunction(code) or _is_ours(inspect.getsourcefile(code) or ""):
        return str(policy)  # a function has its parameters only, and those of ours are in the text
    try:
        return f"{policy} {_digest(pickle.dumps(vars(policy)))}"
    except Exception:  # whatever a user's object cannot be
        return f"{policy} {os.urandom(16).hex()}"


def source_digests(things: Iterable[Any]) -> dict[str, str]:
    """Digest of the source of every user's module that functions or classes need, by name."""
    found: dict[str, str] = {}
    for thing in things:
        if thing.__module__ == "__main__":
            found[f"__main__:{thing.__qualname__}"] = _digest(_told_in_main(thing, set()).encode())
    for name, path in _module_files(things).items():
        found[name] = _digest(path.read_bytes())
        _check_fresh(name, path, found[name])
    return found


_met: dict[str, tuple[object, str]] = {}  # by module: as it was loaded, its source when first met


def _check_fresh(name: str, path: Path, digest: str) -> None:
    """Refuse a module whose file was edited since, so that its results bear no wrong name."""
    spec = getattr(sys.modules.get(name), "__spec__", None)  # another one once it is reloaded
    if spec is None:
        return
    loaded, first = _met.setdefault(name, (spec, digest))
    if loaded is not spec:
        _met[name] = (spec, digest)
    elif first != digest:
        remedy = "Start anew, or reload it with importlib.reload."
        raise InputError(f"{path} has changed since it was imported", remedy)


def user_modules(things: Iterable[Any]) -> list[ModuleType]:
    """The loaded modules of a user's own that functions or classes need."""
    return [sys.modules[name] for name in _module_files(things) if name in sys.modules]


def _module_files(things: Iterable[Any]) -> dict[str, Path]:
    """File of each user's module, those that are imported by them included."""
    wanted = [name for thing in things for name in _modules_of(thing)]
    files: dict[str, Path] = {}
    while wanted:
        name = wanted.pop()
        path = None if name in files else _file_of(name)
        if path is not None:
            files[name] = path
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            wanted.extend(_imports(ast.parse(path.read_bytes()), package))
    return dict(sorted(files.items()))


def _modules_of(thing: Any) -> Iterator[str]:
    if thing.__module__ != "__main__":
        yield from _with_parents(thing.__module__)
        return
    for value in _globals_used(thing).values():
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
        if name and name != "__main__":
            yield from _with_parents(name)


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[: i + 1]) for i in range(len(parts)))


def _file_of(name: str) -> Path | None:
    """The source of a user's module; None for Cube's, installed and built-in ones."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin).resolve()
    return None if _is_ours(path) or _is_installed(path) else path


def _is_ours(path: str | Path) -> bool:
    return any(Path(path).resolve().is_relative_to(root.resolve()) for root in ROOTS)


def _is_installed(path: Path) -> bool:
    return any(path.is_relative_to(place) for place in _INSTALLED)


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            try:
                base = resolve_name(name, package)
            except ImportError:
                continue
            yield from _with_parents(base)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _told_in_main(thing: Any, seen: set[str]) -> str:
    """The source of a function or class of a script or notebook, and of what it uses there."""
    seen.add(thing.__qualname__)
    try:
        told = [inspect.getsource(thing)]
    except (OSError, TypeError):
        return os.urandom(16).hex()
    for name, value in sorted(_globals_used(thing).items()):
        if isinstance(value, ModuleType):
            told.append(f"{name} is {value.__name__}")
        elif getattr(value, "__module__", "") == "__main__" and hasattr(value, "__qualname__"):
            told += [] if value.__qualname__ in seen else [_told_in_main(value, seen)]
        elif not hasattr(value, "__qualname__"):
            told.append(f"{name} = {_state(value)}")
    return "\n".join(told)


def _globals_used(thing: Any) -> dict[str, Any]:
    """What the functions of `thing` name of their module."""
    thing = inspect.unwrap(thing)
    functions = [thing] if inspect.isfunction(thing) else [
        inspect.unwrap(value) for value in vars(thing).values() if callable(value)
    ]  # fmt: skip
    used: dict[str, Any] = {}
    for function in functions:
        if isinstance(function, FunctionType):
            names = set(_names(function.__code__))
            used |= {n: v for n, v in function.__globals__.items() if n in names}
    return used


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _state(value: Any) -> str:
    try:
        return _digest(pickle.dumps(value))
    except Exception:  # whatever a user's object cannot be
        return os.urandom(16).hex()


def _inputs(scenario: Scenario) -> dict[str, str]:
    """Digest of every file that the scenario names."""
    return {
        text: _digest(Path(text).read_bytes()) for text in sorted(_files(scenario.model_dump()))
    }


def _files(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from _files(part)
    elif isinstance(value, str | Path) and "." in str(value) and Path(value).is_file():
        yield str(value)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
