"""The Manager core: nodes that come back, managers that forgot, containers that nobody knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cube.manager import ManagerOptions
from cube.messages import (
    Fact,
    Generation,
    NodeInfo,
    Phase,
    Recover,
    Remove,
    RemoveNode,
    Report,
    Stop,
    Submit,
)
from cube.spec import JobSpec, Kind
from cube.task import HostPort, MachineUse, NodeState, State, TaskUse
from tests.managers import (
    CLUSTER,
    WEB,
    Driver,
    assigns,
    ended,
    placed_and_running,
    running,
    stopped,
)

STRAY = Fact("old/web/1@5", 1, 0, Phase.RUNNING, size=(1000, 100, 0))


def lose_first(d: Driver) -> None:
    """node-1 falls silent while the others go on."""
    for _ in range(20):
        d.report("node-2")
        d.report("node-3")
        d.pass_time(1)
    assert d.task().state is State.PENDING


def test_node_is_told_nothing_before_its_whole_truth_was_heard() -> None:
    """Else a manager that forgot everything has it drop what the changes did not mention."""
    d = Driver(nodes=0)
    newer = Generation(CLUSTER, 7, 7)
    assert assigns(d.report("node-1", STRAY, whole=False, echoes=newer)) == {}
    (assign,) = assigns(d.report("node-1", STRAY, echoes=newer)).values()
    assert assign.keep == ((STRAY.uid, 1),)


def test_what_a_lost_store_made_in_the_very_millisecond_of_a_start_is_not_known() -> None:
    d = Driver(nodes=0)
    stray = replace(STRAY, uid=f"old/web/1@{int(d.now * 1000)}")
    d.pass_time(1)
    d.restart()
    (assign,) = assigns(d.report("node-1", stray)).values()
    assert assign.keep == ((stray.uid, 1),)


def test_unknown_container_counts_with_its_ports_until_it_ends() -> None:
    d = Driver(nodes=1)
    stray = replace(STRAY, ports=(HostPort(80, 8080, "tcp"),))
    d.report("node-1", stray)
    (row,) = d.look().rows
    assert (row.cpu_used_milli, row.ports) == (1000, ((8080, "tcp"),))
    (assign,) = assigns(d.report("node-1", replace(stray, phase=Phase.ENDED))).values()
    (row,) = d.look().rows
    assert (row.cpu_used_milli, row.ports) == (0, ())
    assert assign.keep == ((STRAY.uid, 1),)


def test_recovery_removes_what_the_operator_saw_and_nothing_that_comes_later() -> None:
    d = Driver(nodes=1)
    d.report("node-1", STRAY)
    (assign,) = assigns(d.tell(Recover("recover"))).values()
    assert assign.keep == ()
    later = replace(STRAY, uid="old/web/2@5")
    (assign,) = assigns(d.report("node-1", STRAY, later)).values()
    assert assign.keep == ((later.uid, 1),)


def test_unknown_copy_of_a_forgotten_task_stays_unknown_to_the_next_manager() -> None:
    d = Driver(nodes=1)
    task = placed_and_running(d)
    d.report("node-2", replace(running(task), attempt=2))  # of a store that is lost
    d.tell(Remove("remove", "shop", force=True))
    d.report("node-1", stopped(task))
    assert not d.look().tasks
    d.restart()
    (assign,) = assigns(d.report("node-2", replace(running(task), attempt=2))).values()
    assert assign.keep == ((task.uid, 2),)


def test_copy_of_an_ended_task_on_another_node_is_unknown() -> None:
    d = Driver(nodes=1)
    task = placed_and_running(d)
    d.tell(Stop("stop", "shop"))
    d.report("node-1", stopped(task))
    assert d.task().state is State.STOPPED
    (assign,) = assigns(d.report("node-2", running(task))).values()
    assert assign.keep == ((task.uid, 1),)


def test_old_copy_is_not_taken_for_the_new_version_when_its_node_returns() -> None:
    d = Driver(nodes=3)
    task = placed_and_running(d)
    lose_first(d)
    d.tell(Submit("change", JobSpec("shop", (replace(WEB, environment=(("A", "1"),)),))))
    (assign,) = assigns(d.report("node-1", running(task))).values()
    assert d.task().state is State.PENDING
    assert assign.tasks == ()


def test_late_report_of_a_run_that_has_ended_revives_nothing() -> None:
    d = Driver(nodes=1)
    task = placed_and_running(d)
    end = Fact(task.uid, 1, 0, Phase.ENDED, 3, "exited 3", final=True)
    d.report("node-1", end, whole=False)
    d.report("node-1", running(task), whole=False, seq=1)
    assert d.task().state is State.PENDING


def test_restarted_manager_waits_as_long_as_the_nodes_were_told_to_be_patient() -> None:
    d = Driver(nodes=200)  # they report every 4 s, and have 25 s
    placed_and_running(d)
    d.restart()
    for _ in range(18):
        for node in ("node-2", "node-3", "node-4"):
            d.report(node)
        d.pass_time(1)
    assert d.task().state is State.RUNNING


def test_nodes_that_were_lost_long_ago_do_not_vouch_for_the_silent_ones() -> None:
    d = Driver(nodes=7)
    for _ in range(60):
        for i in range(4, 8):
            d.report(f"node-{i}")
        d.pass_time(1)
    lost = [n for n in d.look().nodes if n.state is NodeState.LOST]
    assert len(lost) == 3
    for _ in range(30):
        d.report("node-4")
        d.pass_time(1)
    assert "cut off" in d.look().note


def test_failure_right_after_another_is_one_more_even_if_its_worker_has_forgotten() -> None:
    d = Driver(nodes=1)
    task = placed_and_running(d)
    for restart, at in ((0, 99.0), (1, 99.1)):  # the worker tells of the latest only
        end = Fact(task.uid, 1, restart, Phase.ENDED, 3, failures=(at,), retry_at=115.0)
        (assign,) = assigns(d.report("node-1", end, whole=False)).values()
        d.report("node-1", end, whole=False)
    assert d.task().failures == (99.0, 99.1)
    assert assign.tasks[0].failures == (99.0, 99.1)


def test_failure_that_a_restarted_worker_tells_piece_by_piece_is_stored() -> None:
    d = Driver(nodes=1)
    task = placed_and_running(d)
    end = Fact(task.uid, 1, 0, Phase.ENDED, 3, charged=False)  # found so; nothing decided yet
    d.report("node-1", end)
    d.report("node-1", replace(end, failures=(99.0,), retry_at=115.0), whole=False)
    assert (d.task().failures, d.task().retry_at) == ((99.0,), 115.0)


def test_large_cluster_answers_changes_together_within_the_time_they_are_told_again() -> None:
    options = ManagerOptions(reports_per_second=1 / 30, kept_per_node=0)  # answers wait 1 s
    d = Driver(nodes=1, options=options)
    d.answer(d.submit(replace(WEB, kind=Kind.BATCH, instances=2)), 0, 0)
    first, second = d.task("shop/web/1"), d.task("shop/web/2")
    assert assigns(d.report("node-1", running(first), running(second), whole=False)) == {}
    assert assigns(d.report("node-1", ended(first), whole=False)) == {}
    (assign,) = assigns(d.pass_time(1)).values()
    assert (assign.answers, [w.uid for w in assign.tasks]) == ((1, d.seq), [second.uid])
    assert assigns(d.pass_time(5)) == {}


def test_large_cluster_gives_new_work_and_answers_whole_reports_at_once() -> None:
    d = Driver(nodes=1, options=ManagerOptions(reports_per_second=1 / 30))
    placed = assigns(d.answer(d.submit(WEB), 0))
    assert [w.uid for w in placed["node-1"].tasks] == [d.task().uid]
    d.report("node-1", running(d.task()), whole=False)
    (assign,) = assigns(d.report("node-1", running(d.task()))).values()
    assert assign.answers == (1, d.seq)


def test_an_answer_that_is_owed_to_a_removed_node_is_given_to_nobody() -> None:
    d = Driver(nodes=1, options=ManagerOptions(reports_per_second=1 / 30))
    words = {"node": "gone", "cluster": CLUSTER, "life": 1, "now": d.now, "echoes": None}
    for seq, whole in ((1, True), (2, False)):  # its engine has never told what it offers
        d.tell(Report(**words, seq=seq, whole=whole, facts=(), info=None, engine_error="down"))
    (reply,) = d.tell(RemoveNode("remove", "gone", "edge/1"))
    assert reply.message.status == "ok"
    assert assigns(d.pass_time(3)) == {}


def test_node_of_an_earlier_life_is_alive_with_its_first_report() -> None:
    d = Driver(nodes=1)
    task = placed_and_running(d)
    d.restart()
    d.pass_time(5)
    d.report("node-1", running(task))
    assert d.look().nodes[0].state is NodeState.ALIVE


def test_removal_of_a_container_says_nothing_of_a_later_one_of_its_name() -> None:
    d = Driver(nodes=1)
    d.report("node-1", STRAY)
    strangers, entry = d.manager._nodes.strangers, d.manager._nodes.entries["node-1"]
    strangers.discard(entry, (STRAY.uid, 1))
    strangers.settled(entry, (STRAY.uid, 1))
    (assign,) = assigns(d.report("node-1", STRAY)).values()
    assert assign.keep == ((STRAY.uid, 1),)


def test_node_that_a_task_has_left_is_told_so_once() -> None:
    d = Driver(nodes=1, options=ManagerOptions(kept_per_node=0))
    d.answer(d.submit(replace(WEB, kind=Kind.BATCH)), 0)
    d.report("node-1", running(d.task()))
    d.report("node-1", ended(d.task()))
    told = d.heard["node-1"]
    (assign,) = assigns(d.report("node-1")).values()
    assert (assign.generation, assign.tasks) == (told, ())


def disk(used: int) -> MachineUse:
    return MachineUse(100, 2000, 500, 2000, used, 100)


def test_node_whose_disk_is_nearly_full_takes_no_new_task_and_says_why() -> None:
    d = Driver(nodes=1)
    task = placed_and_running(d)
    d.report("node-1", running(task), machine=disk(91))
    node = d.look().nodes[0]
    assert node.note == "its disk is 91% full: it takes no new tasks"
    assert not d.look().rows[0].open
    assert d.task().state is State.RUNNING
    d.report("node-1", running(task))  # a worker that has not measured yet
    assert not d.look().rows[0].open
    d.report("node-1", running(task), machine=disk(90))
    assert d.look().rows[0].open
    kinds = [e for e in d.store.events(0, 1000) if e.kind == "node.disk"]
    assert [e.text for e in kinds] == [
        "node-1: its disk is 91% full: it takes no new tasks",
        "node-1: its disk is 90% full: it takes new tasks again",
    ]


def test_usage_is_shown_and_never_stored() -> None:
    d = Driver(nodes=1)
    task = placed_and_running(d)
    before = d.look().revision
    use = TaskUse(task.uid, task.attempt, 1500, 300)
    d.report("node-1", running(task), machine=disk(50), usage=(use,), cpu_load_milli=1500)
    assert (d.look().nodes[0].usage, d.look().nodes[0].machine) == ((use,), disk(50))
    assert d.look().rows[0].cpu_load_milli == 1500  # where policies see it
    assert d.look().revision == before


# --- at the very moment ------------------------------------------------------------------


def silent(d: Driver, seconds: int, *others: str) -> str:
    """The state of node-1 after it has been silent for so long."""
    for _ in range(seconds):
        d.pass_time(1)
        for other in others:
            d.report(other)
    return next(str(n.state) for n in d.look().nodes if n.name == "node-1")


def test_node_is_suspect_only_after_more_than_three_intervals() -> None:
    d = Driver(nodes=3)
    assert silent(d, 3, "node-2", "node-3") == "alive"
    assert silent(d, 1, "node-2", "node-3") == "suspect"


def test_node_that_does_not_confirm_is_suspect_only_after_more_than_three_intervals() -> None:
    d = Driver(nodes=1)
    old = d.heard["node-1"]
    d.answer(d.submit(WEB), 0)
    for _ in range(3):
        d.pass_time(1)
        d.report("node-1", echoes=old)
    assert d.look().nodes[0].state is NodeState.ALIVE
    d.pass_time(1)
    assert d.look().nodes[0].state is NodeState.SUSPECT
    d.report("node-1", echoes=old)
    assert d.look().nodes[0].state is NodeState.SUSPECT
    d.report("node-1")
    assert d.look().nodes[0].state is NodeState.ALIVE


def test_half_of_the_nodes_may_be_lost_but_not_more() -> None:
    for others, state in ((("node-3", "node-4"), "lost"), (("node-4",), "suspect")):
        d = Driver(nodes=4)
        assert silent(d, 17, *others) == state


@pytest.mark.parametrize("seconds", [15, 40])
def test_nobody_is_lost_for_being_the_last_to_return_when_we_were_cut_off(seconds: int) -> None:
    d = Driver(nodes=3)
    assert silent(d, seconds) == "suspect"
    assert silent(d, 16, "node-2", "node-3") == "suspect"
    assert silent(d, 2, "node-2", "node-3") == "lost"  # after a whole grace of its own


def test_a_new_manager_knows_that_nodes_report_as_seldom_as_the_last_one_granted() -> None:
    """Three nodes of ten hold tasks: for three it would expect reports far more often."""
    d = Driver(nodes=10, options=ManagerOptions(reports_per_second=0.1))
    d.answer(d.submit(replace(WEB, instances=3)), 0, 1, 2)
    d.restart()
    d.pass_time(95)  # less than an interval
    others = [f"node-{number}" for number in (1, 2, 4, 5, 6, 7, 8, 9, 10)]
    for _ in range(5):
        for node in others:
            d.report(node)
        d.pass_time(86)
    assert next(n.state for n in d.look().nodes if n.name == "node-3") == "lost"


def test_two_that_a_lost_one_left_of_three_are_not_lost_together() -> None:
    d = Driver(nodes=3)
    assert silent(d, 40, "node-2", "node-3") == "lost"
    silent(d, 60)
    assert "cut off" in d.look().note
    silent(d, 16, "node-2")
    assert [n.state for n in d.look().nodes] == ["lost", "alive", "suspect"]
    silent(d, 2, "node-2")
    assert [n.state for n in d.look().nodes] == ["lost", "alive", "lost"]  # one of two may fail


def test_two_nodes_tell_nothing_about_us() -> None:
    d = Driver(nodes=2)
    assert silent(d, 17) == "lost"


def test_epoch_that_a_worker_obeys_is_overtaken_by_one_and_all_are_told() -> None:
    d = Driver(nodes=2)
    told = assigns(d.report("node-1", echoes=Generation(CLUSTER, 7, 7)))
    assert {node: a.generation.epoch for node, a in told.items()} == {"node-1": 8, "node-2": 8}


def test_reports_that_follow_one_another_leave_no_gap() -> None:
    d = Driver(nodes=1)
    (assign,) = assigns(d.report("node-1", whole=False)).values()
    assert not assign.tell_whole
    d.seq += 1
    (assign,) = assigns(d.report("node-1", whole=False)).values()
    assert assign.tell_whole


def test_run_is_told_the_number_that_it_starts_with_when_it_must_start_anew() -> None:
    d = Driver(nodes=1)
    sends = d.answer(d.submit(WEB), 0)
    (wanted,) = assigns(sends)["node-1"].tasks
    assert wanted.restart == 0
    task = d.task()
    starting = Fact(task.uid, 1, 0, Phase.STARTING)
    d.report("node-1", starting, whole=False)
    (wanted,) = assigns(d.report("node-1", starting, life=2))["node-1"].tasks
    assert wanted.restart == 1
    d.report("node-1", replace(starting, restart=4), life=2)
    (wanted,) = assigns(d.report("node-1", replace(starting, restart=4), life=3))["node-1"].tasks
    assert wanted.restart == 5


def test_end_that_its_worker_has_not_judged_is_not_said_to_be_counted() -> None:
    """A worker that was restarted tells what it finds before it knows what is wanted."""
    d = Driver(nodes=1)
    task = placed_and_running(d)
    found = Fact(task.uid, 1, 0, Phase.ENDED, 1)
    (wanted,) = assigns(d.report("node-1", found, life=2))["node-1"].tasks
    assert wanted.counted == -1
    judged = replace(found, charged=True, retry_at=d.now + 5.0, failures=(d.now,))
    d.report("node-1", judged, life=2, whole=False)
    (wanted,) = assigns(d.report("node-1", found, life=3))["node-1"].tasks
    assert (wanted.counted, wanted.failures) == (0, (d.now,))


def test_report_of_another_cluster_is_not_answered() -> None:
    d = Driver(nodes=0)
    foreign = Report("node-9", "other", 1, 1, d.now, True, None, (), NodeInfo("node-9", 1, 1, 1))
    assert d.tell(foreign) == []
    assert d.look().nodes == ()


def test_copy_of_an_attempt_that_ended_elsewhere_is_unknown_while_its_task_waits() -> None:
    d = Driver(nodes=2)
    d.answer(d.submit(WEB), 0)
    task = d.task()
    d.report("node-1", ended(task, None, reason="no such image"), whole=False)
    assert (d.task().state, d.task().placed_on) == (State.PENDING, "node-1")
    (assign,) = assigns(d.report("node-2", running(task))).values()
    assert assign.keep == ((task.uid, 1),)
    d.restart()
    d.report("node-1")
    (assign,) = assigns(d.report("node-2", running(task))).values()
    assert assign.keep == ((task.uid, 1),)
