"""The Manager core: what operators say of nodes: they drain, may have tasks again, are lost."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from cube.manager.wave import Wave
from cube.messages import DeclareLost, Drain, Place, Reply, Stop, StoreDown, Submit
from cube.spec import Constraint, HealthCheck, JobSpec, Kind, Mount, ReschedulePolicy, TaskSpec
from cube.task import Node, NodeState, State
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
REQUESTS = itertools.count(1)
DATA = (Mount("volume", "data", "/data"),)


def drain(d: Driver, node: str = "node-1", on: bool = True, request: str = "") -> Reply:
    sends = d.tell(Drain(request or f"request-{next(REQUESTS)}", node, "edge/1", on))
    (reply,) = [e.message for e in sends if isinstance(e.message, Reply)]
    return reply


def declare_lost(d: Driver, node: str = "node-1") -> tuple[Reply, list[Any]]:
    sends = d.tell(DeclareLost(f"request-{next(REQUESTS)}", node, "edge/1"))
    (reply,) = [e.message for e in sends if isinstance(e.message, Reply)]
    return reply, sends


def states(d: Driver) -> dict[str, str]:
    return {t.id: str(t.state) for t in d.look().tasks}


def node(d: Driver, name: str = "node-1") -> Node:
    return next(n for n in d.look().nodes if n.name == name)


def history(d: Driver) -> list[str]:
    """What happened to nodes after they joined."""
    kinds = [e.kind for e in d.store.events(0, 1000) if e.node and e.kind.startswith("node.")]
    return [k for k in kinds if k not in ("node.joined", "node.alive", "node.suspect")]


def spread_out(d: Driver, spec: TaskSpec, *rows: int) -> None:
    """Place the instances on these rows, and let them run for long enough to count as up."""
    d.answer(d.submit(replace(spec, instances=len(rows))), *rows)
    for task in d.look().tasks:
        d.report(task.node or "", running(task), whole=False)
    pass_time(d, 3)


def pass_time(d: Driver, seconds: int, *silent: str) -> list[Any]:
    """Time passes while the nodes report, except the silent ones."""
    sends = []
    for _ in range(seconds):
        for name in sorted(d.heard):
            if name not in silent:
                sends += d.report(name, *facts(d, name))
        sends += d.pass_time(1)
    return sends


def facts(d: Driver, name: str) -> list[Any]:
    """What a node that does what it is told says of itself."""
    here = [t for t in d.look().tasks if t.node == name and t.state.placed]
    return [stopped(t) if t.state is State.STOPPING else running(t) for t in here]


# --- what is answered --------------------------------------------------------------------


def test_drain_is_answered_and_the_same_request_gets_the_same_answer() -> None:
    d = Driver()
    placed_and_running(d)
    first = drain(d, request="one")
    assert (first.status, first.text) == ("ok", "node-1 is draining: 1 task to leave")
    assert first.body == {"node": "node-1", "draining": True}
    assert drain(d, request="one") == first
    assert drain(d).status == "unchanged"
    assert drain(d, "node-9").status == "not-found"
    assert drain(d, "node-2", on=False).status == "unchanged"
    assert drain(d, on=False).text == "node-1 takes new tasks again"


def test_drain_is_refused_while_the_store_does_not_work() -> None:
    d = Driver()
    d.tell(StoreDown("disk full"))
    assert drain(d).status == "unavailable"
    assert not node(d).draining


# --- no new tasks ------------------------------------------------------------------------


def test_draining_node_is_closed_until_it_is_enabled() -> None:
    d = Driver()
    drain(d)
    assert (node(d).draining, node(d).note) == (True, "drained")
    assert [r.open for r in d.look().rows] == [False, True]
    d.answer(d.submit(replace(WEB, instances=3)), 1, 1, None)
    assert asked(d.tell(Drain("enable", "node-1", on=False))) == ["shop/web/3"]  # woken by it
    assert [r.open for r in d.look().rows] == [True, True]
    assert (node(d).draining, node(d).note) == (False, "")


def test_answer_of_a_round_that_was_out_when_the_drain_began_is_not_applied() -> None:
    d = Driver()
    sends = d.submit(WEB)
    drain(d)
    again = d.answer(sends, 0)
    (place,) = [e.message for e in again if isinstance(e.message, Place)]
    assert [r.open for r in place.rows if r.row == 0] == [False]
    assert d.task().state is State.PENDING


def test_drain_survives_a_restart_and_the_loss_of_its_node() -> None:
    d = Driver(nodes=3)
    drain(d)
    d.restart()
    assert drain(d).status == "unchanged"  # though it has not reported yet
    for name in ("node-1", "node-2", "node-3"):
        d.report(name)
    pass_time(d, 25, "node-1")
    assert node(d).state is NodeState.LOST
    d.report("node-1")
    assert (node(d).state, node(d).draining) == (NodeState.ALIVE, True)
    assert [r.open for r in d.look().rows] == [False, True, True]
    assert history(d) == ["node.draining", "node.drained", "node.lost"]


# --- one at a time -----------------------------------------------------------------------


def test_next_instance_is_moved_only_when_the_one_before_is_up() -> None:
    d = Driver()
    spread_out(d, SMALL, 0, 0, 1)
    drain(d)
    assert list(states(d).values()) == ["stopping", "running", "running"]
    sends = d.report("node-1", stopped(d.task()), running(d.task("shop/web/2")))
    assert asked(sends) == ["shop/web/1"]
    assert "shop/web/2 waits until shop/web/1 is up (pending)" in node(d).note
    d.answer(sends, 1)
    pass_time(d, 1)
    assert states(d)["shop/web/2"] == "running"  # the first one runs, but it has not settled
    pass_time(d, 1)
    assert states(d) == {
        "shop/web/1": "running",
        "shop/web/2": "stopping",
        "shop/web/3": "running",
    }


def test_moved_task_that_fits_nowhere_says_so_and_holds_up_its_own_service_only() -> None:
    d = Driver()
    spread_out(d, SMALL, 0, 0)
    d.answer(d.submit(SMALL, name="other"), 0)
    pass_time(d, 3)
    drain(d)
    sends = pass_time(d, 1)
    assert sorted(asked(sends)) == ["other/web/1", "shop/web/1"]
    d.answer([e for e in sends if isinstance(e.message, Place)], None, 1)
    pass_time(d, 20)
    expected = {"shop/web/1": "pending", "shop/web/2": "running", "other/web/1": "running"}
    assert states(d) == expected
    assert d.task().decision is not None
    assert (
        node(d).note == "draining, 1 task left; shop/web/2 waits until shop/web/1 is up (pending)"
    )


def test_health_is_waited_for_where_it_is_checked() -> None:
    d = Driver()
    checked = replace(SMALL, instances=2, healthcheck=HealthCheck(("CMD", "true")))
    d.answer(d.submit(checked), 0, 1)
    d.report("node-1", running(d.task(), healthy=True), whole=False)
    d.report("node-2", running(d.task("shop/web/2"), healthy=None), whole=False)
    drain(d)
    assert states(d)["shop/web/1"] == "running"
    d.report("node-2", running(d.task("shop/web/2"), healthy=True), whole=False)
    d.pass_time(1)
    assert states(d)["shop/web/1"] == "stopping"


def test_instance_that_is_down_is_moved_before_one_that_serves() -> None:
    d = Driver()
    spread_out(d, SMALL, 0, 0, 1)
    task = d.task("shop/web/2")
    d.report("node-1", ended(task, 3, final=False, charged=True), whole=False)
    drain(d)
    assert states(d) == {
        "shop/web/1": "running",
        "shop/web/2": "stopping",
        "shop/web/3": "running",
    }


def test_two_draining_nodes_share_one_turn_of_a_service() -> None:
    d = Driver(nodes=3)
    spread_out(d, SMALL, 0, 1)
    drain(d)
    drain(d, "node-2")
    assert list(states(d).values()) == ["stopping", "running"]


def test_running_batch_task_is_moved_though_others_still_wait_for_room() -> None:
    d = Driver()
    d.answer(d.submit(replace(BATCH, instances=3)), 0, 0, None)
    for i in (1, 2):
        d.report("node-1", running(d.task(f"shop/web/{i}")), whole=False)
    drain(d)
    assert list(states(d).values()) == ["stopping", "running", "pending"]
    sends = d.report("node-1", stopped(d.task()), running(d.task("shop/web/2")))
    d.pass_time(1)
    assert states(d)["shop/web/2"] == "running"  # the first has no place yet
    d.answer(sends, 1)
    d.pass_time(1)
    assert states(d)["shop/web/2"] == "stopping"


def test_batch_task_in_its_back_off_holds_up_nothing() -> None:
    d = Driver()
    spec = replace(BATCH, instances=2, reschedule=ReschedulePolicy(None, 600.0))
    d.answer(d.submit(spec), 1, 0)
    d.report("node-1", running(d.task("shop/web/2")), whole=False)
    d.report("node-2", ended(d.task(), 3, charged=True), whole=False)
    drain(d)
    assert states(d) == {"shop/web/1": "pending", "shop/web/2": "stopping"}


def test_move_is_not_held_against_a_task() -> None:
    d = Driver()
    placed_and_running(d)
    drain(d)
    assert d.task().reason == "moved: node-1 is draining"
    d.answer(d.report("node-1", stopped(d.task())), 1)
    task = d.task()
    assert (task.node, task.attempt, task.reschedules, task.failures) == ("node-2", 2, 0, ())


def test_manager_that_restarts_in_the_middle_goes_on() -> None:
    d = Driver()
    spread_out(d, SMALL, 0, 0)
    drain(d)
    d.restart()
    for _ in range(30):
        sends = pass_time(d, 1)
        places = [e for e in sends if isinstance(e.message, Place)]
        if places:
            d.answer(places[-1:], *[1] * len(asked(places[-1:])))
    assert {t.node for t in d.look().tasks} == {"node-2"}
    assert history(d) == ["node.draining", "node.drained"]
    d.restart()
    pass_time(d, 3)
    assert history(d) == ["node.draining", "node.drained"]  # told once


def test_task_whose_node_dies_while_it_is_stopped_is_placed_elsewhere() -> None:
    d = Driver(nodes=3)
    placed_and_running(d)
    drain(d)
    sends = pass_time(d, 25, "node-1")
    assert asked(sends)[:1] == ["shop/web/1"]
    assert d.task().node is None
    assert history(d) == ["node.draining", "node.lost", "node.drained"]


def test_enabling_in_the_middle_leaves_the_others_where_they_are() -> None:
    d = Driver()
    spread_out(d, SMALL, 0, 0)
    drain(d)
    drain(d, on=False)
    pass_time(d, 5)
    assert states(d)["shop/web/2"] == "running"
    assert history(d) == ["node.draining", "node.enabled"]


def test_roll_out_and_drain_take_down_one_instance_together() -> None:
    d = Driver(nodes=3)
    spread_out(d, SMALL, 0, 1, 2)
    changed = replace(SMALL, instances=3, environment=(("A", "1"),))
    d.tell(Submit("change", JobSpec("shop", (changed,))))
    drain(d, "node-3")
    for _ in range(40):
        sends = pass_time(d, 1)
        places = [e for e in sends if isinstance(e.message, Place)]
        if places:
            d.answer(places[-1:], *[1] * len(asked(places[-1:])))
        assert list(states(d).values()).count("running") >= 2
    assert {(t.node, t.version) for t in d.look().tasks} == {("node-2", 2)}
    assert node(d, "node-3").note == "drained"


# --- together ----------------------------------------------------------------------------


def two_services(*rows: int) -> Driver:
    """`first/web` on these rows, and `other/web` on the first; all are up, and node-1 drains."""
    d = Driver()
    d.answer(d.submit(replace(SMALL, instances=len(rows)), name="first"), *rows)
    d.answer(d.submit(SMALL, name="other"), 0)
    pass_time(d, 3)
    drain(d)
    return d


def tell_stopped(d: Driver, task: str) -> list[Any]:
    """Its node says that it has stopped, and that the others go on as they were."""
    others = [t for t in d.look().tasks if t.node == "node-1" and t.id != task]
    return d.report("node-1", stopped(d.task(task)), *map(running, others))


def test_tasks_stopped_together_are_placed_together_whoever_stops_first() -> None:
    d = two_services(0)
    assert asked(tell_stopped(d, "other/web/1")) == []
    assert states(d) == {"first/web/1": "stopping", "other/web/1": "pending"}
    assert asked(tell_stopped(d, "first/web/1")) == ["first/web/1", "other/web/1"]


def test_task_that_has_stopped_does_not_wait_for_long() -> None:
    d = two_services(0)
    tell_stopped(d, "other/web/1")
    assert asked(d.pass_time(1)) == []
    assert asked(d.pass_time(1)) == ["other/web/1"]
    assert asked(tell_stopped(d, "first/web/1")) == []  # the round is out
    d.tell(Stop("stop", "first"))
    assert states(d)["first/web/1"] == "stopped"


def test_manager_that_restarts_meanwhile_places_what_has_stopped() -> None:
    d = two_services(0)
    tell_stopped(d, "other/web/1")
    assert asked(d.restart()) == ["other/web/1"]  # it knows of no others to wait for


def test_nothing_more_is_stopped_until_all_that_moved_together_are_up() -> None:
    d = two_services(0, 0)
    tell_stopped(d, "first/web/1")
    d.answer(tell_stopped(d, "other/web/1"), 1, 1)
    d.report("node-2", running(d.task("first/web/1")), whole=False)
    d.pass_time(4)
    assert states(d)["first/web/2"] == "running"
    expected = "draining, 1 task left; first/web/2 waits until other/web/1 is up (scheduled)"
    assert node(d).note == expected
    d.report("node-2", running(d.task("other/web/1")), whole=False)
    d.pass_time(2)
    assert states(d)["first/web/2"] == "stopping"


def test_one_that_does_not_come_up_holds_up_other_services_for_a_quarter_of_a_minute() -> None:
    d = two_services(0, 0)
    tell_stopped(d, "first/web/1")
    d.answer(tell_stopped(d, "other/web/1"), 1, None)
    d.report("node-2", running(d.task("first/web/1")), whole=False)
    d.pass_time(14)
    assert states(d)["first/web/2"] == "running"
    d.pass_time(1)
    assert states(d)["first/web/2"] == "stopping"


# --- what cannot move --------------------------------------------------------------------


def test_task_with_data_stays_and_the_drain_says_that_it_is_blocked() -> None:
    d = Driver()
    placed_and_running(d, replace(SMALL, mounts=DATA))
    drain(d)
    pass_time(d, 5)
    assert d.task().state is State.RUNNING
    expected = "draining, 1 task left; blocked by volume shop_data, which ties shop/web/1 to node-1"
    assert node(d).note == expected
    d.tell(Stop("stop", "shop"))
    pass_time(d, 1)
    assert node(d).note == "drained"


def test_task_with_data_that_ends_meanwhile_waits_for_its_node_to_be_enabled() -> None:
    d = Driver()
    task = placed_and_running(d, replace(SMALL, mounts=DATA))
    drain(d)
    d.report("node-1", ended(task, None), whole=False)
    assert d.task().reason == "volume shop_data is on node-1, which is draining"
    assert asked(d.tell(Drain("enable", "node-1", on=False))) == ["shop/web/1"]


# --- global services ---------------------------------------------------------------------


def agents_on_two_nodes(spec: TaskSpec = AGENT) -> Driver:
    d = Driver()
    d.answer(d.submit(spec), 0, 1)
    pass_time(d, 1)
    return d


@pytest.mark.parametrize("kind", [Kind.GLOBAL, Kind.GLOBAL_BATCH])
def test_global_task_leaves_and_comes_back_when_its_node_is_enabled(kind: Kind) -> None:
    d = agents_on_two_nodes(replace(AGENT, kind=kind))
    drain(d)
    pass_time(d, 2)
    assert states(d) == {"shop/agent/node-1": "stopped", "shop/agent/node-2": "running"}
    assert d.task("shop/agent/node-1").reason == "node-1 is draining"
    assert node(d).note == "drained"
    d.restart()
    pass_time(d, 2)
    assert states(d)["shop/agent/node-1"] == "stopped"
    assert asked(d.tell(Drain("enable", "node-1", on=False))) == ["shop/agent/node-1"]


def test_global_task_that_still_stops_when_its_node_is_enabled_turns_back() -> None:
    d = agents_on_two_nodes()
    drain(d)
    assert states(d)["shop/agent/node-1"] == "stopping"
    drain(d, on=False)
    sends = d.report("node-1", stopped(d.task("shop/agent/node-1")))
    assert asked(sends) == ["shop/agent/node-1"]


def test_enabling_does_not_bring_back_what_a_user_stopped() -> None:
    d = agents_on_two_nodes()
    d.tell(Stop("stop", "shop/agent/node-1"))
    pass_time(d, 1)
    drain(d)
    drain(d, on=False)
    assert states(d)["shop/agent/node-1"] == "stopped"


def test_global_task_that_a_user_stops_while_the_drain_does_stays_stopped() -> None:
    d = agents_on_two_nodes()
    drain(d)
    d.tell(Stop("stop", "shop/agent/node-1"))
    pass_time(d, 1)
    drain(d, on=False)
    assert states(d)["shop/agent/node-1"] == "stopped"


def test_global_job_submitted_during_a_drain_comes_to_the_node_afterwards() -> None:
    d = Driver()
    drain(d)
    d.submit(AGENT)
    assert list(states(d)) == ["shop/agent/node-2"]
    drain(d, on=False)
    assert list(states(d)) == ["shop/agent/node-2", "shop/agent/node-1"]


def test_global_task_comes_back_with_the_labels_that_it_asks_for() -> None:
    ssd = Constraint("node.labels.disk", "==", "ssd")
    d = Driver()
    info = replace(d.look().rows[0].info, labels=(("disk", "ssd"),))
    d.submit(replace(AGENT, constraints=(ssd,)))
    d.answer(d.report("node-1", info=info), 0)
    task = d.task("shop/agent/node-1")
    d.report("node-1", running(task), info=replace(info, labels=()))
    d.report("node-1", stopped(task), info=replace(info, labels=()))
    assert states(d) == {"shop/agent/node-1": "stopped"}
    assert asked(d.report("node-1", info=info)) == ["shop/agent/node-1"]


# --- lost, an operator says --------------------------------------------------------------


def test_node_that_an_operator_calls_lost_gives_up_its_tasks_though_we_may_be_cut_off() -> None:
    d = Driver(nodes=3)
    task = placed_and_running(d)
    pass_time(d, 60, "node-1", "node-3")
    assert "cut off" in d.look().note
    assert d.task().state is State.RUNNING
    reply, sends = declare_lost(d)
    assert reply.text == "node-1 is lost: 1 task to be placed elsewhere"
    assert reply.body == {"node": "node-1", "tasks": ["shop/web/1"]}
    assert asked(sends) == ["shop/web/1"]
    assert node(d).state is NodeState.LOST
    assert node(d, "node-3").state is NodeState.SUSPECT
    d.answer(sends, 1)
    d.report("node-1", running(task))
    assert d.task().node == "node-2"
    assert assigns(d.report("node-1", running(task)))["node-1"].tasks == ()


def test_node_that_reports_cannot_be_declared_lost() -> None:
    d = Driver()
    placed_and_running(d)
    assert declare_lost(d)[0].status == "conflict"
    assert declare_lost(d, "node-9")[0].status == "not-found"
    old = assigns(d.report("node-1", running(d.task())))["node-1"].generation._replace(number=0)
    for _ in range(5):  # it speaks, but does not confirm
        d.report("node-1", running(d.task()), echoes=old)
        d.pass_time(1)
    assert node(d).state is NodeState.SUSPECT
    assert declare_lost(d)[0].status == "conflict"


def test_node_that_never_spoke_to_a_restarted_manager_can_be_declared_lost_at_once() -> None:
    d = Driver()
    placed_and_running(d)
    d.restart()
    assert declare_lost(d)[0].status == "ok"
    assert d.task().state is State.PENDING


def test_declaring_a_lost_node_lost_changes_nothing() -> None:
    d = Driver(nodes=3)
    pass_time(d, 25, "node-1")
    assert declare_lost(d)[0].status == "unchanged"


def test_wave_waits_for_nobody_of_the_one_before() -> None:
    d = Driver(nodes=1)
    task = placed_and_running(d)
    wave = Wave(d.manager._ledger)
    wave.begin()
    wave.add(task)
    assert wave.awaited() == task
    wave.begin()
    assert wave.awaited() is None


def test_a_refusal_is_remembered_too() -> None:
    d = Driver(nodes=0)
    assert drain(d, "node-1", request="same").status == "not-found"
    d.report("node-1")
    assert drain(d, "node-1", request="same").status == "not-found"
    assert not node(d).draining
