"""The Manager core: what its books, its history and its next life know of what happened."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cube.manager import ManagerOptions
from cube.messages import (
    MANAGER,
    Drain,
    Fact,
    Generation,
    LabelNode,
    Phase,
    Placed,
    Recover,
    Remove,
    RemoveNode,
    Send,
    SetAside,
    Stop,
    Submit,
    Tick,
)
from cube.spec import JobSpec, Kind, ReschedulePolicy, Spread
from cube.task import Decision, Rejection
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

BATCH = replace(WEB, kind=Kind.BATCH)
SMALL = replace(WEB, cpu_milli=100)


def history(d: Driver) -> list[str]:
    return [event.kind for event in d.store.events(0, 1000)]


def stray(incarnation: int, name: str = "old/web/1") -> Fact:
    return Fact(f"{name}@{incarnation}", 1, 0, Phase.RUNNING, size=(1000, 100, 0))


def is_known(d: Driver, fact: Fact, node: str = "node-1") -> bool:
    """Does the manager take this container for one of its own, which it may have removed?"""
    (assign,) = assigns(d.report(node, fact)).values()
    return (fact.uid, fact.attempt) not in assign.keep


# --- history -----------------------------------------------------------------------------


def test_history_of_a_task_that_fails_here_and_then_for_good() -> None:
    d = Driver()
    spec = replace(WEB, reschedule=ReschedulePolicy(1, 5.0, 5.0))
    task = placed_and_running(d, spec)
    fails = Fact(task.uid, 1, 0, Phase.ENDED, 1, "exited 1", charged=True, retry_at=101.0)
    d.report("node-1", fails, whole=False)
    d.report("node-1", replace(fails, final=True, restart=1), whole=False)
    sends: list[Any] = []
    while not asked(sends):
        sends = d.pass_time(1) + d.report("node-2")
    d.answer(sends, 1)
    again = replace(fails, attempt=2, final=True)
    d.report("node-2", again, whole=False)
    assert [kind for kind in history(d) if kind.startswith("task.")] == [
        "task.placed",
        "task.running",
        "task.restarting",
        "task.rescheduled",
        "task.placed",
        "task.failed",
    ]
    assert d.task().exit_code == 1


def test_history_of_a_node_that_is_lost_and_returns() -> None:
    d = Driver(nodes=3)
    task = placed_and_running(d)
    for _ in range(17):
        d.pass_time(1)
        d.report("node-2")
        d.report("node-3")
    d.report("node-1", running(task))
    told = [e for e in d.store.events(0, 1000) if e.node == "node-1"]
    assert [e.kind for e in told] == [
        "node.joined",
        "node.alive",
        "task.placed",
        "task.running",
        "node.suspect",
        "node.lost",
        "task.lost",
        "node.alive",
        "task.returned",
        "task.running",
    ]
    assert told[-1].task == "shop/web/1"


def test_history_of_a_replacement_and_a_stop() -> None:
    d = Driver()
    task = placed_and_running(d)
    d.pass_time(3)
    changed = replace(WEB, environment=(("A", "1"),))
    d.tell(Submit("change", JobSpec("shop", (changed,))))
    d.report("node-1", stopped(task), whole=False)
    d.tell(Stop("stop", "shop"))
    d.tell(Remove("remove", "shop"))
    assert history(d)[-5:] == [
        "job.submitted",
        "task.replacing",
        "task.stopped",
        "job.stopped",
        "job.removed",
    ]


def test_history_of_completion_disappearance_and_nodes() -> None:
    d = Driver()
    d.answer(d.submit(BATCH, name="sum"), 0)
    d.report("node-1", ended(d.task("sum/web/1")), whole=False)
    task = placed_and_running(d)
    d.report("node-1")
    assert d.task().node != task.node
    d.tell(LabelNode("label", "node-1", add=(("disk", "ssd"),)))
    d.tell(Drain("drain", "node-2"))
    d.tell(Drain("enable", "node-2", on=False))
    kinds = history(d)
    for kind in ("task.completed", "task.disappeared", "node.labelled", "node.draining",
                 "node.enabled"):  # fmt: skip
        assert kinds.count(kind) == 1, kind


def test_why_a_task_waits_is_told_when_it_changes() -> None:
    d = Driver()
    sends = d.submit(WEB)
    (place,) = [e.message for e in sends if asked([e])]
    uid = place.questions[0].tasks[0]
    cpu, memory = (Rejection(name, 2, 4, 3, "node-1") for name in ("cpu", "memory"))
    waits: list[tuple[str, tuple[Rejection, ...]]] = []
    for priority, why in enumerate(((cpu,), (cpu,), (memory,)), start=60):
        d.tell(Placed(place.round, (Decision(uid, None, rejections=why),)))
        waits.append((d.task().reason, d.task().decision.rejections))  # type: ignore[union-attr]
        again = Submit(f"again {priority}", JobSpec("shop", (WEB,), priority=priority))
        (place,) = [e.message for e in d.tell(again) if asked([e])]
    assert waits == [("", (cpu,)), ("", (cpu,)), ("", (memory,))]
    assert history(d).count("task.pending") == 1  # once it is pending, the decision tells why


def test_removed_node_and_a_message_set_aside_are_told() -> None:
    d = Driver(nodes=2)
    for _ in range(4):
        d.pass_time(1)
        d.report("node-1")
    d.tell(RemoveNode("remove", "node-2"))
    d.tell(SetAside("worker/node-1", "Assign", "KeyError: 'x'"))
    assert history(d)[-2:] == ["node.removed", "actor.failed"]
    assert d.look().note == "worker/node-1 could not handle a Assign: KeyError: 'x'"


# --- what the next life must know --------------------------------------------------------


def test_ticks_follow_one_another() -> None:
    d = Driver()
    effects = d.manager.receive(Tick(), d.now)
    assert [e for e in effects if isinstance(e, Send) and e.to == MANAGER] == [
        Send(MANAGER, Tick(), 1.0)
    ]


def test_no_two_tasks_have_one_name_even_across_a_restart_in_the_same_moment() -> None:
    d = Driver()
    d.submit(SMALL)
    first = d.task().incarnation
    assert first == int(d.now * 1000)
    d.tell(Stop("stop", "shop"))
    d.tell(Remove("remove", "shop"))
    d.restart()
    d.tell(Submit("anew", JobSpec("shop", (SMALL,))))
    assert d.task().incarnation > first


def test_forgotten_jobs_are_not_in_the_store() -> None:
    d = Driver()
    d.submit(SMALL)
    d.tell(Stop("stop", "shop"))
    d.tell(Remove("remove", "shop"))
    saved = d.store.load()
    assert (saved.jobs, saved.tasks) == ({}, {})


def test_answers_are_known_to_the_next_life() -> None:
    d = Driver()
    d.submit(SMALL)
    d.restart()
    (reply,) = [e.message for e in d.submit(SMALL, reply_to="edge/1") if e.to == "edge/1"]
    assert reply.status == "created"


def test_containers_of_every_life_on_this_store_are_known_and_no_others() -> None:
    d = Driver(nodes=1)
    lives = []
    for _ in range(3):
        d.submit(SMALL, name=f"job-{d.now:.0f}")
        lives.append(d.look().tasks[-1].incarnation)
        d.pass_time(10)
        d.restart()
    d.report("node-1")
    first, second, third = lives
    for incarnation in lives:
        assert is_known(d, stray(incarnation)), incarnation
    for incarnation in (first - 1, first + 1, second - 1, second + 1, third + 1):
        assert not is_known(d, stray(incarnation)), incarnation
    d.submit(SMALL, name="latest")
    latest = d.look().tasks[-1].incarnation
    assert is_known(d, stray(latest))
    assert not is_known(d, stray(latest + 1))


def test_many_lives_are_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cube.manager.ledger.SPANS", 3)
    d = Driver(nodes=1)
    lives = []
    for _ in range(5):
        d.submit(SMALL, name=f"job-{d.now:.0f}")
        lives.append(d.look().tasks[-1].incarnation)
        d.pass_time(10)
        d.restart()
        spans = d.store.load().meta["spans"].split()
        assert len(spans) == min(len(lives) + 1, 3)
    d.report("node-1")
    assert all(is_known(d, stray(incarnation)) for incarnation in lives)
    assert not is_known(d, stray(lives[-1] + 1))


def test_manager_that_was_overtaken_saves_its_new_epoch_and_tells_of_it() -> None:
    d = Driver(nodes=1)
    newer = Generation(CLUSTER, 7, 7)
    (assign,) = assigns(d.report("node-1", echoes=newer)).values()
    assert assign.generation.epoch == 8
    assert d.store.load().meta["epoch"] == "8"
    assert history(d)[-1] == "manager.recovery"


# --- outputs that are kept ---------------------------------------------------------------


def kept(sends: list[Any]) -> list[str]:
    return [w.uid for a in assigns(sends).values() for w in a.tasks if not w.run]


def test_output_of_an_ended_task_goes_when_the_task_is_made_anew() -> None:
    d = Driver(nodes=1)
    d.answer(d.submit(BATCH), 0)
    task = d.task()
    assert kept(d.report("node-1", ended(task), whole=False)) == [task.uid]
    sends = d.tell(Submit("again", JobSpec("shop", (BATCH,)), again=True))
    assert kept(sends + d.report("node-1", ended(task))) == []


def test_output_goes_with_its_job() -> None:
    d = Driver(nodes=1)
    d.answer(d.submit(BATCH), 0)
    task = d.task()
    d.report("node-1", ended(task), whole=False)
    assert kept(d.tell(Stop("stop", "shop"))) == []
    assert kept(d.report("node-1", ended(task))) == []


def test_no_output_is_kept_where_none_is_wanted() -> None:
    d = Driver(1, ManagerOptions(kept_per_node=0))
    d.answer(d.submit(BATCH), 0)
    assert kept(d.report("node-1", ended(d.task()), whole=False)) == []


# --- counts and strangers ----------------------------------------------------------------


def test_instances_are_counted_on_their_rows() -> None:
    d = Driver()
    web = replace(SMALL, instances=3, spread=Spread("prefer"))
    d.answer(d.submit(web), 0, 0, 1)
    for task in d.look().tasks:
        d.report(task.node or "", running(task), whole=False)
    more = d.tell(Submit("more", JobSpec("shop", (replace(web, instances=4),))))
    (place,) = [e.message for e in more if asked([e])]
    assert place.questions[0].present == ((0, 2), (1, 1))
    d.answer(more, None)
    d.tell(Stop("stop", "shop/web/1"))
    sends = d.report("node-1", stopped(d.task("shop/web/1")), whole=False)
    (place,) = [e.message for e in sends if asked([e])]
    assert place.questions[0].present == ((0, 1), (1, 1))


def used(d: Driver) -> int:
    return d.look().rows[0].cpu_used_milli


def test_stranger_told_of_before_its_node_is_known_is_counted_once_it_is() -> None:
    d = Driver(nodes=0)
    d.report("node-1", stray(5), whole=False)
    assert d.look().rows == ()
    d.report("node-1", stray(5))
    assert used(d) == 1000
    assert history(d).count("manager.recovery") == 1


def test_stranger_that_is_gone_is_counted_no_more_and_forgotten() -> None:
    d = Driver(nodes=1)
    d.report("node-1", stray(5))
    d.tell(Recover("recover"))
    d.report("node-1")
    assert (used(d), d.look().unknown) == (0, ())
    (assign,) = assigns(d.report("node-1", stray(5))).values()
    assert assign.keep == ((stray(5).uid, 1),)  # nobody has decided on this one


def test_node_whose_engine_fails_is_closed_until_it_answers() -> None:
    d = Driver(nodes=1)
    d.report("node-1", engine_error="it does not answer")
    assert [row.open for row in d.look().rows] == [False]
    assert d.look().nodes[0].note == "it does not answer"
    d.report("node-1")
    assert [row.open for row in d.look().rows] == [True]


def test_load_that_a_node_tells_is_in_its_row() -> None:
    d = Driver(nodes=1)
    d.report("node-1", cpu_load_milli=700)
    assert d.look().rows[0].cpu_load_milli == 700
