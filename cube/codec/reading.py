"""JSON to values: a compiled decoder per type, which checks what it reads.

What comes from another process or an older version is never trusted to be well-formed: an error
names the path to the field that is wrong.
"""

from __future__ import annotations

import json
import re
import sys
from enum import Enum
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from cube.codec.catalogue import CATALOGUE, PLAIN, TAG, CodecError, Convert, fields_of, required_of

_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # of a surrogate pair, escaped


def decode(jsonable: Any) -> Any:
    """The value that `encode` was given.

    Raises:
        CodecError: an unknown tag, a missing or ill-typed field, with the path to it.
    """
    kind = type(jsonable)
    if kind in PLAIN or kind is float:
        return jsonable
    if kind is list:
        return [decode(item) for item in jsonable]
    if kind is not dict:
        raise CodecError(f"{kind.__name__} is not a JSON value")
    if TAG not in jsonable:
        return {key: decode(item) for key, item in jsonable.items()}
    return _tag_reader(jsonable[TAG])(jsonable)


def loads(text: str | bytes) -> Any:
    """The value that `dumps` was given.

    Raises:
        CodecError: not JSON, or as `decode`.
    """
    try:
        return decode(json.loads(text))
    except (ValueError, RecursionError) as error:
        if isinstance(error, CodecError):
            raise
        raise CodecError(f"not JSON: {error}") from error


def loads_sent(body: bytes) -> Any:
    """The same of what somebody sent, who may send anything.

    Raises:
        CodecError: as `loads`, or it holds text that is not Unicode: nobody could repeat it.
    """
    try:
        text = body.decode("utf-8")
        if _HALF.search(text):  # perhaps of a whole pair
            json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise CodecError(f"not JSON in UTF-8: {type(error).__name__}") from error
    return loads(text)


def _tag_reader(tag: Any) -> Convert:
    """Reads a tagged value."""
    if tag == "tuple":
        return lambda value: tuple(decode(item) for item in _member(value, "items", list))
    if tag == "dict":
        return _read_dict
    if tag == "float":
        return lambda value: _read_float(value.get("value"))
    kind = CATALOGUE.get(tag) if isinstance(tag, str) else None
    if kind is None:
        raise CodecError(f"unknown kind of value {tag!r}; was it written by a newer version?")
    read = _decoder(kind)
    if issubclass(kind, Enum):
        return lambda value: read(value.get("value"))
    return partial(_read_record, kind.__name__, read)


def _read_record(name: str, read: Convert, value: Any) -> Any:
    try:
        return read(value)
    except CodecError as error:
        if error.path:  # else its text names the class already
            error.path.insert(0, name)
        raise


def _read_dict(value: dict[str, Any]) -> dict[Any, Any]:
    try:
        return dict(_pair(item) for item in _member(value, "items", list))
    except TypeError as error:
        raise CodecError(f"a key must be hashable: {error}") from error


def _member(value: dict[str, Any], name: str, kind: type) -> Any:
    return _expect(kind, value.get(name))


@cache
def _decoder(hint: Any) -> Convert:
    """Reads a value of a known type, and checks that it is one."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is float:
        return _read_float
    if hint is int:
        return _read_int
    if hint in PLAIN:
        return partial(_expect, hint)
    if origin is Literal:
        return partial(_one_of, args)
    if origin is tuple:
        return _tuple_decoder(args)
    if origin is dict and args[0] is str:
        item = _decoder(args[1])
        return lambda value: {k: item(v) for k, v in _expect(dict, value).items()}
    if origin in (Union, UnionType):
        return _union_decoder(args)
    if isinstance(hint, type) and CATALOGUE.get(hint.__name__) is hint:
        return _enum_decoder(hint) if issubclass(hint, Enum) else _record_decoder(hint)
    return decode


def _expect(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise CodecError(f"expected {kind.__name__}, got {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    """What was found instead. Not the value: errors are told and logged, and it may be secret."""
    return type(value).__name__


def _pair(value: Any) -> tuple[Any, Any]:
    if len(_expect(list, value)) != 2:
        raise CodecError(f"expected a key and a value, got {_kind(value)}")
    return decode(value[0]), decode(value[1])


def _one_of(choices: tuple[Any, ...], value: Any) -> Any:
    if value not in choices:
        raise CodecError(f"expected one of {', '.join(map(str, choices))}; got {_kind(value)}")
    return value


def _read_int(value: Any) -> int:
    """True is no number here, though it is one to Python."""
    if type(value) is not int:
        raise CodecError(f"expected int, got {_kind(value)}")
    return value


def _read_float(value: Any) -> float:
    if isinstance(value, float | int) and not isinstance(value, bool):
        if not -sys.float_info.max <= value <= sys.float_info.max and isinstance(value, int):
            raise CodecError("expected a number, got one with hundreds of digits")
        return value
    if value in ("inf", "-inf", "nan"):
        return float(value)
    raise CodecError(f"expected a number, got {_kind(value)}")


def _tuple_decoder(args: tuple[Any, ...]) -> Convert:
    if len(args) == 2 and args[1] is Ellipsis:
        item = _decoder(args[0])
        return lambda value: tuple([item(one) for one in _expect(list, value)])
    readers = [_decoder(arg) for arg in args]

    def read(value: Any) -> tuple[Any, ...]:
        if len(_expect(list, value)) != len(readers):
            raise CodecError(f"expected {len(readers)} items, got {len(value)}")
        return tuple(reader(item) for reader, item in zip(readers, value, strict=True))

    return read


def _union_decoder(args: tuple[Any, ...]) -> Convert:
    some = [arg for arg in args if arg is not NoneType]
    if len(some) > 1:
        return decode
    item = _decoder(some[0])
    return lambda value: None if value is None else item(value)


def _enum_decoder(kind: type[Enum]) -> Convert:
    members = {member.value: member for member in kind}
    return lambda value: members[_one_of(tuple(members), value)]


def _record_decoder(kind: type) -> Convert:
    hints = fields_of(kind)
    readers = {name: _decoder(hint) for name, hint in hints.items()}
    plain = {name: types for name, hint in hints.items() if (types := _plain_types(hint))}
    required = required_of(kind)

    def read(value: Any) -> Any:
        fields: dict[str, Any] = {}
        name = ""
        try:
            for name, item in _expect(dict, value).items():
                if type(item) in plain.get(name, ()):  # most fields, without a call
                    fields[name] = item
                elif name in readers:  # else: a field of a newer version, or the tag
                    fields[name] = readers[name](item)
        except CodecError as error:
            if name:
                error.path.insert(0, f".{name}")
            raise
        if not required <= fields.keys():
            missing = ", ".join(sorted(required - fields.keys()))
            raise CodecError(f"{kind.__name__} lacks {missing}")
        return kind(**fields)

    return read


def _plain_types(hint: Any) -> frozenset[type]:
    """The exact types that a field of this type takes as they are; empty if it needs a reader."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return frozenset(kinds) if all(k in PLAIN or k is float for k in kinds) else frozenset()
