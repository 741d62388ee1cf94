"""Every class of the catalogue survives its written form."""

import contextlib
import json
import math
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cube import codec
from cube.codec.catalogue import CATALOGUE, fields_of

PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=4),
    int: st.integers(),
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
    NoneType: st.none(),
}
KEYS = st.sampled_from(["", "a", "$", "items"])
LEAVES = st.one_of(
    *PLAIN.values(),
    st.sampled_from([m for kind in CATALOGUE.values() if issubclass(kind, Enum) for m in kind]),
    st.deferred(lambda: values_of(CATALOGUE["RunKey"])),
    st.deferred(lambda: values_of(CATALOGUE["Event"])),
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.lists(inner, max_size=2).map(tuple),
        st.dictionaries(KEYS, inner, max_size=2),
        st.dictionaries(st.integers() | st.tuples(KEYS, KEYS), inner, max_size=2),
    ),
    max_leaves=4,
)


@cache
def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type; kept small, for specs are wide."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return ANYTHING
    if hint in PLAIN:
        return PLAIN[hint]
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple and args[-1] is Ellipsis:
        return st.lists(values_of(args[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values_of, args))
    if origin is dict:
        return st.dictionaries(values_of(args[0]), values_of(args[1]), max_size=2)
    if origin in (Union, UnionType):
        return st.one_of(*map(values_of, args))
    if issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    return st.builds(hint, **{name: values_of(kind) for name, kind in fields_of(hint).items()})


def same(left: Any, right: Any) -> bool:
    """Equal, and of the same types all the way down."""
    if type(left) is not type(right) or left != right:
        return False
    if isinstance(left, dict):
        return all(same(left[key], right[key]) for key in left)
    if type(left) in CATALOGUE.values() and not isinstance(left, Enum):
        names = fields_of(type(left))
        return all(same(getattr(left, name), getattr(right, name)) for name in names)
    if isinstance(left, list | tuple):
        return all(map(same, left, right))
    return True


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=CATALOGUE)
def test_every_class_round_trips(kind: type) -> None:
    @settings(max_examples=15)
    @given(values_of(kind))
    def round_trips(value: Any) -> None:
        text = codec.dumps(value)
        assert text.isascii()
        assert "\n" not in text
        assert same(codec.loads(text), value)

    round_trips()


@given(ANYTHING)
def test_anything_round_trips(value: Any) -> None:
    assert same(codec.loads(codec.dumps(value)), value)


@given(ANYTHING)
def test_what_is_written_is_strict_json(value: Any) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads(codec.dumps(value), parse_constant=refuse)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["$", "items", "value", "job", "name", "key", "uid", "request"]),
                inner | st.sampled_from([*CATALOGUE, "tuple", "dict", "float"]),
                max_size=4,
            ),
        ),
        max_leaves=12,
    )
)
@settings(max_examples=500)
def test_foreign_json_is_a_value_or_a_clear_error(jsonable: Any) -> None:
    with contextlib.suppress(codec.CodecError):
        codec.dumps(codec.decode(jsonable))


def test_not_a_number_round_trips() -> None:
    assert math.isnan(codec.loads(codec.dumps(math.nan)))
    decision = CATALOGUE["Decision"](uid="a/b/0@1", row=None, score=math.nan)
    assert math.isnan(codec.loads(codec.dumps(decision)).score)
