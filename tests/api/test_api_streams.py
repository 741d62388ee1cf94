"""Events and output that go on."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from cube.api import following
from cube.client import Client, NoManager
from cube.cluster import Cluster, ClusterOptions
from cube.spec import JobSpec, Kind, TaskSpec
from tests.api.asking import fails, service, states
from tests.waiting import wait


def test_events_go_on_where_they_were_left(client, name):
    client.submit(JobSpec(name, (service(),)))
    wait(client, lambda: states(client, name) == ["running"])
    told = client.events(job=name)
    assert told[0]["kind"] == "job.submitted"
    revisions = [event["revision"] for event in told]
    assert revisions == sorted(set(revisions))
    for event, left in zip(client.follow_events(job=name), told, strict=False):
        assert event == left
        if event == told[-1]:
            break
    assert client.events(after=revisions[0], job=name) == told[1:]


def test_a_follower_is_woken_by_what_happens(client, cluster, name):
    after = client.cluster()["revision"]
    seen: list[str] = []
    listening = threading.Event()

    def follow() -> None:
        with Client(cluster.url, cluster.token) as other:
            listening.set()
            for event in other.follow_events(after=after, job=name):
                seen.append(event["kind"])
                if event["kind"] == "task.running":
                    return

    follower = threading.Thread(target=follow)
    follower.start()
    listening.wait()
    client.submit(JobSpec(name, (service(),)))
    follower.join(timeout=30)
    assert seen == ["job.submitted", "task.placed", "task.running"]


def test_last_event_id_resumes_a_stream(raw, client, name):
    client.submit(JobSpec(name, (service(),)))
    wait(client, lambda: states(client, name) == ["running"])
    first, second = client.events(job=name)[:2]
    headers = {"Last-Event-ID": f"{first['epoch']}-{first['revision']}"}
    params = {"follow": 1, "after": 0, "job": name}
    with raw.stream("GET", "/v1/events", params=params, headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        ids = (line for line in lines if line.startswith("id: "))
        assert next(ids) == f"id: {second['epoch']}-{second['revision']}"


def test_another_history_is_told_from_its_beginning(client, name):
    client.submit(JobSpec(name, (service(),)))
    *_, last = client.events()
    known = {"after": last["revision"], "epoch": last["epoch"]}
    assert "history.reset" not in [e["kind"] for e in client.events(**known)]
    for other in ({**known, "epoch": last["epoch"] + 1}, {**known, "after": 10**9}):
        reset, first, *_ = client.events(**other)
        assert reset["kind"] == "history.reset"
        assert first == client.events()[0]
        stream = client.follow_events(**other)
        assert [next(stream)["kind"], next(stream)] == ["history.reset", first]


def test_a_quiet_stream_is_kept_alive(raw, monkeypatch):
    monkeypatch.setattr(following, "KEEP_ALIVE_SECONDS", 0.01)
    with raw.stream("GET", "/v1/events?follow=1&job=nobody") as response:
        assert ": still here" in response.iter_lines()


def test_a_follower_that_leaves_frees_everything(cluster, client):
    waiting = cluster.backend.bell._waiting
    before = len(waiting)
    streams = []
    for _ in range(3):
        stream = client.follow_events()
        next(stream)
        streams.append(stream)
    assert len(waiting) == before + 3
    for stream in streams:
        stream.close()
    deadline = cluster.world.now() + 10
    while len(waiting) > before and cluster.world.now() < deadline:
        client.health()  # each answer is a turn of the server's loop
    assert len(waiting) == before


def test_a_client_that_never_reads_holds_up_nobody(cluster, client, name):
    host, port = cluster.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        deaf.sendall(
            f"GET /v1/events?follow=1 HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {cluster.token}\r\n\r\n".encode()
        )
        assert deaf.recv(16) == b"HTTP/1.1 200 OK\r"
        batch = TaskSpec("many", "image", Kind.BATCH, labels=(("cube.sim.seconds", "0"),))
        client.submit(JobSpec(name, (batch, service(instances=50))))
        wait(client, lambda: client.job(name)["services"][1]["ready"] == 50)


def test_streams_end_when_the_server_stops(tmp_path: Path):
    stopping = Cluster(ClusterOptions(tmp_path, engine="simulated"))
    stopping.start()
    with Client(stopping.url, stopping.token) as client:
        stream = client.follow_events()
        assert next(stream)["kind"] == "node.joined"
        stopping.stop()
        assert all(event["job"] == "" for event in stream), "and it ends"
        with pytest.raises(NoManager):
            client.jobs()


def test_the_simulated_engine_has_no_output(client, name):
    client.submit(JobSpec(name, (service(),)))
    error = fails(404, 5, lambda: list(client.logs(f"{name}/web/1")))
    assert "simulated" in str(error)
