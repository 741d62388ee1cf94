"""The Manager core: who waits for room is woken when there is some, and nobody in their stead."""

from __future__ import annotations

from dataclasses import replace

from cube.manager.ledger import Ledger
from cube.messages import NodeInfo, Stop
from cube.spec import Constraint, Dependency, Kind, Port, Spread
from cube.task import Task
from tests.managers import (
    CLUSTER,
    WEB,
    Driver,
    asked,
    ended,
    placed_and_running,
    running,
    stopped,
)

BATCH = replace(WEB, kind=Kind.BATCH)


def test_stopped_task_does_not_take_the_turn_of_one_that_waits() -> None:
    d = Driver(nodes=1)
    d.answer(d.submit(replace(BATCH, instances=2)), 0, 0)
    d.answer(d.submit(BATCH, name="early"), None)
    d.answer(d.submit(BATCH, name="late"), None)
    d.tell(Stop("stop-early", "early"))
    d.tell(Stop("stop-one", "shop/web/1"))
    assert asked(d.report("node-1", stopped(d.task()), whole=False)) == ["late/web/1"]


def test_task_that_waits_is_woken_by_new_labels() -> None:
    d = Driver(nodes=1)
    ssd = Constraint("node.labels.disk", "==", "ssd")
    d.answer(d.submit(replace(WEB, constraints=(ssd,))), None)
    info = NodeInfo("node-1", 2000, 2000, 1000, labels=(("disk", "ssd"),))
    assert asked(d.report("node-1", info=info)) == ["shop/web/1"]


def test_task_tied_to_a_node_is_woken_by_a_port_that_its_host_s_other_node_frees() -> None:
    d = Driver(nodes=0)
    for node in ("node-1", "node-2"):
        d.report(node, info=NodeInfo(node, 2000, 2000, 1000, host="box"))
    web = replace(WEB, ports=(Port(80, 8080),))
    d.answer(d.submit(web), 0)
    tied = replace(web, constraints=(Constraint("node.name", "==", "node-2"),))
    d.answer(d.submit(tied, name="late"), None)
    d.tell(Stop("stop", "shop"))
    info = NodeInfo("node-1", 2000, 2000, 1000, host="box")
    sends = d.report("node-1", stopped(d.task()), whole=False, info=info)
    assert asked(sends) == ["late/web/1"]


def test_task_kept_out_by_its_siblings_is_woken_when_one_leaves() -> None:
    d = Driver(nodes=0)
    for node, cpu in (("node-1", 1000), ("node-2", 2000)):
        d.report(node, info=NodeInfo(node, cpu, 2000, 1000))
    spread = Spread("require", "datacenter")
    small = replace(WEB, instances=2, spread=spread)
    d.answer(d.submit(small), 0, None)
    d.tell(Stop("stop", "shop/web/1"))
    ledger = d.manager._ledger
    ledger.fleet.set_open(0, False)
    assert asked(d.report("node-1", stopped(d.task()), whole=False)) == ["shop/web/2"]


def test_task_in_back_off_waits_on_after_a_restart_of_the_manager() -> None:
    d = Driver(nodes=1)
    task = placed_and_running(d)
    d.manager._ledger.now = d.now
    fact = replace(stopped(task), stopped=False, charged=True, exit_code=3)
    d.report("node-1", fact, whole=False)
    until = d.task().not_before
    d.restart()
    d.report("node-1")
    while d.now < until - 2:
        assert asked(d.pass_time(1)) == []
        d.report("node-1")
    assert asked(d.pass_time(3)) == ["shop/web/1"]
    assert d.look().cluster == CLUSTER


def test_pending_task_is_asked_about_after_a_restart_of_the_manager() -> None:
    d = Driver(nodes=0)
    d.answer(d.submit(WEB), None)
    d.restart()
    d.report("node-1")
    d.now += 6
    assert asked(d.pass_time(1)) == ["shop/web/1"]


def test_task_parked_before_the_first_node_joined_learns_what_it_lacks() -> None:
    d = Driver(nodes=0)
    d.answer(d.submit(replace(WEB, memory_mib=99_999)), None)
    info = NodeInfo("node-1", 2000, 2000, 1000)
    assert asked(d.report("node-1", info=info)) == ["shop/web/1"]


def test_many_that_wait_for_one_service_look_at_it_once(monkeypatch) -> None:
    """Each on its own looked at all tasks of its job: thousands stopped the manager for minutes."""
    looked = 0
    of = Ledger.of

    def counted(ledger: Ledger, job: str) -> list[Task]:
        nonlocal looked
        looked += 1
        return of(ledger, job)

    d = Driver(nodes=1)
    many = replace(WEB, name="many", instances=500, depends_on=(Dependency("web"),))
    monkeypatch.setattr(Ledger, "of", counted)
    d.answer(d.submit(WEB, many), 0)
    assert looked < 20
    assert d.task("shop/many/500").reason == "waits for web to be started"
    assert len(asked(d.report("node-1", running(d.task()), whole=False))) == 500


def test_room_for_one_wakes_one() -> None:
    d = Driver(nodes=1)
    d.answer(d.submit(replace(BATCH, cpu_milli=2000)), 0)
    d.answer(d.submit(replace(BATCH, instances=3, memory_mib=1500), name="late"), None, None, None)
    sends = d.report("node-1", ended(d.task()), whole=False)
    assert asked(sends) == ["late/web/1"]
