"""Where services are reached, as users are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cube.cli import tables
from cube.messages import NodeInfo, NodeRow, Snapshot
from cube.spec import HealthCheck, JobSpec, Port, TaskSpec
from cube.task import HostPort, Job, State, Task
from cube.views.endpoints import show_endpoints

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
