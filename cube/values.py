"""Frozen dataclasses that are cheap to make.

The cores change nothing in place: every change of a task is a new `Task`, every word a new message,
millions of them in a simulation. The `__init__` of a frozen dataclass goes past its own
`__setattr__` for each field, which takes four times as long as plain assignments. Here the fields
are assigned while the object is of another class, which has the same slots and is not frozen; then
it is frozen by becoming what it was made as.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["cheap", "replace"]

T = TypeVar("T")

_OPEN: dict[type, Callable[[Any], Any]] = {}  # makes an unfrozen copy of an object of that class


def cheap(cls: type[T]) -> type[T]:
    """Decorate a `dataclass(frozen=True, slots=True)`: nothing changes but what making one costs.

    Raises:
        TypeError: the dataclass does more in its `__init__` than to assign its fields.
    """
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    own = all(
        f.init and not f.kw_only and f.default_factory is MISSING
        for f in fields(cls)  # type: ignore[arg-type]
    )
    if not own or hasattr(cls, "__post_init__") or cls.__bases__ != (object,):
        raise TypeError(f"{cls.__name__} cannot be made cheaply: its fields are more than values")
    unfrozen = type(f"Unfrozen{cls.__name__}", (), {"__slots__": tuple(names)})
    scope: dict[str, Any] = {"cls": cls, "unfrozen": unfrozen, "thaw": object.__setattr__}
    scope["new"] = object.__new__
    exec(_init(names) + _copy(names), scope)  # noqa: S102 (as dataclasses themselves do)
    made = scope["__init__"]
    made.__defaults__ = cls.__init__.__defaults__
    cls.__init__ = wraps(cls.__init__)(made)  # type: ignore[method-assign]
    _OPEN[cls] = scope["copy"]
    return cls


def _init(names: list[str]) -> str:
    lines = [f"def __init__(self, {', '.join(names)}):", "thaw(self, '__class__', unfrozen)"]
    lines += [f"self.{name} = {name}" for name in names]
    return "\n    ".join([*lines, "self.__class__ = cls"]) + "\n"


def _copy(names: list[str]) -> str:
    lines = ["def copy(old):", "made = new(unfrozen)"]
    lines += [f"made.{name} = old.{name}" for name in names]
    return "\n    ".join([*lines, "return made"]) + "\n"


if TYPE_CHECKING:
    from dataclasses import replace
else:

    def replace(old, **changes):
        """`dataclasses.replace`, five times as quick where the class is `cheap`.

        Raises:
            TypeError, AttributeError: there is no such field.
        """
        cls = old.__class__
        copy = _OPEN.get(cls)
        if copy is None:
            return dataclasses.replace(old, **changes)
        made = copy(old)
        for name, value in changes.items():
            setattr(made, name, value)
        made.__class__ = cls
        return made
