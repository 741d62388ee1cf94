"""Cheap values are frozen dataclasses like any others."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import dataclass, field

import pytest

from cube.values import cheap, replace


@dataclass(frozen=True, slots=True)
class Plain:
    """What `Point` is without being cheap."""

    x: int
    y: int = 2
    label: str = ""


@cheap
@dataclass(frozen=True, slots=True)
class Point:
    """A cheap value."""

    x: int
    y: int = 2
    label: str = ""


def test_it_is_made_compared_and_shown_as_ever() -> None:
    assert (Point(1).x, Point(1).y, Point(1, label="a").label) == (1, 2, "a")
    assert Point(1) == Point(1, 2, "") != Point(2)
    assert hash(Point(1)) == hash(Plain(1))
    assert repr(Point(1)) == repr(Plain(1)).replace("Plain", "Point")
    assert inspect.signature(Point) == inspect.signature(Plain)
    assert dataclasses.astuple(Point(1, 5)) == (1, 5, "")
    assert type(Point(1)) is Point


def test_it_is_frozen() -> None:
    for point in (Point(1), replace(Point(0), x=1)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            point.x = 3  # type: ignore[misc]
        with pytest.raises((AttributeError, TypeError)):
            point.z = 3  # type: ignore[attr-defined]
        assert point == Point(1)


@pytest.mark.parametrize("arguments", [(), (1, 2, "", 4)])
def test_wrong_arguments_are_refused(arguments: tuple[int, ...]) -> None:
    with pytest.raises(TypeError):
        Point(*arguments)  # type: ignore[call-arg, arg-type]


def test_copies_and_pickles_are_equal() -> None:
    point = Point(1, 3, "b")
    for other in (copy.copy(point), copy.deepcopy(point), pickle.loads(pickle.dumps(point))):
        assert other == point
        assert type(other) is Point


def test_what_is_replaced_leaves_the_old_one_alone() -> None:
    old = Point(1, 3, "b")
    assert replace(old, y=4) == Point(1, 4, "b") == dataclasses.replace(old, y=4)
    assert old == Point(1, 3, "b")
    assert replace(Plain(1), y=4) == Plain(1, 4)
    with pytest.raises(AttributeError):
        replace(old, z=1)  # type: ignore[call-arg]


def test_a_class_that_does_more_than_assign_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class Listed:
        items: list[int] = field(default_factory=list)

    @dataclass(frozen=True, slots=True)
    class Checked:
        x: int

        def __post_init__(self) -> None:
            assert self.x

    for cls in (Listed, Checked):
        with pytest.raises(TypeError, match=f"{cls.__name__} cannot be made cheaply"):
            cheap(cls)
