"""The Manager core: labels that operators add, nodes that they remove, drains with a deadline."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from cube.messages import DeclareLost, Drain, Fact, LabelNode, NodeInfo, Phase, RemoveNode, Reply
from cube.spec import Constraint, Kind, Mount, TaskSpec
from cube.task import Node, NodeState, State
from tests.managers import WEB, Driver, asked, assigns, placed_and_running, running, stopped

SMALL = replace(WEB, cpu_milli=100)
AGENT = TaskSpec("agent", "image", Kind.GLOBAL)
SSD = Constraint("node.labels.disk", "==", "ssd")
FAST = (("disk", "ssd"),)
REQUESTS = itertools.count(1)


def ask(d: Driver, message: Any) -> Reply:
    message = replace(message, request=f"r{next(REQUESTS)}", reply_to="edge/1")
    (reply,) = [e.message for e in d.tell(message) if isinstance(e.message, Reply)]
    return reply


def label(
    d: Driver, *add: tuple[str, str], drop: tuple[str, ...] = (), on: str = "node-1"
) -> Reply:
    return ask(d, LabelNode("", on, add=add, drop=drop))


def node(d: Driver, name: str = "node-1") -> Node:
    return next(n for n in d.look().nodes if n.name == name)


def states(d: Driver) -> dict[str, str]:
    return {t.id: str(t.state) for t in d.look().tasks}


def pass_time(d: Driver, seconds: int, *silent: str) -> None:
    """Time passes; nodes do what they are told and say so, except the silent ones."""
    for _ in range(seconds):
        for name in sorted(d.heard):
            if name not in silent:
                here = [t for t in d.look().tasks if t.node == name and t.state.placed]
                stops = [stopped(t) if t.state is State.STOPPING else running(t) for t in here]
                d.report(name, *stops)
        d.pass_time(1)


# --- labels ------------------------------------------------------------------------------


def test_added_label_lets_a_waiting_task_in_and_survives_worker_and_manager() -> None:
    d = Driver()
    sends = d.submit(replace(WEB, constraints=(SSD,)))
    d.answer(sends, None)
    assert asked(d.tell(LabelNode("add", "node-1", add=FAST))) == ["shop/web/1"]
    assert node(d).labels == FAST
    told = NodeInfo("node-1", 2000, 2000, 1000, labels=(("disk", "hdd"), ("zone", "a")))
    d.report("node-1", info=told, life=2)  # its worker starts anew, and tells labels of its own
    assert dict(node(d).labels) == {"disk": "ssd", "zone": "a"}
    d.restart()
    d.report("node-1", info=told, life=2)
    assert dict(d.look().rows[0].info.labels) == {"disk": "ssd", "zone": "a"}
    assert label(d, drop=("disk",)).status == "ok"
    assert dict(node(d).labels) == {"disk": "hdd", "zone": "a"}


def test_global_service_comes_and_goes_with_an_added_label() -> None:
    d = Driver()
    d.submit(replace(AGENT, constraints=(SSD,)))
    assert states(d) == {}
    label(d, *FAST)
    assert states(d) == {"shop/agent/node-1": "pending"}
    label(d, drop=("disk",))
    assert states(d) == {"shop/agent/node-1": "stopped"}


def test_labels_are_answered() -> None:
    d = Driver()
    assert label(d, *FAST).text == "node-1 is labelled: disk=ssd"
    assert label(d, *FAST).status == "unchanged"
    assert label(d, ("a", "b"), drop=("disk",)).body == {"node": "node-1", "labels": {"a": "b"}}
    assert label(d, drop=("disk",)).status == "refused"
    assert label(d, *FAST, on="node-9").status == "not-found"


# --- removing ----------------------------------------------------------------------------


def test_node_is_removed_only_when_it_is_silent_and_holds_no_task() -> None:
    d = Driver(nodes=3)
    placed_and_running(d)
    assert "still reports" in ask(d, RemoveNode("", "node-1")).text
    pass_time(d, 5, "node-1")
    reply = ask(d, RemoveNode("", "node-1"))
    assert (reply.status, reply.text[:6]) == ("conflict", "1 task")
    assert ask(d, DeclareLost("", "node-1")).status == "ok"
    assert ask(d, RemoveNode("", "node-1")).status == "ok"
    assert [n.name for n in d.look().nodes] == ["node-2", "node-3"]
    assert ask(d, RemoveNode("", "node-1")).status == "not-found"


def test_removing_forgets_what_was_decided_and_what_was_unknown_there() -> None:
    d = Driver(nodes=3)
    d.report("node-1", Fact("x/y/1@1", 1, 0, Phase.RUNNING, size=(500, 500, 0)))
    label(d, *FAST)
    ask(d, Drain("", "node-1"))
    pass_time(d, 5, "node-1")
    assert ask(d, RemoveNode("", "node-1")).status == "ok"
    assert d.look().unknown == ()
    assert d.look().rows[0].cpu_used_milli == 0
    assert d.store.load().node_marks == {}
    d.report("node-1")  # somebody started it again: a node like any other
    assert (node(d).draining, node(d).labels) == (False, ())
    assert [r.open for r in d.look().rows] == [True, True, True]


def test_next_node_takes_the_row_of_a_removed_one() -> None:
    d = Driver(nodes=3)
    pass_time(d, 5, "node-2")
    ask(d, RemoveNode("", "node-2"))
    sends = d.submit(replace(WEB, instances=5, cpu_milli=1500))
    assert [r.open for r in d.look().rows] == [True, False, True]
    d.answer(sends, 0, 2, None, None, None)
    assert asked(d.report("node-4")) == ["shop/web/3", "shop/web/4", "shop/web/5"]
    assert [r.info.name for r in d.look().rows] == ["node-1", "node-4", "node-3"]


def test_global_task_of_a_removed_node_ends_and_returns_with_it() -> None:
    d = Driver(nodes=3)
    d.answer(d.submit(AGENT), 0, 1, 2)
    pass_time(d, 5, "node-1")
    ask(d, DeclareLost("", "node-1"))
    ask(d, RemoveNode("", "node-1"))
    assert states(d)["shop/agent/node-1"] == "stopped"
    d.tell(Drain("again", "node-2"))  # whatever changes: nobody makes it anew
    assert states(d)["shop/agent/node-1"] == "stopped"
    d.report("node-1")
    assert states(d)["shop/agent/node-1"] == "pending"


# --- drains ------------------------------------------------------------------------------


def test_deadline_ends_waiting_and_sends_what_has_data_there_to_wait() -> None:
    d = Driver()
    d.answer(d.submit(replace(SMALL, instances=3)), 0, 0, 0)
    data = replace(SMALL, mounts=(Mount("volume", "data", "/data"),))
    d.answer(d.submit(data, name="db"), 0)
    pass_time(d, 3)
    reply = ask(d, Drain("", "node-1", deadline_seconds=60))
    assert reply.text == "node-1 is draining: 4 tasks to leave within 60 s"
    assert node(d).deadline == d.now + 60
    d.restart()
    pass_time(d, 58)
    expected = {"shop/web/2": "running", "shop/web/3": "running", "db/web/1": "running"}
    assert {k: v for k, v in states(d).items() if k != "shop/web/1"} == expected
    pass_time(d, 9)  # a round that nobody answers is abandoned meanwhile
    assert not [t for t in d.look().tasks if t.node == "node-1"]
    assert d.task("db/web/1").reason == "volume db_data is on node-1, which is draining"
    assert node(d).note == "drained"


def test_deadline_can_be_set_later_and_goes_with_the_drain() -> None:
    d = Driver()
    ask(d, Drain("", "node-1"))
    assert node(d).deadline is None
    assert ask(d, Drain("", "node-1", deadline_seconds=9)).status == "ok"
    assert ask(d, Drain("", "node-1")).status == "unchanged"
    assert node(d).deadline == d.now + 9
    ask(d, Drain("", "node-1", on=False))
    assert node(d).deadline is None


@pytest.mark.parametrize("drains", [True, False])
def test_drained_nodes_that_are_switched_off_do_not_look_like_a_cut_cable(drains: bool) -> None:
    d = Driver(nodes=5)
    task = placed_and_running(d)
    if drains:
        for name in ("node-3", "node-4", "node-5"):
            ask(d, Drain("", name))
    pass_time(d, 30, "node-1", "node-3", "node-4", "node-5")
    assert ("cut off" in d.look().note) is not drains
    assert (d.task().state is State.PENDING) is drains  # the one that failed is replaced
    assert (node(d, "node-3").state is NodeState.LOST) is drains
    assert task.uid == d.task().uid


def test_draining_node_that_still_holds_tasks_counts_as_any_other() -> None:
    d = Driver(nodes=3)
    data = replace(SMALL, mounts=(Mount("volume", "data", "/data"),))
    d.answer(d.submit(data), 0)
    pass_time(d, 3)
    ask(d, Drain("", "node-1"))
    pass_time(d, 30, "node-1", "node-2")
    assert "cut off" in d.look().note
    assert d.task().state is State.RUNNING
    assert assigns(d.report("node-3"))["node-3"].tasks == ()


def test_task_of_a_global_service_ends_with_its_node_and_says_so() -> None:
    d = Driver(nodes=3)
    agent = TaskSpec("agent", "image", Kind.GLOBAL)
    d.answer(d.submit(agent), 0, 1, 2)
    pass_time(d, 5, "node-1")
    ask(d, DeclareLost("", "node-1"))
    ask(d, RemoveNode("", "node-1"))
    gone = d.task("shop/agent/node-1")
    assert (gone.state, gone.reason) == (State.STOPPED, "node-1 was removed")
