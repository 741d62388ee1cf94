"""What a plan says of a running cluster is what then happens to its containers.

The plan is asked for on the manager's machine, as an operator would; what came of it is read from
`docker ps` on the hosts. The tests share a cluster; each leaves it whole, but for the last.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cube.spec import HealthCheck, JobSpec, RestartPolicy, TaskSpec
from tests.cluster.control import Control

LOST_SECONDS = 30.0  # the documented bound, by default


def service(name: str, instances: int, cpu: int, memory: int, stop: str = "0", **more: Any) -> Any:
    """Takes `stop` seconds to stop."""
    command = ("sh", "-c", f"trap 'sleep {stop}; exit 0' TERM; sleep 1000000 & wait")
    sizes = {"cpu_milli": cpu, "memory_mib": memory, "instances": instances}
    quick = RestartPolicy(delay_seconds=1.0)
    fields = {"command": command, "restart": quick, "pull_policy": "never", **sizes, **more}
    return TaskSpec(name, "busybox:latest", **fields)


CHECK = HealthCheck(("CMD", "true"), interval_seconds=1.0)
SHOP = JobSpec("shop", (service("web", 4, 100, 32), service("api", 3, 150, 64, stop="1")))
MAIL = service("mail", 2, 120, 48, healthcheck=CHECK)
BACK = JobSpec("back", (service("cart", 3, 70, 16, stop="0.5"), service("pay", 2, 200, 128), MAIL))


@pytest.fixture(scope="module")
def control(new_box) -> Iterator[Control]:
    """Fourteen instances of five services, under E-PVM."""
    made = Control(new_box)
    try:
        made.start()
        for job in (SHOP, BACK):
            made.submit(job)
        rest(made)
        yield made
    finally:
        made.stop()


def places(control: Control) -> dict[str, str]:
    """Which task runs on which node."""
    return {c.task: node for node, found in control.box.containers().items() for c in found}


def rest(control: Control) -> None:
    """Wait until no task is on its way."""
    for job in control.wanted:
        control.box.manager.run("cube", "wait", job, "--timeout", "60s")


def ask(control: Control, *argv: str) -> dict[str, str]:
    """What a plan says: which tasks move where. It leaves nothing without a place."""
    outcome = json.loads(control.box.manager.run(*argv, "-o", "json").stdout)
    assert outcome["settled"]
    return {move["task"]: move["after"] for move in outcome["moves"]}


def moved(control: Control, before: dict[str, str]) -> dict[str, str]:
    """Which tasks are where they were not."""
    return {task: node for task, node in places(control).items() if before[task] != node}


@pytest.mark.parametrize("node", ["node-2", "node-3"])
def test_a_drain_moves_what_its_plan_says(control, node):
    """The second one finds a node that is empty, and what the first one has measured."""
    before = places(control)
    said = ask(control, "cube", "node", "drain", node, "--plan")
    assert set(said) == {task for task, where in before.items() if where == node}
    assert len(said) >= 3
    assert places(control) == before

    control.box.manager.run("cube", "node", "drain", node, "--wait", "--timeout", "90s")
    control.settle()
    assert moved(control, before) == said
    rest(control)
    control.box.manager.run("cube", "node", "enable", node)


def test_a_machine_without_power_leaves_its_tasks_to_those_that_were_named(control):
    before, node = places(control), "node-1"
    file = control.box.manager.home / "now.json"
    file.write_text(control.box.manager.run("cube", "snapshot").stdout)
    said = ask(control, "python", "-m", "sim", "what-if", str(file), "--fail", node)
    assert set(said) == {task for task, where in before.items() if where == node}
    assert len(said) >= 3

    control.box.power_off(node)
    there = {task: where for task, where in before.items() if where != node} | said
    control.watch.until(lambda: len(places(control)) == len(before), LOST_SECONDS + 10)
    assert places(control) == there
