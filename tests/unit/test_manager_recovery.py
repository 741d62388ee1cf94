"""The Manager core: containers that the store never knew become tasks again, or go."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from cube.messages import Fact, Phase, Recover, Reply, Stop, Submit
from cube.spec import JobSpec, Kind, Mount, Port, TaskSpec
from cube.task import State
from tests.managers import WEB, Driver, assigns, ended, placed_and_running, running, stopped

SMALL = replace(WEB, cpu_milli=100)
REQUESTS = itertools.count(1)


def container(
    task: str, made_from: TaskSpec = SMALL, *, version: int = 1, attempt: int = 1, made: int = 7
) -> Fact:
    """A container that another store made, as its node tells once it is known to be unknown."""
    size = (made_from.cpu_milli, made_from.memory_mib, made_from.disk_mib)
    return Fact(
        f"{task}@{made}", attempt, 0, Phase.RUNNING, size=size, version=version, spec=made_from
    )


def ask(d: Driver, message: Any) -> Reply:
    message = replace(message, request=f"r{next(REQUESTS)}", reply_to="edge/1")
    (reply,) = [e.message for e in d.tell(message) if isinstance(e.message, Reply)]
    return reply


def adopt(d: Driver, *which: tuple[str, str]) -> Reply:
    return ask(d, Recover("", action="adopt", which=which))


def states(d: Driver) -> dict[str, str]:
    return {t.id: str(t.state) for t in d.look().tasks}


def test_adopted_job_is_put_together_from_its_newest_containers() -> None:
    d = Driver(nodes=2)
    old, new = replace(SMALL, image="old", instances=9), replace(SMALL, image="new", instances=9)
    agent = TaskSpec("agent", "image", Kind.GLOBAL)
    batch = replace(SMALL, name="sum", kind=Kind.BATCH, instances=5)
    first = [container("shop/web/1", new, version=4), container("shop/web/4", old, version=3)]
    d.report("node-1", *first)
    d.report("node-2", container("shop/agent/node-2", agent), container("shop/sum/2", batch))
    assert adopt(d).text == "adopted 4 unknown containers"
    assert d.look().unknown == ()
    job = d.look().jobs[0]
    assert (job.version, job.adopted) == (4, True)
    assert {s.name: s.instances for s in job.spec.services} == {"web": 4, "agent": 1, "sum": 5}
    assert states(d) == {
        "shop/web/1": "scheduled",
        "shop/web/4": "scheduled",
        "shop/agent/node-2": "scheduled",
        "shop/sum/2": "scheduled",
        "shop/web/2": "pending",
        "shop/web/3": "pending",
        "shop/agent/node-1": "pending",
    }
    d.report("node-1", *first)
    task = d.task("shop/web/1")
    assert (task.state, task.node, task.incarnation) == (State.RUNNING, "node-1", 7)
    assert next(w.uid for w in assigns(d.report("node-1", *first))["node-1"].tasks) == task.uid
    assert d.look().rows[0].cpu_used_milli == 200


def test_file_of_an_adopted_job_takes_it_over_and_restarts_nothing() -> None:
    d = Driver(nodes=1)
    d.report("node-1", container("shop/web/1"))
    adopt(d)
    d.report("node-1", container("shop/web/1"))
    reply = ask(d, Submit("", JobSpec("shop", (SMALL,), source="/shop.yaml")))
    assert (reply.status, reply.body["changes"]) == ("changed", {"web": "unchanged"})
    assert d.task().state is State.RUNNING
    assert not d.look().jobs[0].adopted
    other = Submit("", JobSpec("shop", (SMALL,), source="/other.yaml"))
    assert ask(d, other).status == "conflict"


def test_only_those_that_are_named_are_decided_on() -> None:
    d = Driver(nodes=1)
    d.report("node-1", container("shop/web/1"), container("shop/web/2"))
    assert adopt(d, ("node-1", "shop/web/2@7")).body == {"decided": 1, "left": []}
    assert [fact.uid for _, fact in d.look().unknown] == ["shop/web/1@7"]
    reply = ask(d, Recover("", which=(("node-1", "shop/web/1@7"),)))
    assert reply.text == "removing 1 unknown container"
    assert assigns(d.report("node-1", container("shop/web/2")))["node-1"].keep == ()


def test_container_takes_the_place_of_a_task_that_waits() -> None:
    """Somebody ran the file again before thinking of recovery."""
    d = Driver(nodes=1)
    big = replace(WEB, cpu_milli=2000)
    d.report("node-1", container("shop/web/1", big))
    sends = d.submit(big)
    d.answer(sends, None)
    assert states(d) == {"shop/web/1": "pending"}
    adopt(d)
    task = d.task()
    assert (task.state, task.incarnation) == (State.SCHEDULED, 7)
    assert d.store.load().tasks.keys() == {task.uid}


def test_attempt_that_an_old_store_does_not_know_goes_on_as_that_task() -> None:
    d = Driver(nodes=2)
    task = placed_and_running(d)
    d.report("node-1")  # it ran elsewhere when the store was copied; it is not there now
    assert d.task().state is State.PENDING
    newer = replace(container("shop/web/1", WEB, attempt=3), uid=task.uid)
    d.report("node-2", newer)
    assert [fact.uid for _, fact in d.look().unknown] == [task.uid]
    adopt(d)
    assert (d.task().node, d.task().attempt, d.task().uid) == ("node-2", 3, task.uid)


def test_number_of_an_unknown_attempt_is_never_given_on_its_node() -> None:
    """Else the task would take that container for its own, whatever it was made from."""
    d = Driver(nodes=1)
    sends = d.submit(WEB)
    strange = Fact(d.task().uid, 1, 0, Phase.RUNNING, size=(1000, 100, 0))
    d.report("node-1", strange)
    d.answer(sends, 0)
    assert d.task().attempt == 2
    (assign,) = assigns(d.report("node-1", strange)).values()
    assert ([w.attempt for w in assign.tasks], assign.keep) == ([2], ())
    assert (d.look().unknown, d.look().rows[0].cpu_used_milli) == ((), 1000)


def test_unknown_container_waits_for_an_operator_whatever_becomes_of_its_namesake() -> None:
    d = Driver(nodes=2)
    task = placed_and_running(d)
    strange = running(task)
    d.report("node-2", strange)
    d.answer(d.report("node-1", stopped(task), whole=False), 0)
    assert d.task().attempt == 2
    for _ in range(2):
        (assign,) = assigns(d.report("node-2", strange)).values()
        assert assign.keep == ((task.uid, 1),)
        d.restart()


def test_unknown_containers_of_one_name_are_told_apart() -> None:
    d = Driver(nodes=1)
    first, second = container("shop/web/1"), container("shop/web/1", attempt=2)
    (assign,) = assigns(d.report("node-1", first, second)).values()
    assert assign.keep == ((first.uid, 1), (first.uid, 2))
    assert d.look().rows[0].cpu_used_milli == 200
    (assign,) = assigns(d.report("node-1", second)).values()
    assert assign.keep == ((first.uid, 2),)
    assert d.look().rows[0].cpu_used_milli == 100


def why_left(d: Driver, *facts: Fact) -> list[str]:
    d.report("node-1", *facts)
    return [left["why"] for left in adopt(d).body["left"]]


def test_what_cannot_be_adopted_stays_and_says_why() -> None:
    d = Driver(nodes=2)
    d.submit(SMALL)
    assert why_left(d, replace(container("a/b/1"), phase=Phase.ENDED)) == ["it has ended"]
    untold = replace(container("a/b/1"), spec=None)
    (why,) = why_left(d, untold)
    assert why.startswith("its worker has not told what it was made from")
    assert why_left(d, container("shop/web/2")) == ["shop has no such instance any more"]
    assert why_left(d, container("shop/api/1")) == ["shop has no such instance any more"]
    agent = TaskSpec("web", "image", Kind.GLOBAL)
    assert why_left(d, container("shop/web/node-1", agent)) == [
        "shop has no such instance any more"
    ]
    ask(d, Stop("", "shop"))
    assert why_left(d, container("shop/web/1")) == ["shop is stopped"]
    assert [fact.uid for _, fact in d.look().unknown] == ["shop/web/1@7"]


def test_attempt_that_has_been_followed_by_another_is_not_adopted() -> None:
    d = Driver(nodes=2)
    task = placed_and_running(d)
    strange = replace(container("shop/web/1", WEB), uid=task.uid)
    d.report("node-2", strange)
    d.answer(d.report("node-1", stopped(task), whole=False), 0)
    d.answer(d.report("node-1", stopped(d.task()), whole=False), None)
    assert (d.task().state, d.task().attempt) == (State.PENDING, 2)
    left = adopt(d, ("node-2", task.uid)).body["left"]
    assert [one["why"] for one in left] == ["shop/web/1 was placed anew meanwhile"]


def test_container_on_a_lost_node_is_not_adopted() -> None:
    """The task would count as running there, and nobody would ever place it elsewhere."""
    d = Driver(nodes=3)
    d.report("node-1", container("shop/web/1"))
    for _ in range(17):
        d.pass_time(1)
        d.report("node-2")
        d.report("node-3")
    (left,) = adopt(d).body["left"]
    assert left["why"] == "node-1 is lost"
    assert d.look().tasks == () or d.task().node != "node-1"


def test_running_namesake_keeps_its_place() -> None:
    d = Driver(nodes=2)
    placed_and_running(d)
    d.report("node-2", container("shop/web/1", WEB))
    (left,) = adopt(d).body["left"]
    assert left == {
        "task": "shop/web/1",
        "node": "node-2",
        "why": "shop/web/1 runs on node-1 meanwhile",
    }


def test_adopted_data_and_ports_are_where_the_container_is() -> None:
    d = Driver(nodes=2)
    data = replace(
        SMALL, name="db", mounts=(Mount("volume", "data", "/d"),), ports=(Port(80, 8080),)
    )
    d.report("node-2", container("shop/db/1", data))
    adopt(d)
    assert d.look().volumes == (("shop_data", "node-2"),)
    assert d.look().rows[1].ports == ((8080, "tcp"),)


def test_stop_is_done_though_the_run_that_was_to_be_stopped_never_began() -> None:
    """A restart was told, its machine rebooted first: the worker knows the run before it only."""
    d = Driver(nodes=1)
    task = placed_and_running(d)
    d.report("node-1", ended(task, 1, final=False, charged=True, retry_at=d.now), whole=False)
    d.report("node-1", Fact(task.uid, 1, 1, Phase.STARTING), whole=False)
    ask(d, Stop("", "shop"))
    assert d.task().state is State.STOPPING
    d.report("node-1", stopped(task), life=2)
    assert d.task().state is State.STOPPED
    d.report("node-1", running(task), whole=False, life=2)
    assert d.task().state is State.STOPPED


def test_container_that_was_to_go_may_be_adopted_until_its_node_hears_of_it() -> None:
    d = Driver(nodes=1)
    fact = container("shop/web/1")
    d.report("node-1", fact)
    ask(d, Recover("", action="remove"))
    assert adopt(d).body["decided"] == 1
    (assign,) = assigns(d.report("node-1", fact)).values()
    assert [w.uid for w in assign.tasks] == [fact.uid]


def test_namesake_of_the_attempt_that_was_lost_is_adopted_elsewhere() -> None:
    d = Driver(nodes=3)
    task = placed_and_running(d)
    namesake = replace(container("shop/web/1", WEB), uid=task.uid, attempt=task.attempt)
    for _ in range(17):
        d.pass_time(1)
        d.report("node-2", namesake)
        d.report("node-3")
    assert (d.task().state, d.task().attempt) == (State.PENDING, 1)
    assert adopt(d).body["left"] == []
    assert (d.task().state, d.task().node) == (State.SCHEDULED, "node-2")
