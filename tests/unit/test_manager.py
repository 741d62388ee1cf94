"""The Manager core: messages in, effects out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cube.manager import Manager, ManagerOptions
from cube.messages import (
    MANAGER,
    SCHEDULER,
    Assign,
    Fact,
    Generation,
    NeedFleet,
    Phase,
    Place,
    Placed,
    Reply,
    Save,
    Send,
    Stop,
    StoreDown,
    StoreUp,
    Tick,
    Wake,
)
from cube.spec import Kind, Mount, ReschedulePolicy
from cube.store import MemoryStore
from cube.task import Decision, Event, Meta, NodeState, State
from tests.managers import CLUSTER, WEB, Driver, assigns, placed_and_running, running


def test_epoch_is_saved_with_the_first_effects_of_a_life() -> None:
    store = MemoryStore()
    manager = Manager(CLUSTER, store.load())
    save, tick = manager.receive(Wake(1), 100.0)
    assert isinstance(save, Save)
    assert Meta("epoch", "1") in save.records
    assert tick == Send(MANAGER, Tick(), 1.0)
    store.save(save.records)
    again = Manager(CLUSTER, store.load()).receive(Wake(2), 200.0)[0]
    assert isinstance(again, Save)
    assert Meta("epoch", "2") in again.records


def test_report_of_a_new_node_is_answered_with_its_assignment() -> None:
    d = Driver(nodes=0)
    (send,) = d.report("node-1")
    assert send == Send(
        "worker/node-1",
        Assign(Generation(CLUSTER, 1, 1), "node-1", 100.0, (1, 1), 1.0, 10.0, 15 * 1.01 / 0.99, ()),
    )


def test_submit_is_saved_answered_and_asked_about() -> None:
    d = Driver()
    sends = d.submit(WEB, reply_to="edge/9")
    assert [e.to for e in sends] == ["edge/9", SCHEDULER]
    assert sends[0].message == Reply(
        "submit-shop",
        "created",
        "shop version 1 created",
        {"job": "shop", "version": 1, "changes": {"web": "created"}},
    )
    (task,) = d.store.load().tasks.values()
    place = sends[1].message
    assert (place.base, [q.tasks for q in place.questions]) == (0, [(task.uid,)])


def test_placed_task_is_assigned_and_its_resources_taken() -> None:
    d = Driver()
    sends = d.answer(d.submit(WEB), 1)
    (wanted,) = assigns(sends)["node-2"].tasks
    task = d.task()
    assert (wanted.uid, wanted.attempt, wanted.run) == (task.uid, 1, True)
    assert (task.state, task.node) == (State.SCHEDULED, "node-2")
    assert [r.cpu_used_milli for r in d.look().rows] == [0, 1000]


def test_stale_round_changes_nothing() -> None:
    d = Driver()
    sends = d.submit(WEB)
    (place,) = [e.message for e in sends if isinstance(e.message, Place)]
    stale = replace(place, round=place.round._replace(number=99))
    assert d.tell(Placed(stale.round, (Decision(d.task().uid, 0),))) == []
    assert d.task().state is State.PENDING


def test_answer_that_no_longer_fits_is_asked_again() -> None:
    d = Driver()
    sends = d.submit(replace(WEB, instances=3))
    again = d.answer(sends, 0, 0, 0)  # a row holds two
    assert sorted(str(t.state) for t in d.look().tasks) == ["pending", "scheduled", "scheduled"]
    assert [e.to for e in again] == [SCHEDULER, "worker/node-1"]
    assert all(r.cpu_used_milli <= 2000 for r in d.look().rows)


def test_task_stopped_while_its_round_was_out_is_not_placed() -> None:
    d = Driver()
    sends = d.submit(WEB)
    d.tell(Stop("stop", "shop"))
    d.answer(sends, 0)
    assert d.task().state is State.STOPPED
    assert [r.tasks for r in d.look().rows] == [0, 0]


def test_unanswered_round_is_abandoned_and_asked_anew_with_the_whole_fleet() -> None:
    d = Driver()
    (first,) = [e.message for e in d.submit(WEB) if isinstance(e.message, Place)]
    for node in ("node-1", "node-2"):
        d.report(node)
    (again,) = [e.message for e in d.pass_time(6) if isinstance(e.message, Place)]
    assert again.round > first.round
    assert (again.base, len(again.rows)) == (0, 2)
    assert d.tell(Placed(first.round, (Decision(d.task().uid, 0),))) == []


def test_scheduler_without_the_fleet_gets_all_of_it() -> None:
    d = Driver()
    d.answer(d.submit(WEB), 0)
    (place,) = [e.message for e in d.submit(WEB, name="b") if isinstance(e.message, Place)]
    assert place.base > 0
    assert [r.row for r in place.rows] == [0]  # what changed since
    (again,) = [e.message for e in d.tell(NeedFleet(place.round)) if isinstance(e.message, Place)]
    assert (again.base, len(again.rows)) == (0, 2)


def test_parked_task_is_tried_again_when_a_row_gains_room_for_it() -> None:
    d = Driver(nodes=1)
    d.answer(d.submit(replace(WEB, instances=2)), 0, 0)
    d.answer(d.submit(WEB, name="late"), None)
    assert d.report("node-1", running(d.task()), whole=False)  # no room gained: no question
    d.tell(Stop("stop", "shop/web/1"))
    task = d.task()
    ended = Fact(task.uid, 1, 0, Phase.ENDED, 143, final=True, charged=False, stopped=True)
    sends = d.report("node-1", ended, whole=False)
    assert [e.to for e in sends] == [SCHEDULER, "worker/node-1"]


def test_exit_that_a_worker_will_restart_leaves_the_task_where_it_is() -> None:
    d = Driver()
    task = placed_and_running(d)
    fact = Fact(task.uid, 1, 0, Phase.ENDED, 3, "exited 3", retry_at=105.0, failures=(99.0,))
    d.report("node-1", fact, whole=False)
    after = d.task()
    assert (after.state, after.retry_at, after.exit_code) == (State.RUNNING, 105.0, 3)
    assert after.failures == (99.0,)


def test_task_that_its_worker_gave_up_is_placed_again_after_a_back_off() -> None:
    d = Driver()
    task = placed_and_running(d, replace(WEB, reschedule=ReschedulePolicy(None, 30.0, 40.0)))
    for attempt, wait in ((1, 30), (2, 40)):  # doubled, and cut at the most
        fact = Fact(task.uid, attempt, 0, Phase.ENDED, 3, "exited 3", final=True)
        assert not [e for e in d.report("node-1", fact, whole=False) if e.to == SCHEDULER]
        for _ in range(wait - 1):
            d.report("node-1")
            d.report("node-2")
            assert not [e for e in d.pass_time(1) if e.to == SCHEDULER]
        d.answer([e for e in d.pass_time(2) if e.to == SCHEDULER], 0)
        assert d.task().attempt == attempt + 1
        assert d.task().reschedules == attempt


def test_answer_from_before_a_failure_does_not_shorten_the_back_off() -> None:
    """The task was lost and asked about, came back, and failed before the scheduler answered."""
    d = Driver(nodes=3)
    task = placed_and_running(d)
    asked: list[Any] = []
    while not asked:
        d.report("node-2")
        d.report("node-3")
        asked = [e for e in d.pass_time(1) if e.to == SCHEDULER]
    d.report("node-1", running(task))
    fact = Fact(task.uid, 1, 0, Phase.ENDED, 3, "exited 3", final=True)
    d.report("node-1", fact, whole=False)
    assert d.task().not_before > d.now
    d.answer(asked, 1)
    assert (d.task().state, d.task().attempt) == (State.PENDING, 1)


def test_batch_task_completes_also_when_its_run_was_never_seen() -> None:
    d = Driver()
    d.answer(d.submit(replace(WEB, kind=Kind.BATCH)), 0)
    task = d.task()
    done = Fact(task.uid, 1, 0, Phase.ENDED, 0, final=True, charged=False)
    sends = d.report("node-1", done, whole=False)
    assert d.task().state is State.COMPLETED
    (kept,) = assigns(sends)["node-1"].tasks  # its container stays, for its output
    assert (kept.uid, kept.run) == (task.uid, False)
    sends = d.tell(Stop("stop", "shop"))
    assert assigns(sends)["node-1"].tasks == ()  # omitted: now it goes


def test_output_of_ended_tasks_is_kept_within_a_bound() -> None:
    d = Driver(nodes=1, options=ManagerOptions(kept_per_node=2))
    for name in "abc":
        d.answer(d.submit(replace(WEB, kind=Kind.BATCH), name=name), 0)
        task = d.task(f"{name}/web/1")
        done = Fact(task.uid, 1, 0, Phase.ENDED, 0, final=True, charged=False)
        sends = d.report("node-1", done, whole=False)
    kept = [w.uid.partition("/")[0] for w in assigns(sends)["node-1"].tasks]
    assert kept == ["b", "c"]


@pytest.mark.parametrize("late", ["attempt", "restart", "phase"])
def test_older_observation_changes_nothing(late: str) -> None:
    d = Driver()
    task = placed_and_running(d)
    d.report("node-1", running(replace(task, restart=1)), whole=False)
    seen = d.task()
    older = {
        "attempt": Fact(task.uid, 0, 5, Phase.ENDED, 1, final=True),
        "restart": Fact(task.uid, 1, 0, Phase.ENDED, 1, final=True),
        "phase": Fact(task.uid, 1, 1, Phase.STARTING),
    }
    d.report("node-1", older[late], whole=False)
    assert d.task() == seen


def test_absence_counts_only_in_a_whole_report_that_could_know() -> None:
    d = Driver()
    task = placed_and_running(d)
    number = assigns(d.report("node-1", running(task)))["node-1"].generation
    d.report("node-1", whole=False, echoes=number)
    d.report("node-1", echoes=number._replace(number=0))  # written before it was assigned
    d.report("node-1", echoes=number, engine_error="away")
    assert d.task().state is State.RUNNING
    d.report("node-1", echoes=number)
    assert d.task().state is State.PENDING


def test_gap_in_the_reports_is_asked_to_be_filled_until_it_is() -> None:
    d = Driver()
    d.seq += 1  # one was lost
    assert assigns(d.report("node-1", whole=False))["node-1"].tell_whole
    assert assigns(d.report("node-1", whole=False))["node-1"].tell_whole
    assert not assigns(d.report("node-1"))["node-1"].tell_whole


def test_silent_node_is_suspect_then_lost_and_its_tasks_move() -> None:
    d = Driver(nodes=3)
    placed_and_running(d)
    states = []
    for _ in range(20):
        d.report("node-2")
        d.report("node-3")
        d.pass_time(1)
        states.append(next(n.state for n in d.look().nodes if n.name == "node-1"))
    assert states[2] is NodeState.ALIVE
    assert states[3] is NodeState.SUSPECT
    assert states[14] is NodeState.SUSPECT
    assert states[15] is NodeState.LOST
    assert d.task().state is State.PENDING
    assert [r.open for r in d.look().rows] == [False, True, True]


def test_node_that_does_not_confirm_its_assignment_takes_no_new_tasks() -> None:
    d = Driver()
    placed_and_running(d)
    number = assigns(d.report("node-1", running(d.task())))["node-1"].generation
    old = number._replace(number=0)
    for _ in range(4):
        d.report("node-1", running(d.task()), echoes=old)
        d.report("node-2")
        d.pass_time(1)
    assert [r.open for r in d.look().rows] == [False, True]
    d.report("node-1", running(d.task()), echoes=number)
    assert [r.open for r in d.look().rows] == [True, True]


def test_lost_node_that_returns_before_the_replacement_is_believed() -> None:
    d = Driver(nodes=3)
    task = placed_and_running(d)
    for _ in range(20):
        d.report("node-2")
        d.report("node-3")
        d.pass_time(1)
    d.report("node-1", running(task))
    after = d.task()
    assert (after.state, after.attempt, after.node) == (State.RUNNING, 1, "node-1")


def test_old_copy_is_omitted_once_the_replacement_is_placed() -> None:
    d = Driver(nodes=3)
    task = placed_and_running(d)
    asked: list[Any] = []
    for _ in range(20):
        d.report("node-2")
        d.report("node-3")
        asked += [e for e in d.pass_time(1) if e.to == SCHEDULER]
        if asked:
            break
    d.answer(asked, 1)
    sends = d.report("node-1", running(task))
    assert assigns(sends)["node-1"].tasks == ()
    assert (d.task().attempt, d.task().node) == (2, "node-2")


def test_manager_that_hears_nobody_moves_nothing() -> None:
    d = Driver(nodes=3)
    placed_and_running(d)
    d.pass_time(60)
    assert d.task().state is State.RUNNING
    assert "cut off" in d.look().note
    for seconds in range(18):
        assert seconds > 15 or d.task().state is State.RUNNING  # node-1 may be the last to return
        d.report("node-2")
        d.report("node-3")
        d.pass_time(1)
    assert d.task().state is State.PENDING


def test_task_with_data_waits_for_its_node_and_says_so() -> None:
    d = Driver(nodes=3)
    placed_and_running(d, replace(WEB, mounts=(Mount("volume", "data", "/data"),)))
    for _ in range(20):
        d.report("node-2")
        d.report("node-3")
        sends = d.pass_time(1)
        assert not [e for e in sends if e.to == SCHEDULER]
    assert d.task().state is State.PENDING
    assert d.task().reason == "volume shop_data is on node-1, lost"


def test_store_that_fails_refuses_new_work_and_says_why() -> None:
    d = Driver()
    d.tell(StoreDown("disk full"))
    (send,) = d.submit(WEB, reply_to="edge/1")
    assert send.message.status == "unavailable"
    assert "disk full" in send.message.text
    assert "disk full" in d.look().note
    d.tell(StoreUp())
    assert d.submit(WEB, reply_to="edge/1")[0].message.status == "created"


def test_events_tell_the_story_in_order() -> None:
    d = Driver()
    placed_and_running(d)
    events: list[Event] = d.store.events(0, 100, "shop")
    assert [e.kind for e in events] == ["job.submitted", "task.placed", "task.running"]
    revisions = [e.revision for e in d.store.events(0, 100)]
    assert revisions == sorted(set(revisions))
