"""The Manager core: each decision leaves its line of history, in the words that users read."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from cube.messages import (
    CreateToken,
    Drain,
    Fact,
    Phase,
    Recover,
    RemoveToken,
    Restart,
    Rollback,
    Scale,
    Submit,
)
from cube.spec import Dependency, JobSpec, Kind, TaskSpec
from tests.managers import WEB, Driver, ended, placed_and_running, running, stopped

SMALL = replace(WEB, cpu_milli=100)
REQUESTS = itertools.count(1)


def ask(d: Driver, message: Any) -> list[Any]:
    return d.tell(replace(message, request=f"r{next(REQUESTS)}"))


def told(d: Driver, kind: str) -> list[str]:
    """What was written of that kind."""
    return [e.text for e in d.store.events(0, 10_000) if e.kind == kind]


def test_tokens_are_told_of_when_they_come_and_when_they_go() -> None:
    d = Driver()
    ask(d, CreateToken("", "ci", "full", "digest"))
    ask(d, RemoveToken("", "ci"))
    assert told(d, "token.removed") == ["nobody is let in by the token ci any more"]


def test_what_a_drain_moves_is_told_with_its_reason() -> None:
    d = Driver(nodes=2)
    placed_and_running(d)
    d.pass_time(3)
    ask(d, Drain("", "node-1", on=True))
    assert told(d, "task.replacing") == ["shop/web/1 is moved: node-1 is draining"]


def test_a_restart_is_told_once_with_how_many_it_concerns() -> None:
    d = Driver(nodes=1)
    d.answer(d.submit(replace(SMALL, instances=2)), 0, 0)
    ask(d, Restart("", "shop/web/2"))
    ask(d, Restart("", "shop"))
    assert told(d, "job.restarting") == [
        "shop/web/2: restarting 1 task, one after the other",
        "shop: restarting 2 tasks, one after the other",
    ]


def test_a_halted_rollout_is_told_with_the_task_that_did_not_come_up() -> None:
    d = Driver(nodes=1)
    d.answer(d.submit(replace(SMALL, instances=2)), 0, 0)
    d.report("node-1", *(running(t) for t in d.look().tasks), whole=False)
    d.pass_time(3)
    d.tell(Submit("v2", JobSpec("shop", (replace(SMALL, instances=2, image="new"),))))
    first = d.task("shop/web/1")
    sends = d.report("node-1", stopped(first), whole=False)
    d.answer(sends, 0)
    fails = ended(d.task("shop/web/1"), 1, final=False, charged=True, retry_at=d.now + 9)
    d.report("node-1", fails, running(d.task("shop/web/2")), whole=False)
    d.pass_time(1)
    (line,) = told(d, "job.halted")
    assert line.startswith("shop halted: shop/web/1 did not come up in version 2")


def test_what_a_task_waits_for_is_told() -> None:
    d = Driver(nodes=1)
    api = replace(SMALL, name="api", depends_on=(Dependency("web"),))
    d.submit(SMALL, api)
    assert told(d, "task.pending") == ["shop/api/1 waits for web to be started"]


def test_adoption_is_told_of_the_job_and_of_each_task() -> None:
    d = Driver(nodes=1)
    spec = replace(SMALL, instances=1)
    d.report("node-1", Fact("bank/web/1@7", 1, 0, Phase.RUNNING, version=3, spec=spec))
    ask(d, Recover("", action="adopt"))
    assert told(d, "job.adopted") == ["bank is adopted"]
    assert told(d, "task.adopted") == ["bank/web/1 on node-1 is adopted"]


def test_an_end_without_a_next_start_is_told_as_one_that_follows_at_once() -> None:
    d = Driver(nodes=1)
    task = placed_and_running(d)
    d.report("node-1", ended(task, 1, final=False, charged=True, reason="exited 1"), whole=False)
    assert told(d, "task.restarting") == [
        "shop/web/1 ended on node-1 (exited 1), starts again in 0 s"
    ]


def test_instances_that_a_node_has_no_place_for_are_told_why_they_end() -> None:
    d = Driver(nodes=2)
    agent = TaskSpec("agent", "image", Kind.GLOBAL)
    d.answer(d.submit(agent, replace(SMALL, instances=2)), 0, 1, 0, 0)
    ask(d, Drain("", "node-1", on=True))
    ask(d, Scale("", "shop", (("web", 1),)))
    reasons = {t.id: t.reason for t in d.look().tasks if t.state == "stopping"}
    assert reasons["shop/agent/node-1"] == "node-1 is draining"
    assert reasons["shop/web/2"] == "no longer part of the job"
    d.tell(Submit("other", JobSpec("shop", (SMALL,))))
    assert d.task("shop/agent/node-2").reason == "no longer part of the job"


def test_rolling_back_names_the_version_and_finds_that_one() -> None:
    d = Driver(nodes=1)
    for tag in ("one", "two", "three"):
        ask(d, Submit("", JobSpec("shop", (replace(SMALL, image=tag),))))
    ask(d, Rollback("", "shop", version=1))
    assert d.look().jobs[0].spec.services[0].image == "one"


def test_the_image_that_a_tag_stood_for_is_told() -> None:
    d = Driver(nodes=1)
    d.answer(d.submit(SMALL), 0)
    d.report("node-1", running(d.task(), image="image@sha256:" + "0" * 64), whole=False)
    assert told(d, "job.image") == ["shop/web runs image@sha256:" + "0" * 64]
