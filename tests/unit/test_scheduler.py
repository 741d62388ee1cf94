"""The Scheduler core: rounds in, decisions out."""

from __future__ import annotations

from dataclasses import replace

from cube.messages import (
    MANAGER,
    NeedFleet,
    NodeInfo,
    NodeRow,
    Place,
    Placed,
    Question,
    Round,
    Send,
)
from cube.policies import make_policy
from cube.scheduler import Scheduler
from cube.spec import Demand

ROUND = Round(1, 1)
BIG, SMALL = (NodeRow(i, NodeInfo(f"node-{i + 1}", cpu, 1000, 1000), True)
              for i, cpu in enumerate((2000, 1000)))  # fmt: skip
ONE = (Question(Demand(1000, 100, 0), ("shop/web/1@1",)),)
TWO = (Question(Demand(1000, 100, 0), ("shop/web/1@1", "shop/web/2@1")),)


def place(scheduler: Scheduler, message: Place) -> list[int | None]:
    (effect,) = scheduler.receive(message, 0.0)
    assert isinstance(effect, Send)
    assert isinstance(effect.message, Placed)
    assert (effect.to, effect.message.round) == (MANAGER, message.round)
    return [decision.row for decision in effect.message.decisions]


def test_scheduler_without_a_fleet_asks_for_it() -> None:
    for base in (1, 7):
        scheduler = Scheduler(make_policy("first-fit"))
        message = Place(ROUND, base, base + 1, (BIG,), ONE, (0,))
        assert scheduler.receive(message, 0.0) == [Send(MANAGER, NeedFleet(ROUND))]


def test_fleet_is_learnt_once_and_then_by_what_changed() -> None:
    scheduler = Scheduler(make_policy("first-fit"))
    assert place(scheduler, Place(ROUND, 0, 5, (BIG, SMALL), ONE, (0,))) == [0]
    full = replace(BIG, cpu_used_milli=2000)
    assert place(scheduler, Place(Round(1, 2), 5, 6, (full,), ONE, (0,))) == [1]
    stale = Place(Round(1, 3), 5, 6, (), ONE, (0,))
    assert scheduler.receive(stale, 0.0) == [Send(MANAGER, NeedFleet(Round(1, 3)))]


def test_whole_fleet_replaces_what_was_known() -> None:
    scheduler = Scheduler(make_policy("first-fit"))
    place(scheduler, Place(ROUND, 0, 5, (BIG, SMALL), ONE, (0,)))
    small = replace(SMALL, row=0)
    assert place(scheduler, Place(Round(1, 2), 0, 9, (small,), TWO, (0, 0))) == [0, None]


def test_other_messages_need_no_answer() -> None:
    assert Scheduler(make_policy("first-fit")).receive("what", 0.0) == []


def test_birth_names_the_policy() -> None:
    assert Scheduler(make_policy("first-fit")).birth() == {"policy": "first-fit"}
