"""What a cluster on three machines goes through, and what must not come of it.

Every claim is checked against the engines: `docker ps`, and their own record of starts and ends.
The tests share one cluster; each leaves it settled: exactly the wanted set runs, each once.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from cube.client import ApiProblem, Client, ClientError
from cube.messages import FENCE_SECONDS
from cube.spec import JobSpec
from cube.worker.lease import LEASE_SECONDS
from tests.cluster.control import Control, controlled
from tests.cluster.jobs import SHOP, service

LOST_SECONDS = 30.0  # the documented bound, by default
AWAY_SECONDS = float(os.environ.get("CUBE_TEST_AWAY_SECONDS", "18"))  # longer than any grace


@pytest.fixture(scope="module")
def control(box) -> Iterator[Control]:
    """Thirty instances on three nodes, under E-PVM."""
    with controlled(box) as made:
        made.submit(SHOP)
        made.settle()
        yield made


@pytest.fixture
def client(control) -> Iterator[Client]:
    with control.client() as made:
        yield made


def home_of(control: Control, task: str) -> str:
    [node] = [n for n, found in control.box.containers().items() if task in {c.task for c in found}]
    return node


def test_a_cut_off_node_is_replaced_in_time_and_serves_again(control, client):
    node = home_of(control, "shop/db/1")
    others = set(control.box.nodes) - {node}
    before = {c.task: c.id for c in control.on(node)}
    moving = set(before) - {"shop/db/1"}
    guards = {t for t in moving if "/guard/" in t}
    assert guards
    control.box.cut(node)

    def moved() -> bool:
        elsewhere = {c.task for other in others for c in control.on(other)}
        return moving <= elsewhere

    assert control.watch.until(moved) < LOST_SECONDS
    for guard in guards:
        old, new = control.watch.of(guard)[-2:]
        assert old.node == node
        assert old.ended is not None
        assert old.ended < new.began
    kept = {c.task: c.id for c in control.on(node)}
    assert kept == {task: id for task, id in before.items() if task not in guards}
    assert "shop/db/1" not in {c.task for other in others for c in control.on(other)}
    assert node in client.task("shop/db/1")["reason"]

    control.box.mend(node)
    control.settle()
    assert "shop/db/1" in {c.task for c in control.on(node)}
    only_there = f"only-{node}"
    constraint = f"node.name == {node}"
    serve_again(control, client, only_there, node, constraint)


def serve_again(control: Control, client: Client, job: str, node: str, text: str) -> None:
    from cube.spec import Constraint

    attribute, _, value = text.split()
    there = (Constraint(attribute, "==", value),)
    control.submit(JobSpec(job, (service("new", constraints=there),)))
    control.watch.until(lambda: f"{job}/new/1" in {c.task for c in control.on(node)})
    client.stop(job)
    del control.wanted[job]
    control.settle()


@pytest.mark.timeout(AWAY_SECONDS + 300)
def test_an_absent_manager_changes_no_container(control):
    kept = {t: i for t, i in control.ids().items() if "/guard/" not in t}
    control.box.cut("manager")
    threading.Event().wait(AWAY_SECONDS)
    during = control.ids()
    assert {t: i for t, i in during.items() if t in kept} == kept
    assert not any("/guard/" in task for task in during)  # their leases have ended
    control.box.mend("manager")
    control.settle()
    assert {t: i for t, i in control.ids().items() if t in kept} == kept


def test_a_killed_worker_restarts_no_container(control):
    before = control.ids()
    for node in control.box.nodes:
        control.kill_worker(node)
    control.start_workers(*control.box.nodes)
    control.watch.until(lambda: control.alive() == set(control.box.nodes))
    assert control.ids() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_engine_that_restarts_gets_its_tasks_back(control, number):
    elsewhere = {c.id for node in ("node-2", "node-3") for c in control.on(node)}
    there = {c.task for c in control.on("node-1")}
    control.box.restart_engine("node-1", number)
    control.settle()
    assert {c.task for c in control.on("node-1")} == there
    assert {c.id for node in ("node-2", "node-3") for c in control.on(node)} == elsewhere


def test_a_manager_killed_under_load_loses_nothing_that_it_accepted(control):
    before = control.ids()
    accepted: list[str] = []
    enough = threading.Event()

    def press() -> None:
        with control.client() as client:
            for number in range(1000):
                job = JobSpec(f"load-{number}", (service("one"),))
                try:
                    client.submit(job)
                except ClientError:
                    return
                accepted.append(job.name)
                control.wanted[job.name] = job
                if number >= 8:
                    enough.set()

    presser = threading.Thread(target=press)
    presser.start()
    assert enough.wait(30)
    control.kill_manager()
    presser.join()
    control.start_manager()
    with control.client() as client:
        there = {job["name"] for job in client.jobs() if job["state"] != "stopped"}
    for name in there - set(control.wanted):  # it was saved, and the answer was not heard
        control.wanted[name] = JobSpec(name, (service("one"),))
    assert there == set(control.wanted)
    control.settle()
    after = control.ids()
    assert {task: after[task] for task in before} == before
    with control.client() as client:
        for name in there - {"shop"}:
            client.stop(name)
            del control.wanted[name]
    control.settle()
    assert control.ids() == before


def fill_store(client: Client) -> ApiProblem:
    """Submit until it is refused: what the store has set aside is used up first."""
    for number in range(2000):
        try:
            client.submit(JobSpec(f"x{number}", (service("x", cpu_milli=10**9),)))
        except ApiProblem as problem:
            return problem
    raise AssertionError("it was never refused")


def test_a_full_disk_is_a_clear_refusal_and_nothing_more(control, client):
    before = control.ids()
    job = JobSpec("late", (service("one"),))
    fill = f"dd if=/dev/zero of={control.state_dir}/fill bs=4k; true"
    manager = control.box.manager
    manager.run("sh", "-c", fill)
    refusal = fill_store(client)
    assert "disk" in str(refusal)
    assert refusal.remedy
    threading.Event().wait(LEASE_SECONDS + FENCE_SECONDS)  # those of the guards are renewed
    assert control.ids() == before
    manager.run("rm", f"{control.state_dir}/fill")

    def accepted() -> bool:
        try:
            control.submit(job)
        except ApiProblem:
            return False
        return True

    control.watch.until(accepted)
    control.settle()
    assert {t: i for t, i in control.ids().items() if t in before} == before


def files_of_store(control: Control) -> list[str]:
    done = control.box.manager.run("sh", "-c", f"ls {control.state_dir}/store.sqlite*")
    return done.stdout.split()


def test_a_deleted_store_removes_nothing_and_is_recovered(control):
    before = control.ids()
    control.kill_manager()
    control.box.manager.run("rm", *files_of_store(control))
    control.start_manager()
    join = control.join_options()
    for node in control.box.nodes:  # the store knew their credentials
        control.kill_worker(node)
    control.start_workers(*control.box.nodes, join=join)
    recovered(control, before)
    assert control.ids() == before


def recovered(control: Control, before: dict[str, str]) -> None:
    with control.client() as client:
        # A worker tells what a container was made from (its image) in answer to a question.
        control.watch.until(
            lambda: sum(bool(u["image"]) for u in client.recovery()["unknown"]) == len(before)
        )
        listed = {u["task"]: u["container"][:12] for u in client.recovery()["unknown"]}
        assert listed == before
        client.recover("adopt")
        control.watch.until(lambda: client.recovery()["unknown"] == [])


def test_a_store_from_earlier_removes_nothing_and_is_recovered(control):
    control.kill_manager()
    state = control.state_dir
    control.box.manager.run(
        "sh", "-c", f"mkdir {state}/copy && cp {state}/store.sqlite* {state}/copy"
    )
    control.start_manager()
    known = control.ids()
    control.submit(JobSpec("later", (service("one", 3),)))
    control.settle()
    before = control.ids()
    control.kill_manager()
    control.box.manager.run("sh", "-c", f"rm {state}/store.sqlite*; mv {state}/copy/* {state}")
    control.start_manager()
    recovered(control, {task: id for task, id in before.items() if task not in known})
    assert control.ids() == before


def test_a_drain_leaves_no_task_and_never_more_than_one_missing(control, client):
    import time

    begun = time.time()
    node = next(n for n in control.box.nodes if n != home_of(control, "shop/db/1"))
    client.drain(node)
    control.watch.until(lambda: control.on(node) == [])
    control.settle()
    changes = [t for x in control.watch.lives for t in (x.began, x.ended) if t and t > begun]
    for spec in SHOP.services:
        tasks = [f"shop/{spec.name}/{i + 1}" for i in range(spec.instances)]
        least = min(control.watch.running(at, tasks) for at in changes)
        assert least >= spec.instances - 1, spec.name
    client.drain(node, on=False)


def test_a_job_kept_together_is_on_one_machine_and_leaves_it_as_a_whole(control, client):
    services = (service("web", 2), service("db"))
    control.submit(JobSpec("family", services, together=True))
    control.settle()
    members = {"family/web/1", "family/web/2", "family/db/1"}

    def homes() -> dict[str, set[str]]:
        """Who of the family is where."""
        on = {node: {c.task for c in control.on(node)} & members for node in control.box.nodes}
        return {node: found for node, found in on.items() if found}

    [(old, found)] = homes().items()
    assert found == members
    client.drain(old)
    control.watch.until(lambda: old not in homes() and sum(map(len, homes().values())) == 3)
    [(new, found)] = homes().items()
    assert (new != old, found) == (True, members)
    client.drain(old, on=False)
    client.stop("family")
    del control.wanted["family"]
    control.settle()
