"""Jobs, plans and explanations through the API and its client."""

from __future__ import annotations

import json

from pydantic import TypeAdapter

import cube.views
from cube.spec import JobSpec, Mount
from tests.api.asking import fails, service, states
from tests.waiting import wait


def test_a_job_from_submit_to_removal(client, name):
    answer = client.submit(JobSpec(name, (service(instances=2),)))
    assert (answer["status"], answer["version"]) == ("created", 1)
    assert [c["change"] for c in answer["changes"]] == ["created"]
    wait(client, lambda: states(client, name) == ["running"] * 2)
    assert client.job(name)["state"] == "running"
    assert client.submit(JobSpec(name, (service(instances=2),)))["status"] == "unchanged"
    assert client.stop(name)["status"] == "ok"
    wait(client, lambda: client.job(name)["state"] == "stopped")
    assert client.stop(name)["status"] == "unchanged"
    client.remove(name)
    assert name not in [job["name"] for job in client.jobs()]


def test_a_change_is_told_per_service_with_secrets_masked(client, name):
    before = service(environment=(("PASSWORD", "one"),))
    client.submit(JobSpec(name, (before, service("db"))))
    answer = client.submit(JobSpec(name, (service(environment=(("PASSWORD", "two"),)),)))
    assert answer["status"] == "changed"
    assert answer["version"] == 2
    assert {c["service"]: c["change"] for c in answer["changes"]} == {
        "web": "changed",
        "db": "removed",
    }
    assert '"two"' not in json.dumps([answer, client.job(name), client.tasks(name)])


def test_a_repeated_request_gets_the_first_answer(client, name):
    job = JobSpec(name, (service(),))
    first = client.submit(job, request=f"same-{name}")
    again = client.submit(job, request=f"same-{name}")
    assert (again["status"], again["version"]) == (first["status"], 1)
    assert client.job(name)["version"] == 1


def test_everything_has_its_declared_shape(client, raw, name):
    client.submit(JobSpec(name, (service(), service("big", memory_mib=99_999))))
    wait(client, lambda: sorted(states(client, name)) == ["pending", "running"])
    paths = {
        "/v1/cluster": cube.views.ClusterView,
        "/v1/jobs": list[cube.views.JobView],
        f"/v1/jobs/{name}": cube.views.JobView,
        "/v1/tasks": list[cube.views.TaskView],
        f"/v1/tasks/{name}/web/1": cube.views.TaskView,
        "/v1/nodes": list[cube.views.NodeView],
        "/v1/events": list[cube.views.EventView],
        "/v1/recovery": cube.views.RecoveryView,
        f"/v1/explain/{name}/web/1": cube.views.ExplainView,
        f"/v1/explain/{name}/big/1?now=1": cube.views.ExplainView,
    }
    for path, shape in paths.items():
        body = raw.get(path).raise_for_status().json()
        assert TypeAdapter(shape).validate_python(body) == body, path


def test_what_does_not_fit_is_explained(client, name):
    client.submit(JobSpec(name, (service("big", memory_mib=99_999),)))
    wait(client, lambda: client.task(f"{name}/big/1")["decision"] is not None)
    view = client.explain(f"{name}/big/1", now=True)
    (rejection,) = view["decision"]["rejections"]
    assert (rejection["reason"], rejection["need"], rejection["nodes"]) == ("memory", 99_999, 3)
    assert not any(v["feasible"] for v in view["now"]["verdicts"])


def test_a_plan_changes_nothing(client, name):
    revision = client.cluster()["revision"]
    view = client.plan(JobSpec(name, (service(instances=4),)), ["epvm", "round-robin", "random"])
    assert [p["placed"] for p in view["policies"]] == [4, 4, 4]
    assert client.cluster()["revision"] == revision
    (own,) = client.plan(JobSpec(name, (service(),)))["policies"]
    assert own["policy"] == client.cluster()["policy"]


def test_a_plan_comes_true(client, name):
    new = JobSpec(name, (service(instances=4, memory_mib=700), service("big", memory_mib=99_999)))
    (planned,) = client.plan(new)["policies"]
    client.submit(new)
    wait(client, lambda: states(client, name).count("running") == 4)
    placed = {task["id"]: task["node"] for task in client.tasks(name)}
    assert placed == {p["task"]: p["node"] for p in planned["placements"]}


def test_recovery_has_nothing_to_do(client):
    assert client.recovery()["unknown"] == []
    assert client.recover("remove")["status"] == "ok"


def test_scaling_restarting_and_rolling_back(client, name):
    client.submit(JobSpec(name, (service(user="one", instances=2),)))
    wait(client, lambda: states(client, name) == ["running"] * 2)
    answer = client.scale(name, {"web": 3})
    assert (answer["status"], answer["version"]) == ("changed", 2)
    assert [(c["instances_before"], c["instances_after"]) for c in answer["changes"]] == [(2, 3)]
    wait(client, lambda: client.job(name)["ready"])
    assert client.restart(f"{name}/web/2")["text"].endswith(
        "restarting 1 task, one after the other"
    )
    wait(client, lambda: [t["attempt"] for t in client.tasks(name)] == [1, 2, 1])
    client.submit(JobSpec(name, (service(user="two"),)))
    answer = client.rollback(name)
    assert answer["text"] == f"{name} version 4 changed: as version 2"
    assert [c["instances_after"] for c in answer["changes"]] == [3]
    assert client.job(name)["services"][0]["instances"] == 3


def test_what_cannot_be_scaled_rolled_back_or_recovered(client, name):
    data = service(mounts=(Mount("volume", "data", "/d"),))
    client.submit(JobSpec(name, (data,)))
    assert "unshared volume" in str(fails(422, 1, lambda: client.scale(name, {"web": 2})))
    fails(422, 1, lambda: client.scale(name, {"web": 100_001}))
    fails(404, 5, lambda: client.scale(name, {"api": 2}))
    fails(404, 5, lambda: client.rollback(name))
    fails(404, 5, lambda: client.rollback(name, 7))
    fails(404, 5, lambda: client.restart(f"{name}/api"))
    fails(404, 5, lambda: client.recover("adopt", ["nope"]))
