"""The `fifo` queue: one that does not fit keeps all that are behind it waiting."""

from __future__ import annotations

from dataclasses import replace

from cube.fleet import Fleet
from cube.manager import ManagerOptions
from cube.messages import (
    BeginRound,
    NodeInfo,
    NodeRow,
    Placed,
    Question,
    Send,
    Stop,
    StoreDown,
    StoreUp,
    Submit,
)
from cube.placement import Placer
from cube.policies import make_policy
from cube.spec import Demand, JobSpec, Kind
from cube.task import Decision
from tests.managers import WEB, Driver, asked, ended

LARGE = replace(WEB, kind=Kind.BATCH, cpu_milli=2000)
SMALL = replace(WEB, kind=Kind.BATCH, cpu_milli=1000)


class Fifo(Driver):
    """A manager whose rounds begin when it is told that the moment is over."""

    def __init__(self, nodes: int = 1) -> None:
        super().__init__(nodes, ManagerOptions(queue="fifo"))

    def begin(self) -> list[str]:
        """The tasks that it asks about now."""
        return asked(self.tell(BeginRound()))

    def decide(self, *rows: int | None) -> None:
        """Answer the round in flight, for as many tasks as there are rows."""
        place = self.manager._rounds._place
        assert place is not None
        uids = [iter(question.tasks) for question in place.questions]
        tasks = [next(uids[k]) for k in place.order]
        decisions = [
            Decision(uid, row, "" if row is None else f"node-{row + 1}")
            for uid, row in zip(tasks, rows, strict=False)
        ]
        self.tell(Placed(place.round, tuple(decisions)))


def test_a_round_begins_once_the_moment_is_over() -> None:
    d = Fifo()
    assert asked(d.submit(SMALL, name="one")) == []
    assert asked(d.submit(SMALL, name="two")) == []
    assert d.begin() == ["one/web/1", "two/web/1"]


def test_the_beginning_is_asked_for_once_for_every_round() -> None:
    d = Fifo(nodes=3)

    def beginnings(*names: str) -> int:
        effects = [e for name in names for e in d.manager.receive(_submit(name), d.now)]
        sends = [e.message for e in effects if isinstance(e, Send)]
        return sum(isinstance(message, BeginRound) for message in sends)

    assert beginnings("one", "two") == 1
    d.begin()
    d.decide(0, 1)
    assert beginnings("three", "four") == 1


def test_nobody_passes_one_that_does_not_fit() -> None:
    d = Fifo()
    d.submit(SMALL, name="running")
    d.begin()
    d.decide(0)
    d.submit(LARGE, name="large")
    d.submit(SMALL, name="small")
    assert d.begin() == ["large/web/1", "small/web/1"]
    d.decide(None)
    assert d.begin() == []
    d.submit(SMALL, name="later")
    assert d.begin() == []
    d.report("node-1", ended(d.task("running/web/1")), whole=False)
    assert d.begin() == ["large/web/1", "small/web/1", "later/web/1"]


def test_one_that_is_stopped_blocks_nobody() -> None:
    d = Fifo()
    d.submit(LARGE, name="running")
    d.begin()
    d.decide(0)
    d.submit(LARGE, name="large")
    d.submit(SMALL, name="small")
    d.begin()
    d.decide(None)
    d.tell(Stop("stop", "large"))
    assert d.begin() == ["small/web/1"]


def test_a_higher_priority_goes_first_and_may_block_in_turn() -> None:
    d = Fifo()
    d.submit(SMALL, name="running")
    d.begin()
    d.decide(0)
    d.submit(LARGE, name="large")
    d.begin()
    d.decide(None)
    d.tell(_submit("urgent", priority=90))
    assert d.begin() == ["urgent/web/1"]
    d.decide(None)
    d.submit(SMALL, name="small")
    assert d.begin() == []
    d.tell(Stop("stop", "urgent"))
    assert d.begin() == []  # the first one still waits


def test_a_round_that_the_store_held_up_begins_once_it_works_again() -> None:
    d = Fifo()
    d.submit(SMALL)
    d.tell(StoreDown("full"))
    assert d.begin() == []
    effects = d.manager.receive(StoreUp(), d.now)
    assert [e.message for e in effects if isinstance(e, Send)] == [BeginRound()]
    assert d.begin() == ["shop/web/1"]


def test_the_placer_stops_at_the_first_that_does_not_fit() -> None:
    fleet = Fleet()
    fleet.set_row(NodeRow(0, NodeInfo("node-1", 2000, 2000, 0), open=True))
    placer = Placer(fleet, make_policy("first-fit"))
    large, small = Demand(1500, 10), Demand(400, 10)
    questions = (Question(large, ("a", "b")), Question(small, ("c",)))
    order = (0, 0, 1)
    assert [d.row for d in placer.place(questions, order, fifo=True)] == [0, None]
    assert [d.row for d in placer.place((Question(small, ("c",)),), (0,), fifo=True)] == [0]


def _submit(name: str, priority: int = 50) -> Submit:
    return Submit(f"submit-{name}", JobSpec(name, (SMALL,), priority))


def test_a_round_asks_about_eight() -> None:
    d = Fifo()
    d.submit(replace(SMALL, instances=9))
    assert len(d.begin()) == 8
