"""The Manager core: all tasks of one version of a service run the same bytes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from cube.messages import Rollback, Stop, Submit
from cube.spec import JobSpec, TaskSpec
from cube.task import State
from tests.managers import WEB, Driver, asked, assigns, running, stopped

SPEC = replace(WEB, cpu_milli=100, image="web:latest")
PIN, LATER = "web@sha256:aa", "web@sha256:bb"
REQUESTS = itertools.count(1)


def place(d: Driver, sends: list[Any], row: int) -> list[Any]:
    return d.answer(sends, *[row] * len(asked(sends)))


def submit(d: Driver, *specs: TaskSpec) -> list[Any]:
    return d.tell(Submit(f"r{next(REQUESTS)}", JobSpec("shop", specs)))


def first_runs(d: Driver, spec: TaskSpec = SPEC, image: str = PIN) -> list[Any]:
    """Two instances, one on each node; the first runs."""
    d.answer(submit(d, replace(spec, instances=2)), 0, 1)
    return d.report("node-1", running(d.task("shop/web/1"), image=image), whole=False)


def wanted(sends: list[Any], node: str) -> list[str]:
    return [w.image for w in assigns(sends)[node].tasks]


def test_the_others_are_told_what_the_first_one_runs() -> None:
    d = Driver()
    sends = d.submit(replace(SPEC, instances=2))
    assert wanted(d.answer(sends, 0, 1), "node-2") == [""]  # nobody knows yet
    sends = d.report("node-1", running(d.task("shop/web/1"), image=PIN), whole=False)
    assert wanted(sends, "node-1") == wanted(sends, "node-2") == [PIN]


def test_first_come_counts_and_another_is_told_of() -> None:
    d = Driver()
    first_runs(d)
    d.report("node-2", running(d.task("shop/web/2"), image=LATER), whole=False)
    assert d.look().jobs[0].images == (("web", PIN),)
    texts = [e.text for e in d.store.events() if e.kind == "task.image"]
    assert texts == [f"shop/web/2 on node-2 runs {LATER}, others of shop/web run {PIN}"]


def test_who_wants_every_pull_gets_what_is_there_by_then() -> None:
    d = Driver()
    first_runs(d, replace(SPEC, pull_policy="always"))
    assert d.look().jobs[0].images == ()


def test_it_survives_the_manager() -> None:
    d = Driver()
    first_runs(d)
    d.restart()
    assert d.look().jobs[0].images == (("web", PIN),)


@pytest.mark.parametrize(
    ("change", "pin"),
    [
        ({"instances": 3}, PIN),
        ({"environment": (("A", "1"),)}, ""),  # whoever changes a service wants what is there now
    ],
)
def test_what_a_new_version_starts_with(change: dict[str, Any], pin: str) -> None:
    d = Driver()
    first_runs(d)
    d.report("node-2", running(d.task("shop/web/2")), whole=False)
    submit(d, replace(SPEC, **{"instances": 2, **change}))
    assert dict(d.look().jobs[0].images).get("web", "") == pin


def test_a_rollback_brings_the_bytes_back() -> None:
    d = Driver()
    first_runs(d)
    submit(d, replace(SPEC, instances=2, environment=(("A", "1"),)))
    assert d.look().jobs[0].images == ()
    d.tell(Rollback(f"r{next(REQUESTS)}", "shop"))
    assert d.look().jobs[0].images == (("web", PIN),)


def test_a_late_word_of_an_earlier_version_says_nothing_of_the_new_one() -> None:
    d = Driver()
    d.answer(submit(d, SPEC), 0)
    submit(d, replace(SPEC, image="web:2"))
    d.report("node-1", running(d.task(), image=PIN), whole=False)
    assert d.look().jobs[0].images == ()


def test_a_job_begun_anew_begins_with_what_is_there_by_then() -> None:
    d = Driver()
    first_runs(d)
    d.tell(Stop(f"r{next(REQUESTS)}", "shop"))
    for node in ("node-1", "node-2"):
        d.report(node, *[stopped(t) for t in d.look().tasks if t.node == node])
    assert {t.state for t in d.look().tasks} == {State.STOPPED}
    submit(d, replace(SPEC, instances=2))
    assert d.look().jobs[0].images == ()
