"""The Manager core: limits at the very moment, and at the very number, where they begin to hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cube.fleet import Fleet
from cube.manager import TICK_SECONDS, ManagerOptions
from cube.manager.dependencies import unmet_dependency
from cube.manager.drain import _order
from cube.manager.entry import Entry, grants
from cube.manager.facts import _failures
from cube.manager.ledger import Ledger
from cube.manager.queue import _fitting, queue_key
from cube.manager.rollout import _fails, is_up
from cube.manager.rounds import ROUND_TASKS
from cube.manager.together import is_apart
from cube.messages import (
    Assign,
    DeclareLost,
    Drain,
    Fact,
    NodeInfo,
    NodeRow,
    Phase,
    Recover,
    Remove,
    RemoveNode,
    Report,
    Save,
    Scale,
    Send,
    Stop,
    Submit,
    resend_seconds,
)
from cube.spec import Demand, Dependency, GpuNeed, JobSpec, Kind, ReschedulePolicy, TaskSpec
from cube.store import MemoryStore
from cube.task import MachineUse, NodeState, State, Task
from tests.managers import (
    CLUSTER,
    WEB,
    Driver,
    asked,
    assigns,
    ended,
    placed_and_running,
    running,
    stopped,
)

SMALL = replace(WEB, cpu_milli=100)
BATCH = replace(SMALL, kind=Kind.BATCH)
AGENT = TaskSpec("agent", "image", Kind.GLOBAL)


def state(d: Driver, node: str = "node-1") -> NodeState:
    return next(n.state for n in d.look().nodes if n.name == node)


# --- nodes ---


def test_two_answers_that_wait_and_a_tick_between_them_fit_before_a_worker_repeats_itself() -> None:
    granted = grants(3000, 50.0)
    assert 2 * granted.answer_within + TICK_SECONDS == resend_seconds(granted.interval)


def test_a_node_is_late_after_three_intervals_and_not_at_them() -> None:
    d = Driver(nodes=1)
    d.pass_time(3)
    assert state(d) is NodeState.ALIVE
    d.pass_time(1)
    assert state(d) is NodeState.SUSPECT


def test_a_node_may_be_removed_once_it_is_late() -> None:
    d = Driver(nodes=1)
    d.tell(DeclareLost("lost", "node-1", "edge/1"))
    for second, status in ((3, "conflict"), (4, "ok")):
        d.pass_time(103 + second - 3 - d.now)
        reply = d.tell(RemoveNode(f"remove {second}", "node-1", "edge/1"))[0].message
        assert (reply.status, d.now) == (status, 100.0 + second)


def test_a_node_that_was_lost_is_given_nothing_before_its_whole_truth_is_heard() -> None:
    d = Driver(nodes=3)
    for _ in range(20):
        d.report("node-2")
        d.report("node-3")
        d.pass_time(1)
    assert state(d) is NodeState.LOST
    assert assigns(d.report("node-1", whole=False)) == {}
    assert not d.look().rows[0].open
    d.report("node-1")
    assert d.look().rows[0].open


def test_a_node_counts_as_answering_only_once_it_echoes_its_newest_assignment() -> None:
    d = Driver(nodes=1)
    old = d.heard["node-1"]
    d.answer(d.submit(SMALL), 0)
    d.now += 4
    d.report("node-1", running(d.task()), whole=False, echoes=old)
    d.pass_time(1)
    assert state(d) is NodeState.SUSPECT


def test_a_node_without_a_row_is_seen_without_one() -> None:
    d = Driver(nodes=1)
    (known,) = d.look().nodes
    d.restart()
    d.report("node-1", whole=False)
    (node,) = d.look().nodes
    assert (known.row, node.row) == (0, -1)
    assert (node.engine, node.datacenter, node.labels) == ("", "", ())


def test_a_disk_of_which_nothing_is_known_is_not_full() -> None:
    for machine, full in (
        (MachineUse(0, 1, 0, 1, 5, 0), False),
        (MachineUse(0, 1, 0, 1, 90, 100), False),
        (MachineUse(0, 1, 0, 1, 91, 100), True),
    ):
        entry = Entry("node-1", NodeState.ALIVE, 0.0, 0.0, machine=machine)
        assert entry.disk_full is full


def test_a_node_that_was_promised_as_long_a_grace_costs_no_save() -> None:
    d = Driver(nodes=1)
    effects = d.manager.receive(_report(d), d.now)
    assert any(isinstance(e, Send) and isinstance(e.message, Assign) for e in effects)
    assert not [e for e in effects if isinstance(e, Save)]


def _report(d: Driver) -> Report:
    d.seq += 1
    info = NodeInfo("node-1", 2000, 2000, 1000)
    return Report(
        "node-1", CLUSTER, life=1, seq=d.seq, now=d.now, whole=True, facts=(),
        echoes=d.heard["node-1"], info=info,
    )  # fmt: skip


# --- the queue ---


@pytest.mark.parametrize(
    ("demand", "count"),
    [
        (Demand(100, 10), 9),
        (Demand(100, 10, ports=((80, "tcp"),)), 1),
        (Demand(0, 250), 3),
        (Demand(0, 0), 1),
        (Demand(1, 0), 900),
        (Demand(5000, 10), 1),
        (Demand(0, 0, gpu=GpuNeed(1, 1000)), 3),
        (Demand(400, 0, gpu=GpuNeed(1, 1000)), 2),
        (Demand(0, 0, gpu=GpuNeed(1, 1)), 3000),
    ],
)
def test_as_many_are_woken_as_fit_and_one_at_least(demand: Demand, count: int) -> None:
    fleet = Fleet()
    info = NodeInfo("node-1", 1000, 1000, 100, gpus=("T4",) * 3)
    fleet.set_row(NodeRow(0, info, open=True))
    fleet.take(0, Demand(100, 200), ())
    assert _fitting(fleet, 0, demand) == count


def test_a_round_asks_about_so_many_and_no_more() -> None:
    d = Driver(nodes=1)
    many = replace(SMALL, instances=ROUND_TASKS + 1)
    assert len(asked(d.submit(many))) == ROUND_TASKS == 1024


def fail(d: Driver, task: Task) -> None:
    """It fails for good on its node, and is placed anew as soon as it may be."""
    d.report("node-1", ended(task, 1, charged=True))
    d.now = d.task().not_before
    d.answer(d.report("node-1") + d.pass_time(1), 0)


def test_a_placed_task_has_reported_nothing() -> None:
    d = Driver(nodes=1)
    fail(d, placed_and_running(d))
    assert (d.task().attempt, d.task().restart, d.task().phase) == (2, 0, -1)


def test_an_adopted_task_has_reported_nothing_and_waits_for_nothing() -> None:
    d = Driver(nodes=1)
    d.report("node-1", Fact("bank/web/1@7", 1, 2, Phase.RUNNING, version=3, spec=SMALL))
    d.tell(Recover("adopt", action="adopt"))
    task = d.task("bank/web/1")
    assert (task.restart, task.phase, task.not_before) == (2, -1, 0.0)
    assert d.look().jobs[0].submitted == d.look().jobs[0].revision


def test_a_job_s_place_in_the_queue_is_that_of_its_submit() -> None:
    d = Driver(nodes=0)
    d.submit(SMALL)
    (job,) = d.look().jobs
    assert d.task().submitted == job.submitted == job.revision


# --- drains ---


def test_a_deadline_holds_from_its_very_moment() -> None:
    d = Driver(nodes=2)
    d.answer(d.submit(replace(SMALL, instances=2)), 0, 0)  # neither counts as up
    d.tell(Drain("drain", "node-1", on=True, deadline_seconds=2.0))
    d.pass_time(1)
    assert {t.state for t in d.look().tasks} == {State.SCHEDULED, State.STOPPING}
    d.pass_time(1)
    assert {t.state for t in d.look().tasks} == {State.STOPPING}


# --- jobs ---


def test_a_dependency_on_a_global_service_waits_for_what_may_come() -> None:
    d = Driver(nodes=2)
    api = replace(SMALL, name="api", depends_on=(Dependency("agent"),))
    d.tell(Drain("drain", "node-2", on=True))
    d.answer(d.submit(AGENT, api), 0)
    assert asked(d.report("node-1", running(d.task("shop/agent/node-1")))) == ["shop/api/1"]
    d = Driver(nodes=2)
    sends = d.submit(AGENT, api)
    assert asked(sends) == ["shop/agent/node-1", "shop/agent/node-2"]
    d.answer(sends, 0, 1)
    assert asked(d.report("node-1", running(d.task("shop/agent/node-1")))) == []


def test_a_task_that_turns_back_was_not_displaced() -> None:
    d = Driver(nodes=1)
    placed_and_running(d)
    d.tell(Stop("stop", "shop"))
    d.tell(Submit("again", JobSpec("shop", (WEB,))))
    assert (d.task().then, d.task().displaced) == ("pending", False)


def test_fifty_ended_tasks_of_a_node_are_kept() -> None:
    assert ManagerOptions().kept_per_node == 50


def test_output_of_what_ends_after_its_job_was_stopped_is_not_kept() -> None:
    d = Driver(nodes=1)
    d.answer(d.submit(replace(BATCH, instances=2)), 0, 0)
    one, two = d.look().tasks
    d.report("node-1", ended(one), running(two), whole=False)
    assert list(d.manager._ledger.ended_on["node-1"]) == [one.id]
    d.tell(Stop("stop", "shop"))
    d.report("node-1", ended(d.task(two.id)), whole=False)
    assert not d.manager._ledger.ended_on["node-1"]


def test_the_cluster_s_name_is_saved_at_the_first_start() -> None:
    assert Driver(nodes=0).store.load().meta["cluster"] == CLUSTER


# --- back-off ---


def test_a_service_that_ran_for_longer_than_the_longest_delay_begins_afresh() -> None:
    policy = ReschedulePolicy(delay_seconds=10.0, max_delay_seconds=40.0)
    for ran, delay in ((40, 20.0), (41, 10.0)):
        d = Driver(nodes=1)
        fail(d, placed_and_running(d, replace(WEB, reschedule=policy)))
        d.report("node-1", running(d.task()))
        d.now += ran
        d.report("node-1", ended(d.task(), 1, charged=True))
        assert d.task().not_before - d.now == delay


def test_a_run_that_failed_a_moment_later_is_another_failure() -> None:
    d = Driver(nodes=1)
    task = placed_and_running(d)
    fails = ended(task, 1, final=False, charged=True, retry_at=d.now + 9)
    first, later = d.now - 1.0, d.now - 0.3
    d.report("node-1", replace(fails, failures=(first,)), whole=False)
    d.report("node-1", replace(fails, restart=1, failures=(later,)), whole=False)
    assert d.task().failures == (later,)  # its worker counts anew, and says so


def test_a_run_that_is_told_again_with_fewer_failures_adds_none() -> None:
    d = Driver(nodes=1)
    task = placed_and_running(d)
    fails = ended(task, 1, final=False, charged=True, retry_at=d.now + 9)
    d.report("node-1", replace(fails, failures=(98.0, 99.0)), whole=False)
    told = d.task()
    d.report("node-1", replace(fails, failures=(99.0,)), whole=False)
    d.report("node-1", replace(fails, failures=(98.0, 99.0), reason="other words"), whole=False)
    assert d.task() == told


def test_a_failure_that_is_told_again_with_its_run_is_not_counted_again() -> None:
    ledger = Ledger(CLUSTER, MemoryStore().load())
    ledger.now = 100.0
    task = a_task(node="node-1", phase=Phase.ENDED, failures=(99.0,))
    report = Report("node-1", CLUSTER, 1, 1, 100.0, False, None, ())
    for restart, failures in ((0, (99.0,)), (1, (99.0, 99.25))):
        fact = ended(replace(task, restart=restart), 1, charged=True, failures=(99.25,))
        assert _failures(ledger, task, fact, report) == failures


# --- what helps others to decide ---


def a_task(**fields: object) -> Task:
    return replace(Task("shop/web/1", 1, "shop", "web", "1", 1, WEB), **fields)


def test_who_fails_is_down_and_who_runs_may_be_followed() -> None:
    assert not _fails(a_task())
    assert _fails(a_task(reschedules=1))
    assert _fails(a_task(failures=(1.0,)))
    assert _fails(a_task(state=State.FAILED))
    runs = a_task(state=State.RUNNING, phase=Phase.RUNNING, since=10.0)
    assert [is_up(runs, now) for now in (11.9, 12.0)] == [False, True]
    assert is_up(replace(runs, spec=BATCH), 10.0)


def test_who_is_replaced_still_counts_for_its_job_and_who_ends_does_not() -> None:
    for then, apart in (("pending", False), ("stopped", True)):
        assert is_apart(a_task(state=State.STOPPING, then=then)) is apart
        assert not is_apart(a_task(state=State.RUNNING, then=then))
    assert is_apart(a_task(spec=AGENT))


def test_instances_on_every_node_come_before_those_that_are_numbered() -> None:
    agent = a_task(id="shop/z/node-1", index="node-1")
    assert queue_key(agent, 50) < queue_key(a_task(), 50)
    assert _order(agent) < _order(a_task())


def test_a_batch_task_is_missed_by_a_drain_only_if_it_ran_and_may_run_now() -> None:
    d = Driver(nodes=1)
    is_down = d.manager._draining._is_down
    for attempt, not_before, down in ((0, 0.0, False), (1, d.now, True), (1, d.now + 1, False)):
        waits = a_task(spec=BATCH, attempt=attempt, not_before=not_before)
        assert is_down(waits) is down


def test_an_instance_on_a_node_whose_engine_fails_is_waited_for() -> None:
    d = Driver(nodes=2)
    api = replace(SMALL, name="api", depends_on=(Dependency("agent"),))
    d.answer(d.submit(AGENT, api), 0, 1)
    d.report("node-2", engine_error="it does not answer")
    assert asked(d.report("node-1", running(d.task("shop/agent/node-1")))) == []


# --- after a restart of the manager ---


def test_tasks_have_their_job_s_very_spec_after_a_restart() -> None:
    d = Driver(nodes=1)
    d.submit(replace(SMALL, instances=2), replace(SMALL, name="api"))
    saved = d.store.load()
    copied = {uid: replace(t, spec=replace(t.spec)) for uid, t in saved.tasks.items()}
    ledger = Ledger(CLUSTER, replace(saved, tasks=copied), 0)
    (wanted, _) = ledger.jobs["shop"].spec.services
    assert all(ledger.tasks[f"shop/web/{i}"].spec is wanted for i in (1, 2))


def test_output_of_a_stopped_job_is_not_kept_after_a_restart_either() -> None:
    d = Driver(nodes=1)
    d.answer(d.submit(replace(BATCH, instances=2)), 0, 0)
    one, two = d.look().tasks
    d.report("node-1", ended(one), running(two), whole=False)
    d.restart()
    assert list(d.manager._ledger.ended_on["node-1"]) == [one.id]
    d.tell(Stop("stop", "shop"))
    d.restart()
    assert not d.manager._ledger.ended_on.get("node-1")


def test_a_node_that_hears_the_new_manager_need_not_be_borne_with_any_longer() -> None:
    d = Driver(nodes=1)
    task = placed_and_running(d)
    d.restart()
    d.report("node-1", running(task))
    assert d.manager._nodes.entries["node-1"].patience > 0
    d.report("node-1", running(task))
    assert d.manager._nodes.entries["node-1"].patience == 0


def test_nothing_is_adopted_on_a_node_that_has_not_said_what_it_has() -> None:
    d = Driver(nodes=0)
    fact = Fact("bank/web/1@7", 1, 0, Phase.RUNNING, version=3, spec=SMALL)
    d.report("node-1", fact, whole=False)
    sends = d.tell(Recover("adopt", action="adopt", reply_to="edge/1"))
    (reply,) = [send.message for send in sends if send.to == "edge/1"]
    (left,) = reply.body["left"]
    assert left["why"] == "node-1 has no room for it"


def test_what_is_being_removed_is_stopped() -> None:
    d = Driver(nodes=1)
    placed_and_running(d)
    d.tell(Remove("remove", "shop", force=True))
    (job,) = d.look().jobs
    assert (job.stopped, job.removing) == (True, True)


def test_nothing_is_remembered_of_a_removed_node() -> None:
    d = Driver(nodes=2)
    stray = Fact("old/web/1@5", 1, 0, Phase.RUNNING, size=(1000, 100, 0))
    d.report("node-2", stray)
    d.answer(d.submit(BATCH), 1)
    d.report("node-2", stray, ended(d.task()), whole=False)
    for _ in range(20):
        d.report("node-1")
        d.pass_time(1)
    d.tell(RemoveNode("remove", "node-2"))
    ledger = d.manager._ledger
    assert [node.name for node in d.look().nodes] == ["node-1"]
    assert "node-2" not in ledger.ended_on
    assert not ledger.strangers["node-2"]
    assert not d.store.load().meta["strangers/node-2"]


def test_a_service_that_the_job_has_no_longer_is_waited_for_by_nobody() -> None:
    d = Driver(nodes=1)
    api = replace(SMALL, name="api", depends_on=(Dependency("web"),))
    d.answer(d.submit(SMALL), 0)
    d.tell(Submit("v2", JobSpec("shop", (api,))))
    assert d.task().state is State.STOPPING
    ledger = d.manager._ledger
    assert unmet_dependency(ledger, ledger.tasks["shop/api/1"]) == ""


def test_scaling_runs_no_batch_task_again() -> None:
    d = Driver(nodes=1)
    d.answer(d.submit(BATCH, replace(SMALL, name="api")), 0, 0)
    d.report("node-1", ended(d.task()), whole=False)
    d.tell(Scale("scale", "shop", (("api", 2),)))
    assert d.task().state is State.COMPLETED


def test_room_for_two_wakes_two() -> None:
    d = Driver(nodes=1)
    d.answer(d.submit(replace(BATCH, cpu_milli=2000)), 0)
    d.answer(d.submit(replace(BATCH, instances=3, memory_mib=900), name="late"), None, None, None)
    sends = d.report("node-1", ended(d.task()), whole=False)
    assert asked(sends) == ["late/web/1", "late/web/2"]


def test_a_failure_half_a_second_after_another_is_one_more_and_forgets_none() -> None:
    d = Driver(nodes=1)
    task = placed_and_running(d)
    fails = ended(task, 1, final=False, charged=True, retry_at=d.now + 9)
    d.report("node-1", replace(fails, failures=(98.5,)), whole=False)
    d.report("node-1", replace(fails, restart=1, failures=(99.0,)), whole=False)
    assert d.task().failures == (98.5, 99.0)


def test_a_rollout_halts_before_it_goes_on_to_another_service() -> None:
    d = Driver(nodes=1)
    api = replace(SMALL, name="api")
    d.answer(d.submit(SMALL, api), 0, 0)
    both = [running(t) for t in d.look().tasks]
    d.report("node-1", *both, whole=False)
    d.pass_time(3)
    d.tell(Submit("v2", JobSpec("shop", (replace(SMALL, image="2"), replace(api, image="2")))))
    d.answer(d.report("node-1", stopped(d.task()), whole=False), 0)
    d.report("node-1", ended(d.task(), 1, final=False, charged=True, failures=(d.now,)),
             running(d.task("shop/api/1")), whole=False)  # fmt: skip
    d.pass_time(5)
    assert d.look().jobs[0].halted
    assert d.task("shop/api/1").state is State.RUNNING
