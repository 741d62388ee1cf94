"""The Manager core with its Scheduler: jobs that are kept together on one node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cube.messages import Drain, Fact, Phase, Place, Recover, Restart, Stop, Submit
from cube.spec import Constraint, Dependency, GpuNeed, JobSpec, Mount, Port, TaskSpec
from cube.task import State
from cube.views.show import task_reason
from tests.managers import WEB, Driver, Pair, asked, running, stopped

DB = replace(WEB, name="db")  # one core each; a node has two
SMALL = replace(WEB, cpu_milli=100)


def why(d: Driver, task_id: str) -> str:
    return task_reason(d.task(task_id))


@pytest.mark.parametrize("policy", ["epvm", "round-robin", "best-fit"])
def test_whole_job_goes_to_one_node(policy: str) -> None:
    d = Pair(nodes=3, policy=policy)
    d.run(replace(SMALL, instances=3), replace(SMALL, name="db"))
    assert len(set(d.where().values())) == 1
    assert None not in d.where().values()


def test_only_a_node_with_room_for_the_whole_is_taken() -> None:
    d = Pair()
    d.run(replace(WEB, cpu_milli=100), name="there")
    (taken,) = d.where("there").values()
    d.run(WEB, DB)  # two cores: either would fit beside the other job, both do not
    (node,) = set(d.where().values())
    assert node not in (None, taken)


def test_what_fits_nowhere_as_a_whole_waits_and_says_so() -> None:
    d = Pair()
    d.run(WEB, DB, replace(SMALL, name="cache"))
    assert set(d.where().values()) == {None}
    assert why(d, "shop/db/1") == (
        "no node takes its whole job, which is kept together: needs 2.1 CPUs; the best of 2 nodes,"
        " node-1, has 2 CPUs free"
    )
    d.join("node-3")
    assert set(d.where().values()) == {"node-3"}


def test_scaling_up_stays_on_the_node_or_waits_for_room_there() -> None:
    d = Pair()
    d.run(WEB)
    d.live()
    (home,) = d.where().values()
    d.scale(3)
    assert sorted(map(str, d.where().values())) == sorted([str(home)] * 2 + ["None"])
    assert why(d, "shop/web/3").startswith(
        f"is kept with its job on {home}; needs 1 CPU; {home} has 0"
    )


def test_tasks_that_wait_for_others_follow_to_their_node() -> None:
    d = Pair(nodes=3, policy="round-robin")
    d.run(DB, replace(WEB, depends_on=(Dependency("db"),)))
    home = d.where()["db/1"]
    assert d.where() == {"db/1": home, "web/1": None}
    d.live()
    assert d.where() == {"db/1": home, "web/1": home}


def test_room_is_looked_for_with_those_that_wait_for_others() -> None:
    d = Pair()
    d.run(replace(WEB, cpu_milli=500), name="there")
    d.run(DB, replace(WEB, depends_on=(Dependency("db"),)))
    assert d.where()["db/1"] not in (None, d.where("there")["web/1"])


def test_a_lost_node_is_left_by_the_whole_job_for_one_node() -> None:
    d = Pair(nodes=3)
    d.run(replace(SMALL, instances=2), replace(SMALL, name="db"))
    d.live()
    (home,) = set(d.where().values())
    for _ in range(30):
        d.live(str(home))
    (now,) = set(d.where().values())
    assert now not in (None, home)


def test_a_returning_node_keeps_nothing_of_a_job_that_is_elsewhere() -> None:
    d = Pair()
    d.run(DB, replace(WEB, depends_on=(Dependency("db", "completed"),)))
    d.live()
    home = d.where()["db/1"]
    d.tell(Submit("now", JobSpec("shop", (DB, WEB), together=True), "e/1"))
    d.live()
    assert set(d.where().values()) == {home}
    before = [d.task("shop/db/1"), d.task("shop/web/1")]
    other = "node-2" if home == "node-1" else "node-1"
    d.run(replace(SMALL, cpu_milli=100), name="there")  # no node has room for both
    for _ in range(30):
        d.live(str(home))
    assert set(d.where().values()) == {None}
    d.run(replace(SMALL, cpu_milli=100), name="there", together=False)
    d.tell(Stop("room", "there", "e/1"))
    d.live(str(home))
    assert set(d.where().values()) == {other}
    d.report(str(home), *map(running, before))
    assert set(d.where().values()) == {other}


def test_data_of_one_service_ties_the_whole_job() -> None:
    d = Pair(nodes=3)
    d.run(replace(SMALL, name="db", mounts=(Mount("volume", "data", "/d"),)), SMALL)
    d.live()
    (home,) = set(d.where().values())
    for _ in range(30):
        d.live(str(home))
    assert set(d.where().values()) == {None}
    assert why(d, "shop/web/1") == f"volume shop_data is on {home}, lost"
    d.report(str(home))
    assert set(d.where().values()) == {home}


def test_ports_constraints_and_gpus_of_all_services_are_looked_at() -> None:
    d = Pair(nodes=0)
    for number, gpus in enumerate([(), ("A", "A"), ("A", "A", "A")], 1):
        labels = (("disk", "ssd"),) if number != 1 else ()
        d.join(f"node-{number}", labels=labels, gpus=gpus)
    ssd = Constraint("node.labels.disk", "==", "ssd")
    d.run(replace(SMALL, ports=(Port(80, 8080),), constraints=(ssd,)), name="there")
    held = d.where("there")["web/1"]
    d.tell(Stop("s", "there", "e/1"))
    d.live()
    d.run(
        replace(SMALL, ports=(Port(80, 8080),)),
        replace(SMALL, name="train", gpu=GpuNeed(1), instances=3),
        replace(SMALL, name="db", constraints=(ssd,)),
    )
    assert held in ("node-2", "node-3")
    assert set(d.where().values()) == {"node-3"}
    gpus = [t.gpus for t in d.look().tasks if t.service == "train"]
    assert sorted(gpus) == [(0,), (1,), (2,)]
    d.run(replace(SMALL, ports=(Port(80, 8080),), constraints=(ssd,)), DB, name="late")
    assert set(d.where("late").values()) == {"node-2"}


def test_a_drain_moves_the_job_as_a_whole_service_by_service() -> None:
    d = Pair(nodes=3)
    d.run(replace(SMALL, instances=2), replace(SMALL, name="db"))
    for _ in range(4):
        d.live()
    (home,) = set(d.where().values())
    d.tell(Drain("drain", str(home), "e/1"))
    stopping = [t.id for t in d.look().tasks if t.state is State.STOPPING]
    assert sorted(stopping) == ["shop/db/1", "shop/web/1"]  # one of each: they belong together
    d.live()
    (now,) = set(d.where().values()) - {home}
    assert d.where() == {"web/1": now, "web/2": home, "db/1": now}
    for _ in range(6):
        d.live()
    assert set(d.where().values()) == {now}
    assert d.look().nodes[int(str(home)[-1]) - 1].note == "drained"


def test_a_drain_stops_nothing_of_a_job_that_would_find_no_place() -> None:
    d = Pair()
    d.run(WEB, DB)
    d.run(SMALL, name="there")
    for _ in range(4):
        d.live()
    (home,) = set(d.where().values())
    d.tell(Drain("drain", str(home), "e/1"))
    d.live()
    note = next(n.note for n in d.look().nodes if n.name == home)
    assert set(d.where().values()) == {home}
    assert note == (
        "draining, 2 tasks left; blocked by shop, which is kept together: no other node has room"
        " for all of it"
    )
    d.tell(Stop("room", "there", "e/1"))
    for _ in range(4):
        d.live()
    assert home not in d.where().values()
    assert None not in d.where().values()


def test_a_drain_is_not_held_up_by_an_instance_that_waited_for_room_on_that_node() -> None:
    d = Pair(nodes=1)
    d.run(replace(WEB, instances=3))
    d.scale(2)
    for _ in range(4):
        d.live()
    d.scale(3)
    assert d.where()["web/3"] is None
    d.join("node-2")
    assert d.where()["web/3"] is None
    d.tell(Drain("drain", "node-1", "e/1"))
    for _ in range(12):
        d.live()
    assert d.where() == {"web/1": "node-2", "web/2": "node-2", "web/3": "node-2"}


def test_a_deadline_moves_what_finds_no_place() -> None:
    d = Pair()
    d.run(WEB, DB)
    d.run(SMALL, name="there")
    d.live()
    (home,) = set(d.where().values())
    d.tell(Drain("drain", str(home), "e/1", deadline_seconds=2))
    for _ in range(4):
        d.live()
    assert set(d.where().values()) == {None}


def test_a_job_that_becomes_together_gathers_where_most_of_it_is() -> None:
    d = Pair(nodes=2)
    d.run(replace(SMALL, instances=3), together=False)
    d.live()
    most = max(set(d.where().values()), key=list(d.where().values()).count)
    assert len(set(d.where().values())) == 2
    d.run(replace(SMALL, instances=3))
    d.live()
    assert len(set(d.where().values())) == 2  # nothing is stopped for it
    d.scale(4)
    assert d.where()["web/4"] == most


def test_a_restart_gathers_a_job_that_is_on_several_nodes() -> None:
    d = Pair(nodes=3)
    d.run(replace(SMALL, instances=3), together=False)
    for _ in range(4):
        d.live()
    d.run(replace(SMALL, instances=3))
    assert len(set(d.where().values())) > 1
    d.tell(Restart("restart", "shop", "e/1"))
    for _ in range(20):
        d.live()
    assert len(set(d.where().values())) == 1
    assert {t.attempt for t in d.look().tasks} == {2}


def test_adopting_does_not_tear_a_job_apart() -> None:
    d = Pair()
    d.run(replace(SMALL, instances=2))
    d.tell(Stop("stop", "shop/web/2", "e/1"))
    d.live()
    (home,) = set(d.where().values())
    other = "node-2" if home == "node-1" else "node-1"
    strange = Fact("shop/web/2@7", 1, 0, Phase.RUNNING, size=(100, 100, 0), spec=SMALL)
    d.report(other, strange)
    (reply,) = [s.message for s in d.tell(Recover("adopt", "e/1", "adopt")) if s.to == "e/1"]
    assert [left["why"] for left in reply.body["left"]] == [f"shop is kept together, on {home}"]
    assert d.where() == {"web/1": home}


# --- rounds, with the scheduler played by hand ---


def submit(d: Driver, *specs: TaskSpec) -> list[Any]:
    return d.tell(Submit("submit", JobSpec("shop", specs, together=True), "e/1"))


def nodes_of(d: Driver) -> dict[str, str | None]:
    return {t.id.partition("/")[2]: t.node for t in d.look().tasks if t.job == "shop"}


def test_all_that_wait_are_asked_about_in_one_round() -> None:
    d = Driver(nodes=1)
    d.answer(d.submit(WEB, name="there"), 0)
    sends = submit(d, WEB, DB)
    (place,) = [e.message for e in sends if isinstance(e.message, Place)]
    (question,) = place.questions
    assert (question.whole, question.demand.size) == (True, (2000, 200, 0))
    sends = d.answer(sends, None, None)
    d.answer(sends, None, None)  # asked once more, as something had changed in the job
    d.tell(Stop("room", "there", "e/1"))
    sends = d.report("node-1", stopped(d.task("there/web/1")))
    assert sorted(asked(sends)) == ["shop/db/1", "shop/web/1"]
    d.answer(sends, 0, 0)
    assert nodes_of(d) == {"web/1": "node-1", "db/1": "node-1"}


def test_an_answer_is_dropped_whole_if_the_whole_does_not_fit_any_more() -> None:
    d = Driver()
    sends = submit(d, WEB, DB)
    stranger = Fact("old/web/1@7", 1, 0, Phase.RUNNING, size=(1000, 100, 0), spec=WEB)
    d.report("node-1", stranger)
    again = d.answer(sends, 0, 0)
    assert set(nodes_of(d).values()) == {None}
    assert len(asked(again)) == 2
    d.answer(again, 1, 1)
    assert set(nodes_of(d).values()) == {"node-2"}


def test_an_answer_that_would_tear_the_job_apart_is_not_applied() -> None:
    d = Driver()
    again = d.answer(submit(d, WEB, DB), 0, 1)
    assert sorted(map(str, nodes_of(d).values())) == ["None", "node-1"]
    d.answer(again, 0)
    assert set(nodes_of(d).values()) == {"node-1"}
