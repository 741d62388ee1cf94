"""Which classes have a written form, and what their fields are.

It knows classes only; how a value is written and read is its neighbours' business.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from enum import Enum
from functools import cache
from types import ModuleType, NoneType
from typing import Any, Final, get_type_hints

from cube import messages, spec, task

Convert = Callable[[Any], Any]

TAG: Final = "$"
PLAIN: Final = frozenset({str, int, bool, NoneType})  # JSON holds these as they are


class CodecError(ValueError):
    """A value that cannot be written, or JSON that is not one of ours; the text says where."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.path: list[str] = []  # from the outermost class to the field, innermost last

    def __str__(self) -> str:
        return f"{''.join(self.path)}: {self.text}" if self.path else self.text


def _classes_of(module: ModuleType) -> Iterable[type]:
    for value in vars(module).values():
        if not isinstance(value, type) or value.__module__ != module.__name__:
            continue
        if dataclasses.is_dataclass(value) or _is_namedtuple(value) or issubclass(value, Enum):
            yield value


def _is_namedtuple(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def _catalogue() -> dict[str, type]:
    found: dict[str, type] = {}
    for module in (spec, task, messages):
        for kind in _classes_of(module):
            assert found.get(kind.__name__, kind) is kind, f"two classes are named {kind.__name__}"
            found[kind.__name__] = kind
    return found


CATALOGUE: Final = _catalogue()  # every class that can be written, by its tag


@cache
def fields_of(kind: type) -> dict[str, Any]:
    """The type of every field, in order."""
    hints: dict[str, Any] = get_type_hints(kind)
    if dataclasses.is_dataclass(kind):
        return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    return hints


def required_of(kind: type) -> frozenset[str]:
    """The fields that have no default."""
    if not dataclasses.is_dataclass(kind):
        return frozenset(fields_of(kind)) - frozenset(getattr(kind, "_field_defaults", ()))
    return frozenset(
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )
