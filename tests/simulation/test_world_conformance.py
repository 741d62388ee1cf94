"""One suite for both worlds: what the control plane promises, live and simulated.

What it promises when things break is in `test_world_faults`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from cube.messages import MANAGER, SCHEDULER, Submit, worker_name
from cube.spec import (
    Dependency,
    JobSpec,
    Mount,
    ReschedulePolicy,
    RestartPolicy,
    Spread,
)
from cube.store import MemoryStore
from tests.clusters import batch, cluster, of_job, service

QUICK = RestartPolicy("any", 2, 1800.0, 0.02)
Make = Callable[..., Any]


@pytest.fixture(params=["threads", "simulated"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Make a cluster in the world at hand."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(cluster(request.param, **options))


def test_service_runs_spread_over_the_nodes(make: Make) -> None:
    c = make()
    assert c.submit(service(instances=3)).status == "created"
    tasks = c.wait_states("shop", "running", "running", "running")
    assert {t.node for t in tasks} == set(c.nodes)
    assert [t.id for t in tasks] == ["shop/web/1", "shop/web/2", "shop/web/3"]
    assert all(t.attempt == 1 and t.restart == 0 for t in tasks)


def test_batch_task_completes_and_gives_its_room_back(make: Make) -> None:
    c = make()
    c.submit(batch(cpu_milli=500))
    c.wait_states("shop", "completed")
    snapshot = c.look()
    assert [r.cpu_used_milli for r in snapshot.rows] == [0, 0, 0]


def test_repeating_a_request_gives_the_first_answer(make: Make) -> None:
    c = make()
    job = JobSpec("shop", (service(),))
    first = c.ask(lambda edge: Submit("same", job, edge))
    again = c.ask(lambda edge: Submit("same", job, edge))
    assert again == first
    c.wait_states("shop", "running")


def test_unchanged_submit_changes_nothing(make: Make) -> None:
    c = make()
    c.submit(service(instances=2))
    before = c.wait_states("shop", "running", "running")
    assert c.submit(service(instances=2)).status == "unchanged"
    assert of_job(c.look(), "shop") == before


def test_name_of_another_file_is_a_conflict(make: Make) -> None:
    c = make()
    c.submit(service(), source="/a/shop.yaml")
    assert c.submit(service(), source="/b/shop.yaml").status == "conflict"


def test_stop_ends_all_and_a_new_submit_makes_new_tasks(make: Make) -> None:
    c = make()
    c.submit(service(instances=2))
    first = c.wait_states("shop", "running", "running")
    assert c.stop("shop").status == "ok"
    c.wait_states("shop", "stopped", "stopped")
    assert c.submit(service(instances=2)).status == "created"
    second = c.wait_states("shop", "running", "running")
    assert all(b.incarnation > a.incarnation for a, b in zip(first, second, strict=True))


def test_stop_of_one_service_leaves_the_others(make: Make) -> None:
    c = make()
    c.submit(service("web"), service("db"))
    c.wait_states("shop", "running", "running")
    c.stop("shop/web")
    db, web = c.wait_states("shop", "running", "stopped")
    assert (str(web.state), str(db.state)) == ("stopped", "running")
    assert c.stop("nothing").status == "not-found"


def test_remove_forgets_an_ended_job_and_refuses_a_running_one(make: Make) -> None:
    c = make()
    c.submit(service())
    c.wait_states("shop", "running")
    assert c.remove("shop").status == "conflict"
    assert c.remove("shop", force=True).status == "ok"
    c.wait(lambda s: not s.jobs and not s.tasks, "the job to be forgotten")
    assert c.submit(service()).status == "created"
    c.wait_states("shop", "running")


def test_failing_service_is_restarted_then_placed_elsewhere(make: Make) -> None:
    c = make()
    failing = service(
        labels=(("cube.sim.seconds", "0.01"), ("cube.sim.exit", "3")),
        restart=RestartPolicy("any", 1, 1800.0, 0.02),
        reschedule=ReschedulePolicy(None, 0.05, 0.05),
    )
    c.submit(failing)
    snapshot = c.wait(lambda s: s.tasks and s.tasks[0].attempt >= 3, "reschedules")
    assert snapshot.tasks[0].reschedules >= 2
    restarts = [e for e in c.store.events(0, 10_000) if e.kind == "task.restarting"]
    assert restarts  # it was tried again on its node before it moved


def test_failed_batch_task_without_budget_fails(make: Make) -> None:
    c = make()
    c.submit(batch(exit_code=3, reschedule=ReschedulePolicy(0)))
    (task,) = c.wait_states("shop", "failed")
    assert task.exit_code == 3


def test_finished_batch_runs_again_only_when_asked(make: Make) -> None:
    c = make()
    c.submit(batch())
    (first,) = c.wait_states("shop", "completed")
    assert c.submit(batch()).status == "unchanged"
    assert c.submit(batch(), again=True).status == "changed"
    snapshot = c.wait(
        lambda s: s.tasks[0].incarnation > first.incarnation and s.tasks[0].state == "completed",
        "the second run",
    )
    assert snapshot.jobs[0].version == 2


def test_pending_task_says_why_and_is_placed_when_room_appears(make: Make) -> None:
    c = make()
    c.submit(service("big", instances=3, cpu_milli=1000), name="first")
    c.wait_states("first", *["running"] * 3)
    c.submit(service("late", cpu_milli=600), name="second")
    snapshot = c.wait(lambda s: any(t.decision for t in of_job(s, "second")), "a decision")
    (task,) = of_job(snapshot, "second")
    (rejection,) = task.decision.rejections
    assert (rejection.reason, rejection.nodes, rejection.need) == ("cpu", 3, 600)
    assert rejection.best == 0
    c.stop("first/big/2")
    c.wait_states("second", "running")


def test_dependency_is_placed_first(make: Make) -> None:
    c = make()
    slow = batch("migrate", seconds=0.2)
    web = service("web", depends_on=(Dependency("migrate", "completed"),))
    c.submit(web, slow)
    waiting = c.wait(lambda s: any("waits for" in t.reason for t in s.tasks), "the wait")
    assert {str(t.state) for t in waiting.tasks if t.service == "web"} == {"pending"}
    c.wait_states("shop", "completed", "running")


def test_changed_service_is_replaced_one_at_a_time(make: Make) -> None:
    c = make()
    c.submit(service("web", instances=3), service("db"))
    before = {t.id: t for t in c.wait_states("shop", *["running"] * 4)}
    reply = c.submit(service("web", instances=3, environment=(("A", "1"),)), service("db"))
    assert reply.status == "changed"
    assert reply.body["changes"] == {"web": "changed", "db": "unchanged"}
    down = []

    def rolled_out(snapshot: Any) -> bool:
        tasks = of_job(snapshot, "shop")
        down.append(sum(t.state != "running" for t in tasks))
        return all(t.state == "running" and t.spec.environment for t in tasks if t.service == "web")

    after = {t.id: t for t in of_job(c.wait(rolled_out, "the roll-out"), "shop")}
    assert max(down) <= 1
    assert after["shop/db/1"] == before["shop/db/1"]
    assert all(after[f"shop/web/{i}"].attempt == 2 for i in (1, 2, 3))


def test_roll_out_halts_at_the_first_that_does_not_come_up(make: Make) -> None:
    c = make()
    c.submit(service("web", instances=3))
    c.wait_states("shop", *["running"] * 3)
    bad = service("web", instances=3, labels=(("cube.sim.error", "no such image"),), restart=QUICK)
    c.submit(bad)
    snapshot = c.wait(lambda s: s.jobs[0].halted, "the roll-out to halt")
    tasks = of_job(snapshot, "shop")
    assert sum(t.version == 1 and t.state == "running" for t in tasks) == 2
    assert "did not come up" in snapshot.jobs[0].halted
    c.submit(service("web", instances=3))
    c.wait(
        lambda s: all(t.state == "running" and not t.spec.labels for t in s.tasks), "the way back"
    )


def test_scaling_leaves_the_running_instances_alone(make: Make) -> None:
    c = make()
    c.submit(service(instances=2))
    before = c.wait_states("shop", "running", "running")
    assert c.submit(service(instances=3)).status == "changed"
    after = c.wait_states("shop", "running", "running", "running")
    assert [(t.id, t.attempt, t.since) for t in after[:2]] == [
        (t.id, t.attempt, t.since) for t in before
    ]
    c.submit(service(instances=1))
    c.wait_states("shop", "running", "stopped", "stopped")


def test_vanished_service_is_stopped(make: Make) -> None:
    c = make()
    c.submit(service("web"), service("db"))
    c.wait_states("shop", "running", "running")
    assert c.submit(service("web")).body["changes"] == {"web": "unchanged", "db": "removed"}
    c.wait_states("shop", "running", "stopped")


def test_required_spread_leaves_the_surplus_pending(make: Make) -> None:
    c = make()
    c.submit(service(instances=4, spread=Spread("require")))
    c.wait_states("shop", "running", "running", "running", "pending")


def test_volume_ties_a_task_to_its_node(make: Make) -> None:
    c = make()
    mount = (Mount("volume", "data", "/data"),)
    c.submit(service("db", mounts=mount))
    (first,) = c.wait_states("shop", "running")
    c.stop("shop")
    c.wait_states("shop", "stopped")
    c.submit(service("other", instances=2), name="ballast")  # the first node is no longer the best
    c.wait_states("ballast", "running", "running")
    c.submit(service("db", mounts=mount))
    (second,) = c.wait_states("shop", "running")
    assert second.node == first.node


def test_manager_restart_keeps_everything_as_it_was(make: Make) -> None:
    c = make()
    c.submit(service(instances=3))
    before = c.wait_states("shop", *["running"] * 3)
    old = c.look()
    c.world.stop_actor(MANAGER)
    c.start_manager()
    c.ready()
    c.pass_time(1.5)
    new = c.look()
    assert of_job(new, "shop") == before
    assert new.epoch == old.epoch + 1
    assert new.revision >= old.revision
    c.submit(service(instances=3), name="other")
    c.wait_states("other", *["running"] * 3)


def test_worker_restart_adopts_what_runs(make: Make) -> None:
    c = make()
    c.submit(service(instances=3))
    before = c.wait_states("shop", *["running"] * 3)
    for node in c.nodes:
        c.world.stop_actor(worker_name(node))
        c.start_worker(node)
    c.pass_time(1.5)
    after = of_job(c.look(), "shop")
    assert [(t.id, t.attempt, t.restart, t.state) for t in after] == [
        (t.id, t.attempt, t.restart, t.state) for t in before
    ]


def test_scheduler_restart_asks_for_the_fleet_again(make: Make) -> None:
    c = make()
    c.submit(service(instances=3, cpu_milli=600))
    c.wait_states("shop", *["running"] * 3)
    c.world.stop_actor(SCHEDULER)
    c.start_scheduler()
    c.submit(service(instances=3, cpu_milli=300), name="other")
    tasks = c.wait_states("other", *["running"] * 3)
    assert {t.node for t in tasks} == set(c.nodes)
    assert all(r.cpu_used_milli <= 1000 for r in c.look().rows)


def test_round_that_nobody_answers_is_asked_again(make: Make) -> None:
    c = make()
    c.world.stop_actor(SCHEDULER)
    c.submit(service())
    c.start_scheduler()
    c.wait_states("shop", "running")


def test_forgetful_manager_removes_nothing(make: Make) -> None:
    c = make()
    c.submit(service(instances=3))
    c.wait_states("shop", *["running"] * 3)
    c.world.stop_actor(MANAGER)
    c.pass_time(0.01)
    c.start_manager(MemoryStore())
    snapshot = c.wait(lambda s: len(s.unknown) == 3, "the unknown containers")
    assert "recovery" in snapshot.note
    assert all(r.tasks == 1 for r in snapshot.rows)  # they count
    c.pass_time(2.5)
    assert len(c.look().unknown) == 3
    c.submit(service(instances=3), name="new")
    c.wait_states("new", *["running"] * 3)
    assert len(c.look().unknown) == 3


def test_recover_removes_the_unknown_on_request(make: Make) -> None:
    from cube.messages import Recover

    c = make()
    c.submit(service(instances=3))
    c.wait_states("shop", *["running"] * 3)
    c.world.stop_actor(MANAGER)
    c.pass_time(0.01)
    c.start_manager(MemoryStore())
    c.wait(lambda s: len(s.unknown) == 3, "the unknown containers")
    c.send(lambda request, edge: Recover(request, edge))
    snapshot = c.wait(lambda s: not s.unknown, "their removal")
    assert all(r.tasks == 0 for r in snapshot.rows)
