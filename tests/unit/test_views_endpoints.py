"""Where services are reached, as users are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cube.cli import tables
from cube.messages import NodeInfo, NodeRow, Snapshot
from cube.spec import HealthCheck, JobSpec, Port, TaskSpec
from cube.task import HostPort, Job, Node, NodeState, State, Task
from cube.views.endpoints import reached, show_endpoints

WEB = TaskSpec("web", "busybox", ports=(Port(80),), instances=2)
DB = TaskSpec("db", "busybox")


def task(spec: TaskSpec, index: int, node: str, *ports: HostPort, **fields: object) -> Task:
    made = Task(f"shop/{spec.name}/{index}", 1, "shop", spec.name, str(index), 1, spec)
    return replace(made, state=State.RUNNING, phase=1, attempt=1, node=node, ports=ports, **fields)


def snapshot(*tasks: Task, web: TaskSpec = WEB) -> Snapshot:
    jobs = (
        Job("shop", JobSpec("shop", (web, DB)), 1, 1, 1),
        Job("bare", JobSpec("bare", (DB,)), 1, 1, 1),
    )
    addresses = ("10.0.0.1:7443", "[fd00::2]:7443", "")
    rows = tuple(
        NodeRow(i, NodeInfo(f"node-{i + 1}", 1, 1, 1, address=a), True)
        for i, a in enumerate(addresses)
    )
    return Snapshot("c", 1, 1, 0.0, "epvm", jobs, tasks, (), rows)


def rows(seen: Snapshot, job: str | None = None) -> list[tuple[object, ...]]:
    return tables.endpoint_rows(show_endpoints(seen, job))


@pytest.mark.parametrize(
    ("node", "host"), [("node-1", "10.0.0.1"), ("node-2", "[fd00::2]"), ("node-3", "127.0.0.1")]
)
def test_a_published_port_is_reached_at_its_node(node: str, host: str) -> None:
    seen = snapshot(task(WEB, 1, node, HostPort(80, 32768, "tcp")))
    assert rows(seen, "shop") == [
        ("shop/web", "1/1", f"{host}:32768", "80/tcp", "shop/web/1", node, "running"),
        ("shop/db", "0/0", "", "", "", "", ""),
    ]


def test_health_is_told_and_who_has_ended_is_not() -> None:
    checked = replace(WEB, healthcheck=HealthCheck(("CMD", "true")))
    port = HostPort(80, 8080, "tcp")
    seen = snapshot(
        task(checked, 10, "node-1", port, healthy=False),
        task(checked, 2, "node-1", port, healthy=True),
        task(checked, 3, "node-1", port),
        replace(task(checked, 4, "node-1", port), state=State.STOPPED),
        replace(task(checked, 5, "node-1"), state=State.PENDING, node=None),
        web=checked,
    )
    found = [(r[1], r[4], r[6]) for r in rows(seen, "shop")]
    assert found == [
        ("1/4", "shop/web/2", "healthy"),
        ("1/4", "shop/web/3", "not ready"),
        ("1/4", "shop/web/10", "unhealthy"),
        ("0/0", "", ""),
    ]


def test_jobs_come_by_name() -> None:
    assert [r[0] for r in rows(snapshot())] == ["bare/db", "shop/web", "shop/db"]


SAME = replace(WEB, ports=(Port(80, 80),))


def reached_at(*tasks: Task, silent: tuple[str, ...] = ()) -> list[str]:
    states = {f"node-{i}": NodeState.ALIVE for i in (1, 2, 3)} | dict.fromkeys(
        silent, NodeState.SUSPECT
    )
    nodes = tuple(
        Node(name, state, 0.0, 0.0, 0, "docker", "dc1", ()) for name, state in states.items()
    )
    return reached(replace(snapshot(*tasks, web=SAME), nodes=nodes))["shop"]["web"]


def test_containers_elsewhere_reach_what_is_published_under_its_own_number() -> None:
    same, other = HostPort(80, 80, "tcp"), HostPort(80, 32768, "tcp")
    assert reached(snapshot(web=SAME)) == {"shop": {"web": [], "db": []}, "bare": {"db": []}}
    assert reached_at(task(SAME, 1, "node-1", same), task(SAME, 2, "node-2", same)) == [
        "10.0.0.1",
        "fd00::2",
    ]
    assert reached_at(task(WEB, 1, "node-1", other)) == []
    assert reached_at(task(SAME, 1, "node-1", same, healthy=False)) == []
    assert reached_at(task(SAME, 1, "node-3", same)) == []  # nobody knows its address
    here = replace(WEB, ports=(Port(80, 80, host_ip="127.0.0.1"),))
    assert reached_at(task(here, 1, "node-1", same)) == []
    there = replace(WEB, ports=(Port(80, 80, host_ip="10.9.9.9"),))
    assert reached_at(task(there, 1, "node-1", same)) == ["10.9.9.9"]


def test_silent_nodes_are_reached_only_if_there_are_no_others() -> None:
    port = HostPort(80, 80, "tcp")
    both = task(SAME, 1, "node-1", port), task(SAME, 2, "node-2", port)
    assert reached_at(*both, silent=("node-1",)) == ["fd00::2"]
    assert reached_at(*both, silent=("node-1", "node-2")) == ["10.0.0.1", "fd00::2"]
