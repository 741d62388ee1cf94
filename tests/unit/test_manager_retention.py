"""What the manager forgets after its time: whole jobs that have ended, and nothing that lives."""

from __future__ import annotations

from dataclasses import replace

from cube.manager.retention import KEPT_SECONDS, LOOK_SECONDS
from cube.messages import Scale, Stop, Tick
from cube.spec import Kind
from cube.task import State
from tests.managers import WEB, Driver, ended, placed_and_running, running, stopped

BATCH = replace(WEB, name="report", kind=Kind.BATCH)


def wait(d: Driver, seconds: float) -> None:
    d.now += seconds
    d.report("node-1")
    d.report("node-2")
    d.tell(Tick())


def done(d: Driver, name: str = "night") -> None:
    """Run a job of one batch task to its end."""
    d.answer(d.submit(BATCH, name=name), 0)
    task = d.task(f"{name}/report/1")
    d.report("node-1", running(task), whole=False)
    d.report("node-1", ended(task), whole=False)
    assert d.task(task.id).state is State.COMPLETED


def names(d: Driver) -> list[str]:
    return [job.name for job in d.look().jobs]


def test_a_batch_job_is_forgotten_thirty_days_after_its_end_here_and_in_the_store():
    d = Driver()
    d.tell(Tick())
    done(d)
    wait(d, KEPT_SECONDS - 10)
    assert names(d) == ["night"]
    wait(d, LOOK_SECONDS - 10)  # it is looked for once an hour
    assert names(d) == ["night"]
    wait(d, 20)
    assert (names(d), d.look().tasks) == ([], ())
    saved = d.store.load()
    assert (saved.jobs, saved.tasks) == ({}, {})
    assert [e.text for e in d.store.events()][-1] == "night ended long ago and is forgotten"
    d.restart()
    assert names(d) == []


def test_its_containers_are_let_go():
    d = Driver()
    d.tell(Tick())
    done(d)
    wait(d, 60)
    held = d.manager._nodes.entries["node-1"].tasks
    assert [(w.uid.partition("@")[0], w.run) for w in held] == [("night/report/1", False)]
    wait(d, KEPT_SECONDS + LOOK_SECONDS)
    assert d.manager._nodes.entries["node-1"].tasks == ()


def test_a_stopped_service_is_forgotten_and_one_that_serves_is_not():
    d = Driver()
    d.tell(Tick())
    placed_and_running(d)
    wait(d, 2 * KEPT_SECONDS)
    assert names(d) == ["shop"]
    d.tell(Stop("s", "shop"))
    d.report("node-1", stopped(d.task()), whole=False)
    wait(d, LOOK_SECONDS)
    assert names(d) == ["shop"]
    wait(d, KEPT_SECONDS)
    assert names(d) == []


def test_a_service_scaled_to_nothing_and_what_was_done_beside_one_that_serves_stay():
    d = Driver()
    d.tell(Tick())
    task = placed_and_running(d)
    d.tell(Scale("s", "shop", (("web", 0),)))
    d.report("node-1", stopped(task), whole=False)
    assert d.task().state is State.STOPPED
    sends = d.submit(replace(WEB, name="api"), replace(BATCH, cpu_milli=100), name="mixed")
    d.answer(sends, 0, 1)
    for node, name in (("node-1", "mixed/api/1"), ("node-2", "mixed/report/1")):
        d.report(node, running(d.task(name)), whole=False)
    d.report("node-2", ended(d.task("mixed/report/1")), whole=False)
    wait(d, 3 * KEPT_SECONDS)
    assert sorted(names(d)) == ["mixed", "shop"]
    assert d.task("mixed/report/1").state is State.COMPLETED


def test_the_moments_are_thirty_days_and_an_hour():
    assert (KEPT_SECONDS, LOOK_SECONDS) == (30 * 24 * 3600, 3600)
    d = Driver()
    d.tell(Tick())
    done(d)
    looked = d.now
    d.now = looked + KEPT_SECONDS  # over for so long, and no longer
    d.tell(Tick())
    assert names(d) == ["night"]
    d.now += LOOK_SECONDS - 1
    d.tell(Tick())
    assert names(d) == ["night"]
    d.now += 1
    d.tell(Tick())
    assert names(d) == []
