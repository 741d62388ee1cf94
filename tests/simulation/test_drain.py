"""Draining in virtual time: what the engines run, from the request until the node is empty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from cube.messages import MANAGER, DeclareLost, engine_name, worker_name
from cube.spec import Kind, Mount
from tests.clusters import SimulatedCluster, batch, cluster, service

NODE = "node-1"
SLOW = (("cube.sim.stop", "0.5"),)  # seconds that a stop takes


@pytest.fixture
def c() -> Iterator[SimulatedCluster]:
    """Three nodes with two services, a global one and batch work on them."""
    with cluster("simulated", nodes=3, cpu_milli=4000, memory_mib=4096) as made:
        made.submit(
            service("web", instances=6, labels=SLOW),
            service("api", instances=3, labels=SLOW),
            service("agent", kind=Kind.GLOBAL),
        )
        made.submit(batch("report", seconds=200, instances=6), name="work")
        made.wait(lambda s: sum(t.state == "running" for t in s.tasks) == 18, "all to run")
        made.pass_time(3)
        yield made


def running(c: SimulatedCluster) -> Counter[str]:
    """How many instances of each service the engines truly run."""
    keys = (key for node in c.nodes for key in c.world.core(engine_name(node)).running())
    return Counter(key.uid.rpartition("/")[0] for key in keys)


def on(c: SimulatedCluster, node: str) -> int:
    return sum(1 for _ in c.world.core(engine_name(node)).running())


def let_drain(c: SimulatedCluster, until: float = 90.0) -> None:
    """No service may lose two of its instances while the node empties."""
    end = c.world.now() + until
    while on(c, NODE) and c.world.now() < end:
        c.pass_time(0.1)
        count = running(c)
        assert count["shop/web"] >= 5, count
        assert count["shop/api"] >= 2, count
        assert count["work/report"] >= 5, count
    assert on(c, NODE) == 0


def kinds(c: SimulatedCluster) -> list[str]:
    told = ("node.draining", "node.drained", "node.enabled")
    return [e.kind for e in c.store.events(0, 10_000) if e.kind in told]


def test_node_ends_empty_and_no_service_is_short_of_two_instances(c: SimulatedCluster) -> None:
    assert on(c, NODE) > 3
    assert c.drain(NODE).status == "ok"
    let_drain(c)
    c.pass_time(5)
    count = running(c)
    assert (count["shop/web"], count["shop/api"], count["shop/agent"]) == (6, 3, 2)
    assert kinds(c) == ["node.draining", "node.drained"]
    c.drain(NODE, on=False)
    c.pass_time(5)
    assert running(c)["shop/agent"] == 3
    assert on(c, NODE) == 1


def test_drain_goes_on_under_a_new_manager(c: SimulatedCluster) -> None:
    c.drain(NODE)
    for _ in range(3):
        c.pass_time(2.3)
        c.world.stop_actor(MANAGER)
        c.pass_time(1)
        c.start_manager()
    let_drain(c)
    c.pass_time(2)
    assert kinds(c) == ["node.draining", "node.drained"]


def test_drain_of_a_node_that_dies_leaves_it_empty_when_it_returns(c: SimulatedCluster) -> None:
    c.drain(NODE)
    c.pass_time(1)
    c.world.stop_actor(worker_name(NODE))
    c.pass_time(30)
    c.start_worker(NODE)
    c.pass_time(60)
    assert on(c, NODE) == 0
    assert running(c)["shop/web"] == 6
    (node,) = [n for n in c.look().nodes if n.name == NODE]
    assert (node.draining, node.note) == (True, "drained")


def test_volume_blocks_until_its_job_is_stopped(c: SimulatedCluster) -> None:
    mounts = (Mount("volume", "data", "/data"),)
    c.submit(service("db", mounts=mounts), name="data")
    (task,) = c.wait_states("data", "running")
    assert task.node is not None
    c.drain(task.node)
    c.pass_time(60)
    (node,) = [n for n in c.look().nodes if n.name == task.node]
    assert node.note.startswith("draining, 1 task left; blocked by volume data_data")
    c.stop("data")
    c.pass_time(5)
    assert on(c, task.node) == 0
    assert kinds(c) == ["node.draining", "node.drained"]


def test_operator_who_calls_a_node_lost_moves_its_tasks_from_a_cut_off_manager(
    c: SimulatedCluster,
) -> None:
    for node in ("node-1", "node-2"):
        c.world.stop_actor(worker_name(node))
        c.world.stop_actor(engine_name(node))
    c.pass_time(40)
    assert "cut off" in c.look().note
    before = [t for t in c.look().tasks if t.node == NODE]
    assert before
    assert c.send(lambda r, edge: DeclareLost(r, NODE, edge)).status == "ok"
    assert [t for t in c.look().tasks if t.node == NODE] == []
    assert c.send(lambda r, edge: DeclareLost(r, "node-3", edge)).status == "conflict"
