"""What a YAML scalar means: YAML 1.2's core schema, which is what Compose files are written in.

`no` and `22:22` are text, `0o17` is octal and `017` is seventeen. Numbers remember how they were
written, so that `VERSION: 1.10` stays `1.10` where text is wanted.
"""

from __future__ import annotations

import re
from typing import Any

_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE = {"true", "True", "TRUE"}
_FALSE = {"false", "False", "FALSE"}
_INTEGER = re.compile(r"[-+]?[0-9]{1,40}|0o[0-7]{1,40}|0x[0-9a-fA-F]{1,40}")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


class Whole(int):
    """A whole number that remembers how it was written."""

    text: str


class Real(float):
    """A number with a fraction that remembers how it was written."""

    text: str


class Filled(str):
    """Text into which variables were put; `written` still names them instead of their values."""

    __slots__ = ("written",)
    written: str


def filled(text: str, written: str) -> Filled:
    """The text with its variables' values, which remembers how it was written."""
    result = Filled(text)
    result.written = written
    return result


def resolve(text: str) -> Any:
    """The value of a plain (unquoted) scalar: None, bool, Whole, Real or str."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        whole = Whole(text, 0) if text[:2] in ("0o", "0x") else Whole(text)
        whole.text = text
        return whole
    if _FLOAT.fullmatch(text):
        real = Real(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        real.text = text
        return real
    return text


def as_text(value: Any) -> str | None:
    """How a scalar was written, or None when `value` is nothing, a list or a mapping."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Whole | Real):
        return value.text
    return str(value) if isinstance(value, int | float) else None


def shown(value: Any) -> str:
    """A value as an error message may quote it: short, and never the value of a variable."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, str):
        return f"'{_shortened(value.written if isinstance(value, Filled) else value)}'"
    return _shortened(as_text(value) or str(value))


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
