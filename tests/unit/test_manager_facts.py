"""The Manager core: what reports say of tasks, merged into the books."""

from __future__ import annotations

from dataclasses import replace

from cube.messages import Fact, Phase, Remove, Stop
from cube.task import State, Task
from tests.managers import WEB, Driver, assigns, ended, placed_and_running, running, stopped


def test_run_that_an_earlier_manager_had_stopped_is_placed_anew() -> None:
    d = Driver()
    task = placed_and_running(d)
    d.report("node-1", stopped(task), whole=False)
    assert (d.task().state, d.task().node, d.task().exit_code) == (State.PENDING, None, 143)


def test_stop_is_done_when_a_whole_report_that_must_know_lacks_the_task() -> None:
    d = Driver()
    placed_and_running(d)
    d.tell(Stop("stop", "shop"))
    d.report("node-1")
    assert d.task().state is State.STOPPED


def test_same_run_told_again_changes_nothing_and_the_next_one_begins_anew() -> None:
    d = Driver()
    task = placed_and_running(d)
    d.pass_time(1)
    d.report("node-1", running(task), whole=False)
    assert d.task() == task
    d.report("node-1", running(task, healthy=True), whole=False)
    assert (d.task().healthy, d.task().since) == (True, task.since)
    d.report("node-1", replace(running(task), restart=1), whole=False)
    assert (d.task().restart, d.task().since) == (1, d.now)


def test_progress_is_shown_unless_the_task_is_being_stopped_for_a_reason() -> None:
    d = Driver()
    d.answer(d.submit(WEB), 0)
    task = d.task()
    starting = Fact(task.uid, 1, 0, Phase.STARTING, reason="pulling the image: 10 %")
    d.report("node-1", starting, whole=False)
    assert (d.task().state, d.task().reason) == (State.SCHEDULED, "pulling the image: 10 %")
    d.tell(Stop("stop", "shop"))
    d.report("node-1", replace(starting, reason="pulling the image: 20 %"), whole=False)
    assert (d.task().state, d.task().reason) == (State.STOPPING, "stopped by a user")


def test_next_start_is_told_by_our_clock_and_never_lies_in_the_past() -> None:
    d = Driver()
    task = placed_and_running(d)
    fails = Fact(task.uid, 1, 0, Phase.ENDED, 1, "exited 1", charged=True)
    d.report("node-1", fails, whole=False)
    assert (d.task().phase, d.task().retry_at) == (Phase.ENDED, None)
    d.report("node-1", replace(fails, retry_at=d.now + 7.0), whole=False)
    assert d.task().retry_at == d.now + 7.0
    again = placed_and_running(d := Driver())
    late = Fact(again.uid, 1, 0, Phase.ENDED, 1, "exited 1", charged=True, retry_at=d.now - 3.0)
    d.report("node-1", late, whole=False)
    assert d.task().retry_at == d.now
    assert d.store.events(0, 1000)[-1].text.endswith("starts again in 0 s")


def test_end_with_failures_that_were_not_known_adds_them() -> None:
    d = Driver()
    task = placed_and_running(d)
    fails = Fact(task.uid, 1, 0, Phase.ENDED, 1, charged=True, retry_at=d.now + 5.0)
    d.report("node-1", fails, whole=False)
    told = d.task().revision
    d.report("node-1", fails, whole=False)
    assert d.task().revision == told
    d.report("node-1", replace(fails, failures=(d.now - 1.0,)), whole=False)
    assert d.task().failures == (d.now - 1.0,)


def test_removed_task_is_known_up_to_its_latest_attempt() -> None:
    for attempt, known in ((1, True), (2, True), (3, False)):
        d = Driver(nodes=1)
        task = placed_and_running(d)
        d.answer(d.report("node-1", stopped(task), whole=False), 0)
        assert d.task().attempt == 2
        d.tell(Remove("remove", "shop", force=True))
        d.report("node-1", stopped(d.task()), whole=False)
        assert d.look().tasks == ()
        (assign,) = assigns(d.report("node-1", Fact(task.uid, attempt, 0, Phase.RUNNING))).values()
        assert ((task.uid, attempt) not in assign.keep) is known


def test_only_a_task_whose_node_was_lost_counts_as_lost() -> None:
    d = Driver(nodes=3)
    task = placed_and_running(d)
    assert task.lost_on == ""
    for _ in range(17):
        d.pass_time(1)
        d.report("node-2")
        d.report("node-3")
    assert (d.task().state, d.task().lost_on) == (State.PENDING, "node-1")
    d.report("node-1", running(task))
    assert (d.task().state, d.task().lost_on) == (State.RUNNING, "")
    failed = Fact(task.uid, 1, 0, Phase.ENDED, 1, final=True, charged=True)
    d.report("node-1", failed, whole=False)
    assert (d.task().state, d.task().lost_on) == (State.PENDING, "")


def test_lost_task_returns_with_its_own_node_only() -> None:
    """That attempt on another node was placed by a manager whose store is gone."""
    d = Driver(nodes=3)
    task = placed_and_running(d)
    for _ in range(17):
        d.pass_time(1)
        d.report("node-2")
        d.report("node-3")
    (assign,) = assigns(d.report("node-2", running(task))).values()
    assert (d.task().state, assign.keep) == (State.PENDING, ((task.uid, 1),))
    d.report("node-1", running(task))
    assert (d.task().state, d.task().node) == (State.RUNNING, "node-1")


def test_lost_task_that_has_ended_is_not_believed_to_run_by_a_late_report() -> None:
    d = Driver(nodes=3)
    task = placed_and_running(d)
    for _ in range(17):
        d.pass_time(1)
        d.report("node-2")
        d.report("node-3")
    d.report("node-1", ended(task, 1), seq=100)
    d.report("node-1", running(task), seq=99, whole=False)
    assert d.task().state is State.PENDING


def lost_by_a_new_manager() -> tuple[Driver, Task]:
    """Its node was silent since the manager started: nobody knows what it offers."""
    d = Driver(nodes=3)
    task = placed_and_running(d)
    d.restart()
    for _ in range(17):
        d.pass_time(1)
        d.report("node-2")
        d.report("node-3")
    assert d.task().lost_on == "node-1"
    return d, task


def test_lost_task_that_has_ended_stays_over_whatever_its_node_offers() -> None:
    d, task = lost_by_a_new_manager()
    d.report("node-1", ended(task, 1), seq=100, whole=False)
    d.report("node-1", running(task), seq=99)
    assert d.task().state is State.PENDING


def test_lost_task_is_believed_once_it_is_known_what_its_node_offers() -> None:
    d, task = lost_by_a_new_manager()
    d.report("node-1", running(task), whole=False)
    assert d.task().state is State.PENDING
    d.report("node-1", running(task))
    assert (d.task().state, d.task().node) == (State.RUNNING, "node-1")


def test_old_copy_on_a_returned_node_is_told_to_go_and_is_no_stranger() -> None:
    d = Driver(nodes=3)
    task = placed_and_running(d)
    sends = []
    for _ in range(17):
        sends += d.pass_time(1) + d.report("node-2") + d.report("node-3")
    d.answer([send for send in sends if send.to == "scheduler"][-1:], 1)
    assert d.task().attempt == 2
    (assign,) = assigns(d.report("node-1", running(task))).values()
    assert (assign.tasks, assign.keep, d.look().unknown) == ((), (), ())
