"""What users are shown, made from real records; every view keeps to its declared shape."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic import ConfigDict, TypeAdapter, with_config

from cube.messages import Fact, NodeInfo, NodeRow, Phase, Snapshot
from cube.spec import Constraint, HealthCheck, JobSpec, Kind, Mount, Port, TaskSpec
from cube.task import Decision, Event, HostPort, Job, Node, NodeState, Rejection, State, Task
from cube.views import (
    ClusterView,
    EventView,
    JobView,
    NodeView,
    RecoveryView,
    TaskView,
)
from cube.views.cluster import show_cluster, show_nodes, show_recovery
from cube.views.jobs import job_state, show_job, show_jobs, show_tasks
from cube.views.show import natural, show_event, show_task, show_time

WEB = TaskSpec(
    "web",
    "nginx",
    instances=2,
    environment=(("MODE", "fast"), ("DB_PASSWORD", "hunter2"), ("URL", "http://me:pw@db/x")),
    ports=(Port(80), Port(443, 8443)),
    mounts=(Mount("volume", "data", "/data"), Mount("bind", "/etc/x", "/x", read_only=True)),
    constraints=(Constraint("node.labels.disk", "==", "ssd"),),
)
REPORT = TaskSpec("report", "busybox", Kind.BATCH)
JOB = Job("shop", JobSpec("shop", (WEB, REPORT)), 3, 40, 38)
INFO = NodeInfo("node-1", 4000, 8192, 1000, labels=(("disk", "ssd"), ("api_key", "abc")))


def task(spec: TaskSpec = WEB, index: int = 1, **fields) -> Task:
    fields = {"state": State.RUNNING, "phase": 1, "attempt": 1, "node": "node-1"} | fields
    return Task(f"shop/{spec.name}/{index}", 1, "shop", spec.name, str(index), 3, spec, **fields)


DONE = task(REPORT, state=State.COMPLETED, phase=2, node=None, exit_code=0)


def snapshot(*tasks: Task, **fields) -> Snapshot:
    nodes = (
        Node("node-1", NodeState.ALIVE, 1.0, 2.0, 0, "docker", "dc1", INFO.labels),
        Node("node-2", NodeState.LOST, 1.5, 1.0, -1, "", "", ()),
    )
    rows = (NodeRow(0, INFO, True, 1500, 1024, 0, 2, 700, ((8443, "tcp"),)),)
    base = Snapshot("c1", 2, 41, 3.0, "epvm", (JOB,), tasks, nodes, rows)
    return replace(base, **fields)


def strictly(shape, value) -> None:
    """Exactly the keys and types that the shape declares, and writable as JSON."""
    strict = with_config(ConfigDict(extra="forbid", strict=True))
    adapter = TypeAdapter(strict(shape) if isinstance(shape, type) else shape)
    assert adapter.validate_python(value) == value
    json.dumps(value, allow_nan=False)


def test_times_are_rfc_3339_in_utc():
    assert show_time(0.0) == "1970-01-01T00:00:00.000Z"
    assert show_time(1700000000.1239) == "2023-11-14T22:13:20.123Z"


def test_every_view_has_its_declared_shape():
    placed = Decision("u", 0, "node-1", "epvm", 0.25, (("node-2", 0.5),), (), 2)
    unplaced = Decision("u", None, policy="epvm", rejections=(Rejection("closed", 2),))
    everything = snapshot(
        task(decision=placed, ports=(HostPort(80, 32768, "tcp"),), handle="abc", healthy=True),
        task(index=2, state=State.PENDING, node=None, not_before=9.0, decision=unplaced),
        DONE,
        unknown=(("node-1", Fact("x/y/1@5", 1, 0, Phase.RUNNING, handle="q", size=(1, 2, 3))),),
    )
    strictly(ClusterView, show_cluster(everything))
    for node in show_nodes(everything):
        strictly(NodeView, node)
    for job in show_jobs(everything):
        strictly(JobView, job)
    for one in show_tasks(everything):
        strictly(TaskView, one)
    strictly(RecoveryView, show_recovery(everything))
    strictly(EventView, show_event(Event(1, 2.0, "job.submitted", "text", "shop")))


def test_secrets_are_masked():
    text = json.dumps([show_jobs(snapshot()), show_nodes(snapshot())])
    assert "hunter2" not in text
    assert "me:pw@" not in text
    assert '"abc"' not in text  # a label named like a key
    (job,) = show_jobs(snapshot())
    assert job["services"][0]["environment"]["MODE"] == "fast"
    assert job["services"][0]["environment"]["DB_PASSWORD"] == "********"


def test_a_service_is_shown_as_people_write_it():
    web = show_job(JOB, [task(), task(index=2)])["services"][0]
    assert web["volumes"] == ["data:/data", "/etc/x:/x:ro"]
    assert web["constraints"] == ["node.labels.disk == ssd"]
    assert [p["host"] for p in web["ports"]] == [None, 8443]
    assert web["states"] == {"running": 2}
    assert web["ready"] == web["instances"] == 2


def test_published_ports_replace_the_asked_ones_once_known():
    assert show_task(task())["ports"][0] == {"container": 80, "host": None, "protocol": "tcp"}
    known = show_task(task(ports=(HostPort(80, 32768, "tcp"),)))
    assert known["ports"] == [{"container": 80, "host": 32768, "protocol": "tcp"}]


def test_a_waiting_task_says_what_it_lacks():
    rejections = (Rejection("memory", 12, 4096, 3276, "node-7"),)
    waiting = task(
        state=State.PENDING, node=None, decision=Decision("u", None, rejections=rejections)
    )
    assert show_task(waiting)["reason"] == (
        "needs 4096 MiB memory; the best of 12 nodes, node-7, has 3276 MiB free"
    )
    assert show_task(replace(waiting, reason="waits for db"))["reason"] == "waits for db"


def test_a_failed_policy_is_told_as_such():
    failed = Decision("u", None, policy="mine", error="policy mine raised KeyError: 'x'")
    view = show_task(task(state=State.PENDING, node=None, decision=failed))
    assert view["decision"]["text"] == "policy mine raised KeyError: 'x'"
    assert view["decision"]["score"] is None


@pytest.mark.parametrize(
    ("fields", "ready", "restarting"),
    [
        ({}, True, False),
        ({"healthy": False}, False, False),
        ({"phase": 2, "retry_at": 9.0}, False, True),
        ({"state": State.SCHEDULED, "phase": 0}, False, False),
        ({"state": State.STOPPING}, False, False),
        ({"spec": replace(WEB, healthcheck=HealthCheck(("CMD", "true")))}, False, False),
        (
            {"spec": replace(WEB, healthcheck=HealthCheck(("CMD", "true"))), "healthy": True},
            True,
            False,
        ),
    ],
)
def test_ready_is_running_and_healthy_where_checked(fields, ready, restarting):
    view = show_task(replace(task(), **fields))
    assert (view["ready"], view["restarting"]) == (ready, restarting)


OLD = replace(WEB, image="nginx:old")
FAILED = task(index=2, state=State.FAILED, node=None, reason="exited 3")


@pytest.mark.parametrize(
    ("state", "tasks", "fields"),
    [
        ("running", [task(), task(index=2), DONE], {}),
        ("pending", [task(), task(index=2, state=State.PENDING, node=None), DONE], {}),
        ("pending", [], {}),
        ("starting", [task(), task(index=2, state=State.SCHEDULED, phase=0), DONE], {}),
        ("starting", [task(), task(index=2, phase=2, retry_at=9.0), DONE], {}),
        ("updating", [task(), task(OLD, 2), DONE], {}),
        ("updating", [task(), task(index=2), task(index=3), DONE], {}),
        ("halted", [task(), task(OLD, 2), DONE], {"halted": "web did not come up"}),
        ("degraded", [task(), FAILED, DONE], {}),
        ("failed", [replace(FAILED, id="shop/web/1"), FAILED, DONE], {}),
        ("completed", [DONE], {}),
        ("stopping", [task(), DONE], {"stopped": True}),
        ("stopped", [task(state=State.STOPPED), DONE], {"stopped": True}),
        ("stopped", [task(state=State.STOPPED), DONE], {}),
    ],
)
def test_a_job_in_one_word(state, tasks, fields):
    job = replace(JOB, **fields)
    assert job_state(job, tasks) == state
    assert show_job(job, tasks)["ready"] == (state in ("running", "completed"))


def test_a_job_says_which_task_holds_it_up():
    waiting = task(index=10, state=State.PENDING, node=None, reason="waits for db")
    other = task(index=2, state=State.PENDING, node=None, reason="no room")
    assert show_job(JOB, [waiting, other])["reason"] == "shop/web/2: no room"


def test_a_node_that_never_reported_offers_nothing():
    one, two = show_nodes(snapshot())
    assert one["free"] == {
        "cpu_milli": 2500,
        "memory_mib": 7168,
        "disk_mib": 1000,
        "gpu_milli": 0,
    }
    assert one["ports"] == ["8443/tcp"]
    assert two["state"] == "lost"
    assert not two["open"]
    assert two["capacity"]["cpu_milli"] == 0


def test_the_cluster_counts_only_nodes_that_take_tasks():
    view = show_cluster(snapshot(task(), DONE))
    assert view["nodes"] == {"alive": 1, "lost": 1}
    assert view["tasks"] == {"running": 1, "completed": 1}
    assert view["capacity"]["memory_mib"] == 8192
    closed = replace(snapshot().rows[0], open=False)
    assert show_cluster(snapshot(rows=(closed,)))["capacity"]["memory_mib"] == 0


def test_unknown_containers_are_listed_without_incarnation():
    fact = Fact("old/web/2@17", 1, 0, Phase.ENDED, handle="abc", size=(100, 128, 0))
    (unknown,) = show_recovery(snapshot(unknown=(("node-1", fact),)))["unknown"]
    assert (unknown["task"], unknown["state"], unknown["container"]) == (
        "old/web/2",
        "ended",
        "abc",
    )


def test_names_sort_as_people_count():
    names = ["web/10", "web/2", "node-10", "node-9", "web/node-3"]
    assert sorted(names, key=natural) == ["node-9", "node-10", "web/node-3", "web/2", "web/10"]


def test_a_job_of_which_a_part_was_stopped_is_degraded():
    stopped = task(state=State.STOPPED, node=None, reason="stopped by a user")
    view = show_job(JOB, [stopped, task(index=2), DONE])
    assert (view["state"], view["ready"]) == ("degraded", False)
    assert view["reason"] == "shop/web/1: stopped by a user"
    assert show_job(JOB, [task(), task(index=2), DONE])["state"] == "running"
