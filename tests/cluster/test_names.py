"""Containers find services on other machines by their names, whoever is away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cube.spec import Constraint, JobSpec, Port
from tests.cluster.control import Control, controlled
from tests.cluster.jobs import service

SERVES = ("sh", "-c", "hostname >index.html; exec httpd -f -p 8080")


@pytest.fixture(scope="module")
def control(box) -> Iterator[Control]:
    """A service on each of two nodes, and somebody on the third who wants to reach them."""
    with controlled(box) as made:
        caller = service("caller", constraints=(Constraint("node.name", "==", "node-1"),))
        api = service(
            "api",
            2,
            command=SERVES,
            working_dir="/tmp",
            ports=(Port(8080, 8080),),
            constraints=(Constraint("node.name", "!=", "node-1"),),
        )
        made.submit(JobSpec("shop", (api, caller)))
        made.submit(JobSpec("bank", (caller,)))
        made.settle()
        yield made


def resolved(control: Control, job: str, name: str) -> set[str]:
    """The addresses that a caller gets."""
    said = call(control, job, "nslookup", "-type=a", name)
    return {line.split()[-1] for line in said.splitlines()[3:] if line.startswith("Address")}


def call(control: Control, job: str, *command: str) -> str:
    [caller] = [c.id for c in control.on("node-1") if c.task == f"{job}/caller/1"]
    return control.box.nodes["node-1"].run("docker", "exec", caller, *command, check=False).stdout


def until(control: Control, name: str, *nodes: str) -> None:
    wanted = {control.box.address(node) for node in nodes}
    control.watch.until(lambda: resolved(control, "shop", name) == wanted)


def test_a_service_elsewhere_is_reached_by_its_name(control):
    until(control, "api", "node-2", "node-3")
    names = [c.id[:12] for node in ("node-2", "node-3") for c in control.on(node)]
    assert call(control, "shop", "wget", "-qO-", "http://api:8080/").strip() in names
    assert call(control, "bank", "wget", "-qO-", "http://api.shop.cube:8080/").strip() in names
    assert resolved(control, "bank", "api") == set()


def test_names_outlive_the_manager_and_the_worker(control):
    until(control, "api.shop.cube", "node-2", "node-3")
    control.kill_manager()
    control.kill_worker("node-1")
    control.start_workers("node-1")
    until(control, "api", "node-2", "node-3")
    control.start_manager()
    control.settle()


def test_who_is_silent_is_not_answered(control):
    control.box.cut("node-3")
    until(control, "api", "node-2")
    control.box.mend("node-3")
    until(control, "api", "node-2", "node-3")
    control.settle()
