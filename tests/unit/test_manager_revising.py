"""The Manager core: scaling, restarting and rolling back without a file."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from cube.messages import Reply, Restart, Rollback, Scale, Stop, Submit
from cube.spec import JobSpec, Kind, TaskSpec
from cube.task import Job, State
from tests.managers import WEB, Driver, asked, ended, running, stopped

SMALL = replace(WEB, cpu_milli=100)
API = replace(SMALL, name="api")
AGENT = TaskSpec("agent", "image", Kind.GLOBAL)
REQUESTS = itertools.count(1)


def ask(d: Driver, message: Any) -> Reply:
    message = replace(message, request=f"r{next(REQUESTS)}", reply_to="edge/1")
    (reply,) = [e.message for e in d.tell(message) if isinstance(e.message, Reply)]
    return reply


def job(d: Driver) -> Job:
    return d.look().jobs[0]


def states(d: Driver) -> dict[str, str]:
    return {t.id: str(t.state) for t in d.look().tasks}


def image(tag: str, instances: int = 1) -> TaskSpec:
    return replace(SMALL, image=tag, instances=instances)


def submit(d: Driver, *specs: TaskSpec) -> None:
    """As a user does, time after time."""
    ask(d, Submit("", JobSpec("shop", specs)))


def spread_out(d: Driver, *specs: TaskSpec) -> None:
    """Submit, place all on the first node, and let them run for long enough to count as up."""
    sends = d.submit(*specs)
    d.answer(sends, *[0] * len(asked(sends)))
    pass_time(d, 3)


def pass_time(d: Driver, seconds: int) -> list[Any]:
    """The first node does what it is told; places are given there, too."""
    sends = []
    for _ in range(seconds):
        here = [t for t in d.look().tasks if t.node == "node-1" and t.state.placed]
        facts = [stopped(t) if t.state is State.STOPPING else running(t) for t in here]
        told = d.report("node-1", *facts) + d.pass_time(1)
        if asked(told):
            told += d.answer(told, *[0] * len(asked(told)))
        sends += told
    return sends


def test_scaling_changes_nothing_but_the_number() -> None:
    d = Driver(nodes=1)
    spread_out(d, replace(SMALL, instances=2), API)
    before = [(t.uid, t.attempt) for t in d.look().tasks]
    reply = ask(d, Scale("", "shop", (("web", 3),)))
    assert (reply.status, reply.text) == ("changed", "shop version 2 changed")
    assert reply.body["changes"] == {"web": "changed", "api": "unchanged"}
    assert [(t.uid, t.attempt) for t in d.look().tasks][:3] == before
    assert states(d)["shop/web/3"] == "pending"
    ask(d, Scale("", "shop", (("web", 0), ("api", 2))))
    assert states(d)["shop/web/1"] == "stopping"
    assert [s.instances for s in job(d).spec.services] == [0, 2]
    assert ask(d, Scale("", "shop", (("web", 0),))).status == "unchanged"


def test_scaling_what_is_not_there_or_cannot_be_scaled() -> None:
    d = Driver(nodes=1)
    spread_out(d, SMALL, AGENT)
    assert ask(d, Scale("", "nope", (("web", 3),))).status == "not-found"
    assert ask(d, Scale("", "shop", (("nope", 3),))).status == "not-found"
    assert ask(d, Scale("", "shop", (("agent", 3),))).status == "refused"
    ask(d, Stop("", "shop"))
    assert ask(d, Scale("", "shop", (("web", 3),))).status == "conflict"
    assert job(d).version == 1


def test_restart_goes_through_the_instances_one_at_a_time_and_survives_the_manager() -> None:
    d = Driver(nodes=1)
    spread_out(d, replace(SMALL, instances=3), API)
    before = {t.id: t.attempt for t in d.look().tasks}
    reply = ask(d, Restart("", "shop/web"))
    assert reply.text == "shop/web: restarting 3 tasks, one after the other"
    for second in range(30):
        if second == 7:
            d.restart()
        pass_time(d, 1)
        assert sum(s != "running" for s in states(d).values()) <= 1
    after = {t.id: t.attempt for t in d.look().tasks}
    assert [after[k] - before[k] for k in sorted(after)] == [0, 1, 1, 1]
    assert job(d).restarting == ()
    assert job(d).version == 1


def test_restart_of_a_broken_instance_waits_for_nobody() -> None:
    d = Driver(nodes=1)
    spread_out(d, replace(SMALL, instances=2))
    for number in (1, 2):
        task = d.task(f"shop/web/{number}")
        fact = ended(task, 1, final=False, charged=True, retry_at=d.now + 900, failures=(d.now,))
        d.report("node-1", fact, whole=False)
    ask(d, Restart("", "shop/web/2"))
    assert states(d) == {"shop/web/1": "running", "shop/web/2": "stopping"}


def test_failures_of_long_ago_do_not_stop_a_restart() -> None:
    d = Driver(nodes=1)
    spread_out(d, replace(SMALL, instances=2))
    for task in d.look().tasks:
        d.report("node-1", running(task, failures=(50.0,)), whole=False)
    ask(d, Restart("", "shop"))
    assert states(d)["shop/web/1"] == "stopping"
    assert not job(d).halted


def test_restart_of_what_is_not_there_or_has_ended() -> None:
    d = Driver(nodes=1)
    spread_out(d, SMALL)
    assert ask(d, Restart("", "shop/api")).status == "not-found"
    assert ask(d, Restart("", "nope")).status == "not-found"
    ask(d, Stop("", "shop"))
    assert ask(d, Restart("", "shop")).status == "unchanged"


def test_rollback_brings_the_version_before_and_then_the_one_after_again() -> None:
    d = Driver(nodes=1)
    submit(d, image("one"))
    submit(d, image("two"))
    reply = ask(d, Rollback("", "shop"))
    assert reply.text == "shop version 3 changed: as version 1"
    assert job(d).spec.services[0].image == "one"
    assert ask(d, Rollback("", "shop")).text == "shop version 4 changed: as version 2"
    assert [v.version for v in job(d).earlier] == [3, 2, 1]
    assert ask(d, Rollback("", "shop", version=1)).status == "changed"
    assert d.store.load().jobs["shop"].spec.services[0].image == "one"


def test_rollback_passes_over_the_same_submitted_again_and_keeps_ten() -> None:
    d = Driver(nodes=1)
    assert ask(d, Rollback("", "shop")).status == "not-found"
    submit(d, image("0"))
    assert "kept: none" in ask(d, Rollback("", "shop")).text
    for number in range(1, 15):
        submit(d, image(str(number)))
    ask(d, Stop("", "shop"))
    submit(d, image("14"))  # starts it again, as it was
    assert [v.spec.services[0].image for v in job(d).earlier] == [str(n) for n in range(13, 3, -1)]
    assert ask(d, Rollback("", "shop")).text.endswith("as version 14")
    assert job(d).spec.services[0].image == "13"
