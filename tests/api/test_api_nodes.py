"""What operators say of nodes, through the API."""

from __future__ import annotations

import pytest

from cube.spec import Constraint, JobSpec, Mount
from tests.api.asking import fails, problem_of, service, states
from tests.waiting import wait


def node(client, name: str = "node-1"):
    return next(n for n in client.nodes() if n["name"] == name)


@pytest.fixture
def enabled(client):
    """Whatever a test drains is enabled again."""
    yield
    for name in ("node-1", "node-2", "node-3"):
        client.drain(name, on=False)


def test_drain_moves_everything_and_enable_takes_it_back(client, name, enabled):
    client.submit(JobSpec(name, (service(instances=3),)))
    wait(client, lambda: states(client, name) == ["running"] * 3)
    (first, *_) = {t["node"] for t in client.tasks(name)}
    assert client.drain(first)["text"].startswith(f"{first} is draining: 1 task")
    assert (node(client, first)["draining"], node(client, first)["open"]) == (True, False)
    wait(client, lambda: not node(client, first)["tasks"])
    wait(client, lambda: states(client, name) == ["running"] * 3)
    assert node(client, first)["note"] == "drained"
    assert client.drain(first)["status"] == "unchanged"
    assert client.drain(first, on=False)["status"] == "ok"
    assert node(client, first)["open"]


def test_what_blocks_a_drain_is_told_until_its_deadline_passes(client, name, enabled):
    data = service(mounts=(Mount("volume", "data", "/d"),))
    client.submit(JobSpec(name, (data,)))
    wait(client, lambda: states(client, name) == ["running"])
    where = client.tasks(name)[0]["node"]
    client.drain(where)
    assert f"blocked by volume {name}_data" in node(client, where)["note"]
    assert node(client, where)["deadline"] is None
    client.drain(where, deadline_seconds=0)
    assert node(client, where)["deadline"].endswith("Z")
    wait(client, lambda: not node(client, where)["tasks"])
    wait(client, lambda: "which is draining" in client.tasks(name)[0]["reason"])
    client.drain(where, on=False)
    wait(client, lambda: client.tasks(name)[0]["node"] == where)


def test_label_lets_a_task_in(client, name):
    rare = Constraint("node.labels.disk", "==", name)
    client.submit(JobSpec(name, (service(constraints=(rare,)),)))
    wait(client, lambda: client.tasks(name)[0]["decision"] is not None)
    assert states(client, name) == ["pending"]
    client.label_node("node-2", {"disk": name})
    wait(client, lambda: client.tasks(name)[0]["node"] == "node-2")
    assert node(client, "node-2")["labels"] == {"disk": name}
    assert client.label_node("node-2", {}, ["disk"])["status"] == "ok"
    assert node(client, "node-2")["labels"] == {}


def test_what_cannot_be_said_of_a_node(client, raw):
    fails(404, 5, lambda: client.drain("node-9"))
    fails(404, 5, lambda: client.label_node("node-9", {"a": "b"}))
    fails(404, 5, lambda: client.remove_node("node-9"))
    fails(422, 1, lambda: client.label_node("node-1", {}, ["nobody-added-this"]))
    assert "cube node drain" in fails(409, 6, lambda: client.declare_lost("node-1")).remedy
    assert "still reports" in str(fails(409, 6, lambda: client.remove_node("node-1")))
    for what, body in (
        ("drain", {"deadline_seconds": -1}),
        ("labels", {"add": {"a b": "c"}}),
        ("labels", {"add": {"a": "line\nbreak"}}),
        ("lost", {"surprise": 1}),
    ):
        problem_of(raw.post(f"/v1/nodes/node-1/{what}", json={"request": "r", **body}))
    assert not node(client)["labels"]
    assert not node(client)["draining"]
