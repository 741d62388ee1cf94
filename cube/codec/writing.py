"""Values to JSON: a compiled encoder per type.

An encoder of None means that JSON can hold the value as it is, so that a record of plain fields
costs one dict.
"""

from __future__ import annotations

import json
import math
from enum import Enum
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin

from cube.codec.catalogue import CATALOGUE, PLAIN, TAG, CodecError, Convert, fields_of


def encode(value: Any) -> Any:
    """The value as plain JSON values (dict, list, str, int, float, bool, None).

    Raises:
        CodecError: the value, or something in it, is not of the catalogue.
    """
    kind: Any = type(value)
    if kind in PLAIN:
        return value
    if kind is list:
        return [encode(item) for item in value]
    if kind is tuple:
        return {TAG: "tuple", "items": [encode(item) for item in value]}
    if kind is dict:
        return _encode_dict(value)
    if kind is float:
        return value if math.isfinite(value) else {TAG: "float", "value": str(value)}
    return _tagged(kind)(value)


def dumps(value: Any) -> str:
    """The value as one line of ASCII JSON.

    Raises:
        CodecError: as `encode`.
    """
    try:
        return json.dumps(encode(value), separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        if isinstance(error, CodecError):
            raise
        raise CodecError(f"cannot write a {type(value).__name__}: {error}") from error


def _encode_dict(value: dict[Any, Any]) -> Any:
    if TAG not in value and all(type(key) is str for key in value):
        return {key: encode(item) for key, item in value.items()}
    return {TAG: "dict", "items": [[encode(key), encode(item)] for key, item in value.items()]}


@cache
def _tagged(kind: Any) -> Convert:
    """Writes a value of `kind` where any value may stand."""
    name: str = kind.__name__
    if name not in CATALOGUE or CATALOGUE[name] is not kind:
        raise CodecError(f"{kind.__module__}.{kind.__qualname__} is not in the catalogue")
    if issubclass(kind, Enum):
        return lambda value: {TAG: name, "value": value.value}
    write = _encoder(cast(Any, kind))
    assert write is not None
    return lambda value: {TAG: name, **write(value)}


@cache
def _encoder(hint: Any) -> Convert | None:
    """Writes a value where its type is known; None where JSON can hold it as it is."""
    origin, args = get_origin(hint), get_args(hint)
    if hint in PLAIN or origin is Literal:
        return None
    if hint is float:
        return _encode_float
    if origin is tuple:
        return _tuple_encoder(args)
    if origin is dict and args[0] is str:
        item = _encoder(args[1])
        return dict if item is None else lambda value: {k: item(v) for k, v in value.items()}
    if origin in (Union, UnionType):
        return _union_encoder(args)
    if isinstance(hint, type) and CATALOGUE.get(hint.__name__) is hint:
        return attrgetter("value") if issubclass(hint, Enum) else _record_encoder(hint)
    return encode


def _encode_float(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _tuple_encoder(args: tuple[Any, ...]) -> Convert:
    if len(args) == 2 and args[1] is Ellipsis:
        item = _encoder(args[0])
        return list if item is None else lambda value: [item(v) for v in value]
    items = [_encoder(arg) or _as_it_is for arg in args]
    return lambda value: [write(v) for write, v in zip(items, value, strict=True)]


def _union_encoder(args: tuple[Any, ...]) -> Convert | None:
    some = [arg for arg in args if arg is not NoneType]
    if len(some) > 1:
        return encode
    item = _encoder(some[0])
    return None if item is None else lambda value: None if value is None else item(value)


def _record_encoder(kind: type) -> Convert:
    hints = fields_of(kind)
    names = tuple(hints)
    special = [(name, write) for name, hint in hints.items() if (write := _encoder(hint))]
    read: Convert = attrgetter(*names) if len(names) > 1 else lambda value: _each(value, names)

    def write_record(value: Any) -> dict[str, Any]:
        if type(value) is not kind:
            raise CodecError(f"expected {kind.__name__}, got {type(value).__name__}")
        body = dict(zip(names, read(value), strict=True))
        for name, write in special:
            body[name] = write(body[name])
        return body

    return write_record


def _each(value: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(getattr(value, name) for name in names)


def _as_it_is(value: Any) -> Any:
    return value
