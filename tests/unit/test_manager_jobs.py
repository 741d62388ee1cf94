"""The Manager core: what submits, stops and removes do to the tasks that are there already."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cube.messages import (
    DeclareLost,
    Drain,
    Fact,
    NodeInfo,
    Phase,
    Place,
    Placed,
    Remove,
    Stop,
    StoreDown,
    Submit,
)
from cube.spec import (
    Constraint,
    Dependency,
    HealthCheck,
    JobSpec,
    Kind,
    Mount,
    ReschedulePolicy,
    TaskSpec,
)
from cube.task import Decision, State
from tests.managers import (
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


def again(d: Driver, *specs: TaskSpec, request: str = "again", **job: Any) -> list[Any]:
    return d.tell(Submit(request, JobSpec("shop", specs, **job), "edge/1"))


def states(d: Driver) -> dict[str, str]:
    return {t.id: str(t.state) for t in d.look().tasks}


def complete(d: Driver, task_id: str) -> None:
    d.report("node-1", ended(d.task(task_id)), whole=False)
    assert d.task(task_id).state is State.COMPLETED


def test_scaling_a_batch_service_leaves_its_completed_tasks_alone() -> None:
    d = Driver(nodes=1)
    d.answer(d.submit(replace(BATCH, instances=2)), 0, 0)
    complete(d, "shop/web/1")
    first = d.task("shop/web/1")
    again(d, replace(BATCH, instances=3))
    assert d.task("shop/web/1") == first
    assert states(d)["shop/web/3"] == "pending"


def test_new_node_gets_a_global_batch_task_and_the_others_do_not_run_theirs_again() -> None:
    d = Driver(nodes=1)
    d.answer(d.submit(replace(AGENT, kind=Kind.GLOBAL_BATCH)), 0)
    complete(d, "shop/agent/node-1")
    d.report("node-2")
    assert states(d) == {"shop/agent/node-1": "completed", "shop/agent/node-2": "pending"}


def test_global_service_runs_where_its_constraints_are_met() -> None:
    d = Driver(nodes=1)
    ssd = Constraint("node.labels.disk", "==", "ssd")
    d.submit(replace(AGENT, constraints=(ssd,)))
    assert states(d) == {}
    info = NodeInfo("node-2", 2000, 2000, 1000, labels=(("disk", "ssd"),))
    d.answer(d.report("node-2", info=info), 1)
    assert states(d) == {"shop/agent/node-2": "scheduled"}
    d.report("node-2", running(d.task("shop/agent/node-2")), info=replace(info, labels=()))
    assert states(d) == {"shop/agent/node-2": "stopping"}


def test_submit_while_the_job_is_stopping_brings_it_back() -> None:
    d = Driver()
    placed_and_running(d)
    d.tell(Stop("stop", "shop"))
    (reply, *_) = again(d, WEB)
    assert reply.message.status == "created"
    sends = d.report("node-1", stopped(d.task()), whole=False)
    assert asked(sends) == ["shop/web/1"]


def test_scaling_up_while_the_surplus_still_stops_brings_it_back() -> None:
    d = Driver()
    d.answer(d.submit(replace(SMALL, instances=2)), 0, 0)
    again(d, SMALL, request="down")
    assert states(d) == {"shop/web/1": "scheduled", "shop/web/2": "stopping"}
    again(d, replace(SMALL, instances=2), request="up")
    sends = d.report("node-1", stopped(d.task("shop/web/2")), whole=False)
    assert asked(sends) == ["shop/web/2"]


def test_stop_of_a_task_that_is_being_replaced_is_final() -> None:
    d = Driver()
    placed_and_running(d)
    again(d, replace(WEB, environment=(("A", "1"),)))
    assert (d.task().state, d.task().then) == (State.STOPPING, "pending")
    d.tell(Stop("stop", "shop"))
    d.report("node-1", stopped(d.task()), whole=False)
    assert d.task().state is State.STOPPED


def test_removing_by_force_forgets_a_task_whose_round_is_out() -> None:
    d = Driver()
    sends = d.submit(WEB)
    d.tell(Remove("remove", "shop", force=True))
    d.answer(sends, 0)
    assert (d.look().jobs, d.look().tasks) == ((), ())


def test_dependent_service_does_not_wait_for_instances_that_were_scaled_away() -> None:
    d = Driver()
    db = replace(SMALL, name="db", instances=2)
    web = replace(SMALL, depends_on=(Dependency("db"),))
    d.answer(d.submit(db), 0, 0)
    again(d, replace(db, instances=1), request="down")
    d.report("node-1", stopped(d.task("shop/db/2")), whole=False)
    d.report("node-1", running(d.task("shop/db/1")), whole=False)
    assert asked(again(d, replace(db, instances=1), web)) == ["shop/web/1"]


@pytest.mark.parametrize(
    ("condition", "checked", "healthy", "comes"),
    [
        ("started", True, None, True),
        ("healthy", True, None, False),
        ("healthy", True, False, False),
        ("healthy", True, True, True),
        ("healthy", False, None, True),
        ("completed", False, None, False),
    ],
)
def test_dependent_service_comes_once_its_condition_is_met(
    condition: str, checked: bool, healthy: bool | None, comes: bool
) -> None:
    d = Driver()
    db = replace(SMALL, name="db", healthcheck=HealthCheck(("CMD", "true")) if checked else None)
    web = replace(SMALL, depends_on=(Dependency("db", condition),))
    d.answer(d.submit(db, web), 0)
    assert d.task().reason == f"waits for db to be {condition}"
    sends = d.report("node-1", running(d.task("shop/db/1"), healthy=healthy), whole=False)
    assert asked(sends) == (["shop/web/1"] if comes else [])


def test_service_that_waits_for_a_task_that_has_completed_comes() -> None:
    for condition in ("started", "healthy", "completed"):
        d = Driver()
        migrate = replace(BATCH, name="migrate")
        web = replace(SMALL, depends_on=(Dependency("migrate", condition),))
        d.answer(d.submit(migrate, web), 0)
        sends = d.report("node-1", ended(d.task("shop/migrate/1")), whole=False)
        assert asked(sends) == ["shop/web/1"]


def test_submit_says_what_becomes_of_each_service() -> None:
    d = Driver(nodes=1)
    api, db, old, sums = (replace(SMALL, name=name) for name in ("api", "db", "old", "sums"))
    sums = replace(sums, kind=Kind.BATCH)
    d.answer(d.submit(api, db, old, sums), 0, 0, 0, 0)
    d.report("node-1", ended(d.task("shop/sums/1")), whole=False)
    changed = replace(api, environment=(("A", "1"),))
    new = replace(SMALL, name="new")
    (reply,) = [
        e.message
        for e in d.tell(
            Submit("r", JobSpec("shop", (changed, db, new, sums)), "edge/1", again=True)
        )
        if e.to == "edge/1"
    ]
    assert (reply.status, reply.body["changes"]) == (
        "changed",
        {"api": "changed", "db": "unchanged", "new": "created", "sums": "restarted",
         "old": "removed"},
    )  # fmt: skip


def test_service_that_has_ended_comes_back_with_the_next_submit() -> None:
    d = Driver()
    web = replace(SMALL, restart=replace(WEB.restart, condition="on-failure"))
    d.answer(d.submit(web), 0)
    d.report("node-1", ended(d.task()), whole=False)
    assert d.task().state is State.COMPLETED
    assert asked(again(d, web)) == ["shop/web/1"]


def test_version_that_changes_only_what_is_around_a_container_is_told_to_its_node() -> None:
    d = Driver()
    task = placed_and_running(d)
    patient = replace(WEB, restart=replace(WEB.restart, attempts=99))
    (assign,) = assigns(again(d, patient)).values()
    assert [w.spec.restart.attempts for w in assign.tasks] == [99]
    assert (d.task().state, d.task().attempt) == (State.RUNNING, task.attempt)


def test_back_off_is_over_when_a_new_version_comes() -> None:
    d = Driver()
    task = placed_and_running(d)
    failed = Fact(task.uid, 1, 0, Phase.ENDED, 1, final=True, charged=True)
    assert asked(d.report("node-1", failed, whole=False)) == []
    assert d.task().not_before > d.now
    assert asked(again(d, replace(WEB, environment=(("A", "1"),)))) == ["shop/web/1"]
    assert (d.task().reschedules, d.task().failures) == (0, ())


def test_back_off_doubles_up_to_its_longest() -> None:
    d = Driver()
    spec = replace(WEB, reschedule=ReschedulePolicy(None, 2.0, 10.0))
    sends, waits = d.submit(spec), []
    for _ in range(5):
        d.answer(sends, 0)
        task = d.task()
        d.report(
            "node-1", Fact(task.uid, task.attempt, 0, Phase.ENDED, 1, final=True, charged=True)
        )
        waits.append(d.task().not_before - d.now)
        sends = []
        while not asked(sends):
            sends = d.report("node-1") + d.pass_time(1)
    assert waits == [2.0, 4.0, 8.0, 10.0, 10.0]


def test_no_more_tasks_are_asked_about_at_once_than_one_round_may_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cube.manager.rounds.ROUND_TASKS", 2)
    d = Driver()
    sends = d.submit(replace(SMALL, instances=3))
    assert asked(sends) == ["shop/web/1", "shop/web/2"]
    assert asked(d.answer(sends, 0, 0)) == ["shop/web/3"]


def test_round_is_given_up_after_more_than_five_seconds() -> None:
    d = Driver()
    d.submit(SMALL)
    for second in range(1, 8):
        again_asked = asked(d.report("node-1") + d.report("node-2") + d.pass_time(1))
        assert again_asked == (["shop/web/1"] if second == 6 else [])


def test_task_whose_policy_failed_is_asked_about_after_five_seconds() -> None:
    d = Driver()
    (place,) = [e.message for e in d.submit(SMALL) if isinstance(e.message, Place)]
    uid = d.task().uid
    d.tell(Placed(place.round, (Decision(uid, None, error="policy x raised"),)))
    for second in range(1, 7):
        again_asked = asked(d.report("node-1") + d.report("node-2") + d.pass_time(1))
        assert again_asked == (["shop/web/1"] if second == 5 else [])


def test_row_of_a_decision_that_came_too_late_is_told_again() -> None:
    """The scheduler has taken from it; the manager has not."""
    d = Driver()
    sends = d.submit(SMALL)
    d.tell(Stop("stop", "shop"))
    sends = d.submit(SMALL, name="next") + d.answer(sends, 1)
    (place,) = [e.message for e in sends if isinstance(e.message, Place)]
    assert 1 in {row.row for row in place.rows}


def test_room_that_is_gained_while_a_round_is_out_wakes_those_it_did_not_place() -> None:
    d = Driver(nodes=1)
    task = placed_and_running(d, replace(WEB, cpu_milli=2000))
    sends = d.submit(WEB, name="late")
    d.tell(Stop("stop", "shop"))
    d.report("node-1", stopped(task), whole=False)
    assert asked(d.answer(sends, None)) == ["late/web/1"]


def test_dependent_service_says_that_what_it_waits_for_has_failed() -> None:
    d = Driver()
    migrate = replace(BATCH, name="migrate", reschedule=replace(WEB.reschedule, attempts=0))
    web = replace(SMALL, depends_on=(Dependency("migrate", "completed"),))
    d.answer(d.submit(migrate, web), 0)
    d.report("node-1", ended(d.task("shop/migrate/1"), 3, charged=True), whole=False)
    expected = "waits for migrate to be completed, but shop/migrate/1 failed"
    assert d.task().reason == expected


def test_service_that_exits_with_zero_is_done_where_only_failures_are_restarted() -> None:
    d = Driver()
    spec = replace(WEB, restart=replace(WEB.restart, condition="on-failure"))
    task = placed_and_running(d, spec)
    d.report("node-1", ended(task), whole=False)
    assert d.task().state is State.COMPLETED


def test_back_off_of_a_task_that_failed_a_thousand_times_is_its_longest() -> None:
    d = Driver()
    task = placed_and_running(d)
    ledger = d.manager._ledger
    ledger.amend(task, reschedules=5000)
    d.report("node-1", ended(task, 3, charged=True), whole=False)
    assert d.task().not_before == d.now + WEB.reschedule.max_delay_seconds


def test_service_that_ran_for_long_is_placed_anew_as_if_it_failed_for_the_first_time() -> None:
    d = Driver(nodes=1)
    task = placed_and_running(d)
    d.manager._ledger.amend(task, reschedules=7)
    d.now += WEB.reschedule.max_delay_seconds + 1
    d.report("node-1", ended(task, 3, charged=True), whole=False)
    assert d.task().not_before == d.now + WEB.reschedule.delay_seconds


def test_task_whose_volumes_are_on_two_nodes_says_so() -> None:
    d = Driver()
    mounts = {v: Mount("volume", v, f"/{v}") for v in "ab"}
    first = replace(SMALL, name="first", mounts=(mounts["a"],))
    second = replace(SMALL, name="second", mounts=(mounts["b"],))
    d.answer(d.submit(first, second), 0, 1)
    both = replace(SMALL, mounts=tuple(mounts.values()))
    assert asked(again(d, first, second, both)) == []
    assert d.task().reason == "volume shop_a is on node-1, shop_b on node-2: no node has both"


def test_two_services_that_share_a_new_volume_end_on_one_node() -> None:
    d = Driver()
    mount = (Mount("volume", "data", "/data"),)
    one, two = (replace(SMALL, name=n, mounts=mount) for n in ("one", "two"))
    sends = d.answer(d.submit(one, two), 0, 1)
    assert asked(sends) == ["shop/two/1"]
    d.answer(sends, 0)
    assert {t.node for t in d.look().tasks} == {"node-1"}


def test_host_path_of_a_global_service_ties_nothing_to_the_first_node() -> None:
    d = Driver()
    agent = replace(AGENT, mounts=(Mount("bind", "/var/log", "/var/log"),))
    d.answer(d.submit(agent), 0, 1)
    assert d.look().volumes == ()


def test_roll_out_of_a_global_service_does_not_wait_for_a_lost_node() -> None:
    d = Driver(nodes=3)
    d.answer(d.submit(AGENT), 0, 1, 2)
    for node in ("node-1", "node-2", "node-3"):
        d.report(node, running(d.task(f"shop/agent/{node}")))
    for _ in range(20):
        d.report("node-2", running(d.task("shop/agent/node-2")))
        d.report("node-3", running(d.task("shop/agent/node-3")))
        d.pass_time(1)
    assert states(d)["shop/agent/node-1"] == "pending"
    again(d, replace(AGENT, environment=(("A", "1"),)))
    d.pass_time(1)
    assert list(states(d).values()).count("stopping") == 1


@pytest.mark.parametrize("change", [{"datacenters": ("dc1",)}, {"priority": 90}])
def test_waiting_task_is_asked_about_anew_when_its_job_changes(change: dict[str, Any]) -> None:
    d = Driver()
    where = {"datacenters": ("dc9",)} if "datacenters" in change else {}
    d.answer(d.tell(Submit("first", JobSpec("shop", (WEB,), **where))), None)
    assert asked(again(d, WEB, **change)) == ["shop/web/1"]


def test_request_whose_effects_are_not_saved_yet_is_not_answered_as_done() -> None:
    d = Driver()
    d.submit(WEB, reply_to="edge/1")
    d.tell(StoreDown("disk full"))
    (send,) = d.submit(WEB, reply_to="edge/1")
    assert send.message.status == "unavailable"


def test_answers_and_forgotten_tasks_are_remembered_within_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cube.manager.ledger.REMEMBERED", 2)
    d = Driver(nodes=0)
    for i in range(4):
        again(d, WEB, request=f"submit-{i}")
        d.tell(Stop(f"stop-{i}", "shop"))
    ledger = d.manager._ledger
    assert (len(ledger.answers), len(ledger.forgotten)) == (2, 2)


def version(number: int, **fields: Any) -> TaskSpec:
    return replace(SMALL, instances=3, environment=(("VERSION", str(number)),), **fields)


def all_up(d: Driver) -> None:
    for _ in range(3):
        for name in ("node-1", "node-2"):
            here = [t for t in d.look().tasks if t.node == name and t.state.placed]
            d.report(name, *[stopped(t) if t.state is State.STOPPING else running(t) for t in here])
        d.pass_time(1)


def half_rolled_out(d: Driver) -> None:
    """Of three instances the first has the second version."""
    d.answer(d.submit(version(1)), 0, 1, 1)
    all_up(d)
    again(d, version(2))
    d.answer(d.report("node-1", stopped(d.task())), 0)
    d.report("node-1", running(d.task()), whole=False)
    assert [str(t.state) for t in d.look().tasks] == ["running", "running", "running"]


def test_roll_out_waits_for_a_moved_instance_that_the_newest_version_did_not_touch() -> None:
    d = Driver()
    half_rolled_out(d)
    d.tell(Drain("drain", "node-1"))
    d.pass_time(1)
    third = replace(version(2), reschedule=ReschedulePolicy(5))  # only around the container
    again(d, third, request="third")
    all_up(d)  # it stops on node-1, and waits for a place
    assert states(d) == {
        "shop/web/1": "pending",
        "shop/web/2": "running",
        "shop/web/3": "running",
    }


def test_roll_out_halts_at_an_instance_of_an_earlier_version_that_still_fails() -> None:
    d = Driver()
    half_rolled_out(d)
    fact = ended(d.task(), 1, final=False, charged=True, retry_at=d.now + 15, failures=(d.now,))
    d.report("node-1", fact, whole=False)
    d.pass_time(1)
    assert d.look().jobs[0].halted
    again(d, replace(version(2), reschedule=ReschedulePolicy(5)), request="third")
    d.pass_time(1)
    assert "shop/web/1 did not come up in version 3" in d.look().jobs[0].halted
    assert states(d)["shop/web/2"] == "running"
    d.report("node-1", Fact(d.task().uid, 2, 1, Phase.RUNNING), whole=False)
    again(d, version(2), request="fourth")
    d.pass_time(3)
    assert states(d)["shop/web/2"] == "stopping"  # it recovered, so the roll-out goes on


def test_tasks_of_a_restarted_manager_share_the_spec_of_their_job() -> None:
    """A roll-out tells by identity which tasks are as they should be."""
    d = Driver()
    placed_and_running(d)
    d.restart()
    (job,) = d.look().jobs
    assert d.task().spec is job.spec.service("web")


def test_what_falls_down_after_a_halt_comes_up_in_the_newest_version() -> None:
    d = Driver()
    half_rolled_out(d)
    fails = ended(d.task(), 1, final=False, charged=True, retry_at=d.now + 15, failures=(d.now,))
    for _ in range(5):
        d.report("node-1", fails)
        d.pass_time(1)
    assert d.look().jobs[0].halted
    assert d.task("shop/web/2").spec.environment == (("VERSION", "1"),)
    d.tell(DeclareLost("lost", "node-2", "edge/1"))
    assert d.task("shop/web/2").spec.environment == (("VERSION", "2"),)
