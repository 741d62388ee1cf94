"""Differences, plans and explanations, on snapshots made by hand."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from cube.messages import NodeInfo, NodeRow, Snapshot
from cube.plan import diff, diff_job, explain, plan
from cube.policies import make_policy
from cube.spec import (
    Constraint,
    Dependency,
    GpuNeed,
    HealthCheck,
    JobSpec,
    Kind,
    Mount,
    Port,
    PortCheck,
    ReschedulePolicy,
    RestartPolicy,
    Spread,
    TaskSpec,
    Ulimit,
)
from cube.task import Job, Node, NodeState, State, Task

EPVM, ROUND_ROBIN = make_policy("epvm"), make_policy("round-robin")
WEB = TaskSpec("web", "nginx", cpu_milli=500, memory_mib=512)


def row(number: int, free_mib: int = 2048, **fields) -> NodeRow:
    name = f"node-{number + 1}"
    used = 4096 - free_mib
    info = fields.pop("info", NodeInfo(name, 4000, 4096, 1000))
    return NodeRow(number, info, fields.pop("open", True), 0, used, 0, 1, **fields)


def placed(spec: TaskSpec, index: int, node: str | None, **fields) -> Task:
    values = {"state": State.RUNNING, "phase": 1, "attempt": 1, "node": node} | fields
    return Task(f"shop/{spec.name}/{index}", 1, "shop", spec.name, str(index), 1, spec, **values)


def snapshot(rows, jobs=(), tasks=(), **fields) -> Snapshot:
    nodes = tuple(
        Node(r.info.name, NodeState.ALIVE, 0, 0, r.row, "docker", "dc1", ()) for r in rows
    )
    base = Snapshot("c", 1, 9, 5.0, "epvm", tuple(jobs), tuple(tasks), nodes, tuple(rows))
    return replace(base, **fields)


def job(*services: TaskSpec, **values) -> Job:
    return Job("shop", JobSpec("shop", services), 4, 8, 8, **values)


def only_placements(view) -> dict[str, str | None]:
    (policy,) = view["policies"]
    return {p["task"]: p["node"] for p in policy["placements"]}


# --- differences -----------------------------------------------------------------------------

OTHER = TaskSpec(
    "web",
    "nginx:2",
    Kind.BATCH,
    instances=3,
    command=("run", "it"),
    entrypoint=("sh",),
    environment=(("MODE", "slow"),),
    working_dir="/w",
    user="me",
    ports=(Port(80, 8080),),
    mounts=(Mount("tmpfs", "", "/t", size_mib=5),),
    labels=(("a", "b"),),
    stop_signal="SIGINT",
    stop_grace_seconds=3.0,
    pull_policy="never",
    init=True,
    ulimits=(Ulimit("nofile", 1, 2),),
    cap_add=("NET_ADMIN",),
    cap_drop=("ALL",),
    devices=("/dev/fuse",),
    privileged=True,
    shm_size_bytes=64,
    extra_hosts=(("db", "10.0.0.1"),),
    log_driver="json-file",
    log_options=(("max-size", "1m"),),
    healthcheck=HealthCheck(("CMD", "true")),
    check=PortCheck(80, "/health"),
    depends_on=(Dependency("db", "healthy"),),
    cpu_milli=250,
    memory_mib=64,
    disk_mib=10,
    gpu=GpuNeed(2),
    cpu_limit_milli=500,
    memory_limit_mib=128,
    constraints=(Constraint("node.name", "==", "node-1"),),
    max_per_node=1,
    spread=Spread("none"),
    on_disconnect="stop",
    restart=RestartPolicy("none"),
    reschedule=ReschedulePolicy(1),
)


@pytest.mark.parametrize("name", [f.name for f in fields(TaskSpec) if f.name != "name"])
def test_a_change_of_any_field_is_named(name):
    assert getattr(OTHER, name) != getattr(WEB, name), "give OTHER another value"
    changed = replace(WEB, **{name: getattr(OTHER, name)})
    (change,) = diff(JobSpec("shop", (WEB,)), JobSpec("shop", (changed,)))
    assert change["change"] == "changed"
    root = name.removesuffix("_milli").removesuffix("_mib").removesuffix("_seconds")
    assert change["fields"]
    assert all(f["field"].startswith(root.removesuffix("_bytes")) for f in change["fields"])


def test_services_are_created_unchanged_and_removed():
    db = TaskSpec("db", "postgres")
    changes = diff(JobSpec("shop", (WEB, db)), JobSpec("shop", (TaskSpec("new", "x"), WEB)))
    assert [(c["service"], c["change"]) for c in changes] == [
        ("new", "created"),
        ("web", "unchanged"),
        ("db", "removed"),
    ]
    assert changes[0]["fields"] == changes[1]["fields"] == []


def test_values_are_written_for_people():
    new = replace(WEB, memory_mib=1024, cpu_milli=1500, command=("sh", "-c", "echo a b"))
    (change,) = diff(JobSpec("shop", (WEB,)), JobSpec("shop", (new,)))
    assert change["fields"] == [
        {"field": "cpu", "before": "0.5", "after": "1.5"},
        {"field": "memory", "before": "512 MiB", "after": "1024 MiB"},
        {"field": "command", "before": None, "after": "sh -c 'echo a b'"},
    ]


def test_a_changed_secret_is_told_but_not_shown():
    old = replace(WEB, environment=(("API_TOKEN", "first"), ("DB", "pg://u:one@h/d")))
    new = replace(WEB, environment=(("API_TOKEN", "second"), ("DB", "pg://u:two@h/d")))
    (change,) = diff(JobSpec("shop", (old,)), JobSpec("shop", (new,)))
    assert [f["field"] for f in change["fields"]] == ["environment.API_TOKEN", "environment.DB"]
    text = json.dumps(change)
    assert not any(secret in text for secret in ("first", "second", "one", "two"))


def test_a_secret_in_a_command_is_masked():
    new = replace(WEB, command=("serve", "--password=hunter2", "--mode=x"))
    (change,) = diff(JobSpec("shop", (WEB,)), JobSpec("shop", (new,)))
    assert change["fields"][0]["after"] == "serve '--password=********' --mode=x"


def test_a_job_changes_apart_from_its_services():
    old = JobSpec("shop", (WEB,))
    assert diff_job(old, replace(old, priority=70, datacenters=("dc2",))) == [
        {"field": "priority", "before": "50", "after": "70"},
        {"field": "datacenters", "before": "", "after": "dc2"},
    ]
    assert diff_job(None, old) == []


# --- plans -----------------------------------------------------------------------------------


def test_a_new_job_is_planned_under_each_policy():
    rows = [row(0, 1000), row(1, 3000), row(2, 2000)]
    spec = JobSpec("shop", (replace(WEB, instances=3),))
    view = plan(snapshot(rows), spec, [EPVM, make_policy("best-fit")])
    assert view["has_changes"]
    assert view["version"] == 0
    assert [p["policy"] for p in view["policies"]] == ["epvm", "best-fit"]
    for policy in view["policies"]:
        assert (policy["placed"], policy["pending"]) == (3, 0)
        nodes = {p["node"] for p in policy["placements"]}
        assert nodes == {"node-1", "node-2", "node-3"}, "instances spread first"


def test_what_does_not_fit_says_so():
    big = JobSpec("shop", (replace(WEB, instances=2, memory_mib=1500),))
    view = plan(snapshot([row(0, 2000), row(1, 900)]), big, [EPVM])
    first, second = view["policies"][0]["placements"]
    assert (first["node"], second["node"]) == ("node-1", None)
    assert "1500 MiB memory" in second["reason"]
    assert "node-2, has 900 MiB" in second["reason"]


def test_the_same_again_changes_nothing():
    tasks = [placed(WEB, 1, "node-1")]
    view = plan(snapshot([row(0)], [job(WEB)], tasks), JobSpec("shop", (WEB,)), [EPVM])
    assert not view["has_changes"]
    assert view["text"] == "shop is unchanged"
    assert only_placements(view) == {}


def test_a_replaced_instance_first_gives_back_what_it_holds():
    full = replace(WEB, memory_mib=2048)
    rows = [replace(row(0, 0), memory_used_mib=4096, cpu_used_milli=1000, tasks=2)]
    both = replace(full, instances=2)
    tasks = [placed(both, 1, "node-1"), placed(both, 2, "node-1")]
    new = replace(both, image="nginx:2")
    view = plan(snapshot(rows, [job(both)], tasks), JobSpec("shop", (new,)), [EPVM])
    assert only_placements(view) == {"shop/web/1": "node-1", "shop/web/2": "node-1"}


def test_a_vanished_service_makes_room():
    old = replace(WEB, memory_mib=4000)
    rows = [replace(row(0), memory_used_mib=4000, cpu_used_milli=500)]
    new = TaskSpec("api", "img", memory_mib=4000)
    state = snapshot(rows, [job(old)], [placed(old, 1, "node-1")])
    view = plan(state, JobSpec("shop", (new,)), [EPVM])
    assert [(s["service"], s["change"]) for s in view["services"]] == [
        ("api", "created"),
        ("web", "removed"),
    ]
    assert only_placements(view) == {"shop/api/1": "node-1"}


def test_a_replaced_instance_counts_for_spread_only_where_it_goes():
    spec = replace(WEB, instances=2)
    rows = [replace(row(i), cpu_used_milli=500, memory_used_mib=512, tasks=1) for i in range(2)]
    tasks = [placed(spec, 1, "node-1"), placed(spec, 2, "node-2")]
    new = replace(spec, image="nginx:2")
    view = plan(snapshot(rows, [job(spec)], tasks), JobSpec("shop", (new,)), [EPVM])
    assert only_placements(view) == {"shop/web/1": "node-1", "shop/web/2": "node-2"}


def test_a_global_service_has_one_task_per_node():
    agent = TaskSpec("agent", "img", Kind.GLOBAL)
    view = plan(snapshot([row(0), row(1, open=False)]), JobSpec("shop", (agent,)), [EPVM])
    assert only_placements(view) == {"shop/agent/node-1": "node-1", "shop/agent/node-2": None}


def test_data_ties_a_task_to_its_node():
    db = TaskSpec("db", "pg", mounts=(Mount("volume", "data", "/d"),))
    state = snapshot([row(0), row(1)], volumes=(("shop_data", "node-2"),))
    assert only_placements(plan(state, JobSpec("shop", (db,)), [EPVM])) == {"shop/db/1": "node-2"}


def test_data_on_a_lost_node_keeps_a_task_waiting():
    db = TaskSpec("db", "pg", mounts=(Mount("volume", "data", "/d"),))
    state = snapshot([row(0), row(1, open=False)], volumes=(("shop_data", "node-2"),))
    nodes = (state.nodes[0], replace(state.nodes[1], state=NodeState.LOST))
    view = plan(replace(state, nodes=nodes), JobSpec("shop", (db,)), [EPVM])
    (placement,) = view["policies"][0]["placements"]
    assert placement["node"] is None
    assert placement["decision"] is None
    assert placement["reason"] == "volume shop_data is on node-2, lost"


def test_two_services_on_one_new_volume_go_to_one_node():
    mount = (Mount("volume", "data", "/d"),)
    spec = JobSpec("shop", (TaskSpec("a", "x", mounts=mount), TaskSpec("b", "x", mounts=mount)))
    places = only_placements(plan(snapshot([row(0), row(1)]), spec, [ROUND_ROBIN]))
    assert places["shop/a/1"] == places["shop/b/1"]


def test_a_name_of_another_file_is_a_conflict():
    state = snapshot([row(0)], [job(WEB)], [placed(WEB, 1, "node-1")])
    view = plan(state, JobSpec("shop", (WEB,), source="/other/compose.yaml"), [EPVM])
    assert "belongs to a job from" in view["conflict"]
    assert view["policies"] == []
    assert not view["has_changes"]
    ended = snapshot([row(0)], [job(WEB, stopped=True)], [])
    assert plan(ended, JobSpec("shop", (WEB,), source="/other"), [EPVM])["conflict"] == ""


def test_finished_batch_tasks_run_again_only_when_asked():
    report = TaskSpec("report", "x", Kind.BATCH)
    done = placed(report, 1, "node-1", state=State.COMPLETED)
    state = snapshot([row(0)], [job(report)], [replace(done, node=None)])
    spec = JobSpec("shop", (report,))
    assert not plan(state, spec, [EPVM])["has_changes"]
    again = plan(state, spec, [EPVM], again=True)
    assert again["services"][0]["change"] == "restarted"
    assert only_placements(again) == {"shop/report/1": "node-1"}


def test_a_policy_that_raises_is_told():
    view = plan(snapshot([row(0)]), JobSpec("shop", (WEB,)), [make_policy(f"{__name__}:broken")])
    (policy,) = view["policies"]
    assert policy["pending"] == 1
    assert "ZeroDivisionError" in policy["error"]


def broken(fleet, task, rows):
    return 1 / 0


# --- explanations ----------------------------------------------------------------------------


def test_explain_decides_anew_without_what_the_task_holds():
    rows = [replace(row(0), memory_used_mib=4096, cpu_used_milli=500), row(1, 100)]
    big = replace(WEB, memory_mib=4096)
    task = placed(big, 1, "node-1")
    view = explain(snapshot(rows, [job(big)], [task]), task, EPVM)
    now = view["now"]
    assert now["decision"]["node"] == "node-1"
    first, second = now["verdicts"]
    assert (first["node"], first["picked"], first["feasible"]) == ("node-1", True, True)
    assert first["score"] == now["decision"]["score"]
    assert second["rejections"][0]["text"] == "needs 4096 MiB memory; node-2 has 100 MiB free"


def test_explain_says_for_each_node_which_filter_rejected_it():
    ssd = NodeInfo("node-1", 4000, 4096, 1000, labels=(("disk", "ssd"),))
    rows = [
        row(0, info=ssd, ports=((8080, "tcp"),)),
        row(1),
        row(2, info=replace(ssd, name="node-3"), open=False),
    ]
    constraint = Constraint("node.labels.disk", "==", "ssd")
    spec = replace(WEB, constraints=(constraint,), ports=(Port(80, 8080),))
    task = placed(spec, 1, None, state=State.PENDING)
    view = explain(snapshot(rows, [job(spec)], [task]), task, EPVM)
    verdicts = {v["node"]: [r["text"] for r in v["rejections"]] for v in view["now"]["verdicts"]}
    assert verdicts == {
        "node-1": ["port 8080/tcp is in use on 1 node"],
        "node-2": ["1 node fails constraint node.labels.disk == ssd"],
        "node-3": ["1 node is not accepting tasks"],
    }
    assert view["now"]["decision"]["node"] is None


def test_explain_of_a_tied_task_rejects_the_other_nodes():
    agent = TaskSpec("agent", "img", Kind.GLOBAL)
    task = Task("shop/agent/node-2", 1, "shop", "agent", "node-2", 1, agent)
    view = explain(snapshot([row(0), row(1)], [job(agent)], [task]), task, EPVM)
    fits = {v["node"]: v["feasible"] for v in view["now"]["verdicts"]}
    assert fits == {"node-1": False, "node-2": True}


def test_explain_changes_nothing_and_needs_no_policy():
    task = placed(WEB, 1, "node-1")
    state = snapshot([replace(row(0), cpu_used_milli=500)], [job(WEB)], [task])
    assert explain(state, task)["now"] is None
    assert explain(state, task, EPVM) == explain(state, task, EPVM)


def test_explain_tells_of_every_node_that_the_policy_fails_on():
    task = placed(WEB, 1, None, state=State.PENDING)
    fails = make_policy(f"{__name__}:broken")
    now = explain(snapshot([row(0), row(1)], [job(WEB)], [task]), task, fails)["now"]
    texts = [r["text"] for v in now["verdicts"] for r in v["rejections"]]
    assert texts == [now["decision"]["error"]] * 2
    assert f"broken raised ZeroDivisionError: division by zero ({__file__}:" in texts[0]


# --- jobs that are kept together -------------------------------------------------------------

DB = TaskSpec("db", "postgres", cpu_milli=500, memory_mib=1024)


def test_a_job_that_is_kept_together_is_planned_for_one_node():
    spec = JobSpec("shop", (replace(WEB, instances=2), DB), together=True)
    rows = [row(0, 2000), row(1, 2048), row(2, 1000)]
    assert set(only_placements(plan(snapshot(rows), spec, [EPVM])).values()) == {"node-2"}
    view = plan(snapshot([row(0, 2000), row(1, 900)]), spec, [EPVM])
    (policy,) = view["policies"]
    assert [p["node"] for p in policy["placements"]] == [None] * 3
    assert policy["placements"][0]["reason"] == (
        "no node takes its whole job, which is kept together: needs 2048 MiB memory; the best of 2"
        " nodes, node-1, has 2000 MiB free"
    )


def test_more_of_a_job_that_is_kept_together_is_planned_where_it_is():
    rows = [row(0, 600), row(1, 4096)]
    old = replace(job(WEB, DB), spec=JobSpec("shop", (WEB, DB), together=True))
    tasks = [placed(WEB, 1, "node-1"), placed(DB, 1, "node-1")]
    new = replace(old.spec, services=(replace(WEB, instances=3), DB))
    view = plan(snapshot(rows, [old], tasks), new, [EPVM])
    assert only_placements(view) == {"shop/web/2": "node-1", "shop/web/3": None}
    reason = view["policies"][0]["placements"][1]["reason"]
    assert reason == "is kept with its job on node-1; needs 512 MiB memory; node-1 has 88 MiB free"


def test_a_job_that_becomes_together_is_a_change():
    old = JobSpec("shop", (WEB,))
    assert diff_job(old, replace(old, together=True)) == [
        {"field": "together", "before": "false", "after": "true"}
    ]


def test_data_of_one_service_ties_the_plan_of_all():
    data = replace(DB, mounts=(Mount("volume", "data", "/d"),))
    spec = JobSpec("shop", (WEB, data), together=True)
    rows = [row(0, 4096), row(1, 2048)]
    state = snapshot(rows, volumes=(("shop_data", "node-2"),))
    assert set(only_placements(plan(state, spec, [EPVM])).values()) == {"node-2"}


def test_explain_says_of_each_node_whether_it_takes_the_whole_job():
    old = replace(job(WEB, DB), spec=JobSpec("shop", (WEB, DB), together=True))
    tasks = [placed(s, 1, None, state=State.PENDING) for s in (WEB, DB)]
    view = explain(snapshot([row(0, 1600), row(1, 1100)], [old], tasks), tasks[0], EPVM)
    now = view["now"]
    assert now["decision"]["node"] == "node-1"
    assert now["decision"]["text"].endswith("with its whole job, which is kept together")
    texts = {v["node"]: [r["text"] for r in v["rejections"]] for v in now["verdicts"]}
    assert texts == {
        "node-1": [],
        "node-2": ["needs 1536 MiB memory; node-2 has 1100 MiB free"],
    }


def test_explain_of_a_task_whose_job_is_on_a_node_tells_that():
    old = replace(job(WEB, DB), spec=JobSpec("shop", (WEB, DB), together=True))
    tasks = [placed(WEB, 1, "node-2"), placed(DB, 1, None, state=State.PENDING)]
    rows = [row(0), replace(row(1), memory_used_mib=4096)]
    now = explain(snapshot(rows, [old], tasks), tasks[1], EPVM)["now"]
    texts = {v["node"]: [r["text"] for r in v["rejections"]] for v in now["verdicts"]}
    assert texts == {
        "node-1": ["is kept with its job on node-2"],
        "node-2": ["needs 1024 MiB memory; node-2 has 0 MiB free"],
    }
