"""The conformance suite's faults: what must hold on threads and in virtual time when things break.

Crashes, restarts, partitions, copies, disorder, stores that fail. No case waits by the clock; where
one lasts a second or more on threads, an interval of the protocol is what it waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cube import marks
from cube.messages import (
    MANAGER,
    SCHEDULER,
    DeclareLost,
    Exited,
    Place,
    Report,
    RestartDue,
    Round,
    StoreDown,
    Submit,
    Wake,
    worker_name,
)
from cube.spec import JobSpec, RestartPolicy
from sim.faults.world import CONTROL
from tests.clusters import CLUSTER, batch, of_job, service
from tests.machines import Machines, machines

THREE = ["running"] * 3
TO_NODE, FROM_NODE = (CONTROL, "node-1"), ("node-1", CONTROL)


@pytest.fixture(params=["threads", "simulated"])
def c(request: pytest.FixtureRequest) -> Iterator[Machines]:
    """A cluster of three nodes in the world at hand."""
    with machines(request.param) as made:
        yield made


@pytest.fixture
def hit() -> Callable[[str], bool]:
    """Was that branch of the protocol taken in this test?"""
    before = marks.hits.copy()
    return lambda name: marks.hits[name] > before[name]


# --- cores that raise ------------------------------------------------------------------------

# What no core can handle; each fails halfway.
NONSENSE: dict[str, Any] = {
    worker_name("node-1"): Exited(None, 0),  # type: ignore[arg-type]
    SCHEDULER: Place(Round(99, 1), 0, 1, (), (), (0,)),
    MANAGER: Report("node-1", CLUSTER, 2**62, 1, 0.0, True, None, (None,)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("actor", NONSENSE)
def test_core_that_raises_is_rebuilt_and_nothing_is_disturbed(c: Machines, actor: str) -> None:
    c.submit(service(instances=3))
    before = c.wait_states("shop", *THREE)
    epoch = c.look().epoch
    c.tell(actor, NONSENSE[actor])
    kind = type(NONSENSE[actor]).__name__
    snapshot = c.wait(lambda s: f"{actor} could not handle a {kind}" in s.note, "the note")
    assert (snapshot.epoch > epoch) == (actor == MANAGER)
    c.submit(service(instances=3), name="other")
    c.wait_states("other", *THREE)
    assert of_job(c.settle(), "shop") == before
    assert set(c.starts().values()) == {1}


# --- restarts --------------------------------------------------------------------------------


@pytest.mark.parametrize("saves", [1, 2])
def test_what_was_saved_and_not_sent_is_repaired(c: Machines, saves: int) -> None:
    """The manager dies after it took a job in, or after it placed it, with its mouth shut."""
    c.disk.die_after(saves)
    job = JobSpec("shop", (service(instances=3),))
    c.tell(MANAGER, Submit("once", job))
    c.until(lambda: c.disk.died, "the crash")
    assert not any(c.running(node) for node in c.nodes)
    c.restart_manager()
    assert c.ask(lambda edge: Submit("once", job, edge)).status == "created"
    tasks = of_job(c.settle(), "shop")
    assert [(t.attempt, t.restart) for t in tasks] == [(1, 0)] * 3
    assert set(c.starts().values()) == {1}


def test_restarted_worker_hears_nothing_that_was_meant_for_the_one_before(
    c: Machines, hit: Callable[[str], bool]
) -> None:
    c.wires.hold(TO_NODE, FROM_NODE)
    c.submit(service(instances=3))
    c.until(lambda: c.wires.waiting(TO_NODE) > 0, "an assignment")
    c.until(lambda: c.wires.waiting(FROM_NODE) > 0, "a report")
    told = c.wires.waiting(FROM_NODE)
    c.restart_worker("node-1")
    c.until(lambda: c.wires.waiting(FROM_NODE) > told, "a report of the new life")
    c.wires.release(FROM_NODE, backwards=True)
    c.wires.release(TO_NODE)
    c.settle()
    assert hit("report-of-earlier-life")
    assert hit("assign-to-earlier-life")
    assert set(c.starts().values()) == {1}


def test_timer_of_an_earlier_life_is_dropped(c: Machines) -> None:
    c.submit(batch(exit_code=3, restart=RestartPolicy("any", 1, 1800.0, 0.3)))
    restarting = "task.restarting"
    c.until(lambda: any(e.kind == restarting for e in c.store.events(0, 99)), "the first end")
    (task,) = c.look().tasks
    c.restart_worker(str(task.node))
    c.wait(lambda s: s.tasks[0].reschedules == 1, "the second end")
    assert [key.restart for key in c.starts().elements()] == [0, 1]
    assert len(c.seen.of(RestartDue)) == 1  # the first life's was due before it


# --- partitions ------------------------------------------------------------------------------


def test_messages_held_back_are_late_and_harmless(c: Machines) -> None:
    c.wires.hold(TO_NODE, FROM_NODE)
    c.submit(service(instances=3))
    c.wait_states("shop", "running", "running", "scheduled")
    assert c.running("node-1") == []
    c.wires.release(TO_NODE, FROM_NODE)
    assert [(t.attempt, t.restart) for t in c.settle().tasks] == [(1, 0)] * 3


def test_node_that_is_not_heard_does_what_it_is_told(c: Machines) -> None:
    c.wires.hold(FROM_NODE)
    c.submit(service(instances=3))
    c.wait_states("shop", "running", "running", "scheduled")
    c.until(lambda: c.running("node-1") != [], "the start")
    c.wires.forget(FROM_NODE)
    c.settle()
    assert set(c.starts().values()) == {1}


def test_node_that_hears_nothing_is_told_again(c: Machines) -> None:
    c.wires.hold(TO_NODE)
    c.submit(service(instances=3))
    c.wait_states("shop", "running", "running", "scheduled")
    c.until(lambda: c.wires.waiting(TO_NODE) > 0, "the assignment")
    c.wires.forget(TO_NODE)
    c.settle()
    assert set(c.starts().values()) == {1}


def test_cut_off_node_stops_what_was_placed_anew_once_it_hears_of_it(
    c: Machines, hit: Callable[[str], bool]
) -> None:
    c.submit(service(instances=3))
    c.wait_states("shop", *THREE)
    (kept,) = c.running("node-1")
    c.wires.hold(TO_NODE, FROM_NODE)
    c.wait(lambda s: any(str(n.state) == "suspect" for n in s.nodes), "the suspicion")
    assert c.send(lambda request, edge: DeclareLost(request, "node-1", edge)).status == "ok"
    c.wait_states("shop", *THREE)
    assert c.running("node-1") == [kept]  # nobody could tell it
    assert sum(c.running(node).count(kept) for node in c.nodes) == 2
    c.wires.release(FROM_NODE, TO_NODE, backwards=True)
    snapshot = c.settle()
    assert hit("older-attempt-returned")
    assert {t.id: t.attempt for t in snapshot.tasks}[kept] == 2
    assert c.running("node-1") == []
    assert set(c.starts().values()) == {1}


# --- copies and disorder ---------------------------------------------------------------------


def test_every_message_thrice_is_as_good_as_once(c: Machines) -> None:
    c.wires.copies = 3
    c.submit(service("web", instances=3), batch("report"))
    c.wait_states("shop", "completed", *THREE)
    assert c.submit(service("web", instances=2), batch("report")).status == "changed"
    c.wait_states("shop", "completed", "running", "running", "stopped")
    c.settle()
    assert all((t.attempt, t.restart) == (1, 0) for t in c.look().tasks)
    assert set(c.starts().values()) == {1}


def test_newest_word_wins_whatever_the_order(c: Machines, hit: Callable[[str], bool]) -> None:
    c.wires.hold(TO_NODE)
    for name in ("first", "second"):
        c.submit(service(instances=3), name=name)
        c.wait_states(name, "running", "running", "scheduled")
    told = c.wires.waiting(TO_NODE)
    c.stop("first")
    c.until(lambda: c.wires.waiting(TO_NODE) > told, "the stop")
    c.wires.release(TO_NODE, backwards=True)
    c.wait_states("first", *["stopped"] * 3)
    c.settle()
    assert hit("assign-out-of-order")
    assert c.starts().total() == 5  # what was stopped before it was known there never ran


# --- stores that fail ------------------------------------------------------------------------


def test_full_store_refuses_what_is_new_and_disturbs_nothing(c: Machines) -> None:
    c.submit(service(instances=2), batch("report", seconds=0.2))
    c.until(lambda: c.starts().total() == 3, "the start")
    c.wait_states("shop", *THREE)
    before = c.starts()
    c.store.broken = "disk full"
    c.until(lambda: c.seen.of(StoreDown) != [], "the end of a task, which cannot be saved")
    assert "disk full" in c.look().note
    reply = c.submit(service(), name="late")
    assert (reply.status, "disk full" in reply.text) == ("unavailable", True)
    assert sum(len(c.running(node)) for node in c.nodes) == 2
    c.store.broken = ""
    c.wait(lambda s: not s.note, "the store to work again")
    c.wait_states("shop", "completed", "running", "running")
    assert c.starts() == before
    assert c.submit(service(), name="late").status == "created"
    c.wait_states("late", "running")


def test_nothing_is_done_that_rests_on_what_is_not_saved(c: Machines) -> None:
    c.store.broken = "input/output error"
    c.tell(MANAGER, Submit("unsaved", JobSpec("shop", (service(instances=3),))))
    c.until(lambda: c.seen.of(StoreDown) != [], "the failure")
    assert c.look().jobs  # it is known, and held
    assert c.seen.of(Place) == []
    assert c.starts().total() == 0
    c.store.broken = ""
    c.wait_states("shop", *THREE)
    reply = c.ask(lambda edge: Submit("unsaved", JobSpec("shop", (service(),)), edge))
    assert reply.status == "created"


def test_what_was_never_saved_was_never_accepted(c: Machines) -> None:
    """The manager dies while its store fails: it forgets what nobody was promised."""
    c.submit(service(instances=3))
    before = c.wait_states("shop", *THREE)
    c.store.broken = "disk full"
    c.tell(MANAGER, Submit("unsaved", JobSpec("late", (service(),))))
    c.until(lambda: c.seen.of(StoreDown) != [], "the failure")
    lives = len(c.seen.of(Wake))
    c.restart_manager()  # which cannot read its store
    assert len(c.seen.of(Wake)) == lives
    c.store.broken = ""
    c.until(lambda: len(c.seen.of(Wake)) > lives, "the new life")
    snapshot = c.settle()
    assert [j.name for j in snapshot.jobs] == ["shop"]
    assert of_job(snapshot, "shop") == before
    assert set(c.starts().values()) == {1}
