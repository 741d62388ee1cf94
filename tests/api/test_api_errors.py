"""What users and strangers do wrong, and a manager in trouble: clear errors, nothing half-done."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import httpx2
import pytest

from cube.client import ApiProblem, Client, NoManager
from cube.cluster import Cluster, ClusterOptions
from cube.codec import encode
from cube.messages import MANAGER
from cube.spec import Constraint, Dependency, JobSpec, Kind, Mount, Port, RestartPolicy, TaskSpec
from tests.api.asking import fails, problem_of, service
from tests.waiting import wait


def test_what_is_not_there_is_not_found(client):
    for act in (
        lambda: client.job("nope"),
        lambda: client.tasks("nope"),
        lambda: client.task("nope/web/1"),
        lambda: client.explain("nope/web/1"),
        lambda: client.stop("nope"),
        lambda: client.remove("nope"),
        lambda: list(client.logs("nope/web/1")),
    ):
        assert "nope" in str(fails(404, 5, act))


def test_a_name_of_another_file_is_a_conflict(client, name):
    client.submit(JobSpec(name, (service(),), source="/a.yaml"))
    error = fails(409, 6, lambda: client.submit(JobSpec(name, (service(),), source="/b.yaml")))
    assert "/a.yaml" in str(error)


def test_a_running_job_is_not_removed_without_force(client, name):
    client.submit(JobSpec(name, (service(),)))
    fails(409, 6, lambda: client.remove(name))


def test_an_unknown_policy_is_refused(client, name):
    error = fails(422, 2, lambda: client.plan(JobSpec(name, (service(),)), ["epvn"]))
    assert "did you mean epvm" in str(error)
    assert "round-robin" in error.remedy


BAD_JOBS = {
    "no services": ((), "at least one service"),
    "names": ((service("We b"),), "use 1 to 40 of a-z"),
    "twice": ((service(), service()), "two services are named web"),
    "NUL": ((service(command=("a\0b",)),), "command: it has a NUL"),
    "environment": ((service(environment=(("", "hidden"),)),), "names that are not empty"),
    "no image": ((TaskSpec("web", ""),), "no image"),
    "too many": ((service(instances=100_001),), "at most 100000 tasks"),
    "negative": ((service(memory_mib=-1),), "memory_mib -1"),
    "endless": ((service(restart=RestartPolicy(delay_seconds=float("nan"))),), "delay_seconds nan"),
    "port": ((service(ports=(Port(70_000),)),), "use 1 to 65535"),
    "dependency": ((service(depends_on=(Dependency("db"),)),), "db, which is not a service"),
    "cycle": ((service(depends_on=(Dependency("web"),)),), "wait for one another"),
    "constraint": ((service(constraints=(Constraint("cpu", "==", "1"),)),), "nodes have no cpu"),
    "volume": (
        (service(instances=2, mounts=(Mount("volume", "data", "/d"),)),),
        "unshared volume",
    ),
}


@pytest.mark.parametrize("fault", BAD_JOBS)
def test_a_job_that_breaks_a_rule_is_refused_whole(client, fault):
    services, text = BAD_JOBS[fault]
    error = fails(422, 1, lambda: client.submit(JobSpec("bad", services)))
    assert text in str(error)


def test_a_job_that_is_kept_together_has_no_global_services(client):
    job = JobSpec("bad", (service(kind=Kind.GLOBAL),), together=True)
    assert "no global services" in str(fails(422, 1, lambda: client.submit(job)))
    assert "bad" not in [job["name"] for job in client.jobs()]


GOOD_BODY = {"request": "r", "job": encode(JobSpec("bad", (TaskSpec("web", "image"),)))}


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"{", 400, "not JSON"),
        (b"\xff\xfe\x00junk", 400, "not JSON"),
        (b"[]", 422, "body"),
        (b"{}", 422, "body.request"),
        (json.dumps(GOOD_BODY | {"job": {"$": "JobSpec"}}).encode(), 422, "lacks"),
        (json.dumps(GOOD_BODY | {"job": {"$": "Nonsense"}}).encode(), 422, "Nonsense"),
        (json.dumps(GOOD_BODY | {"job": {}}).encode(), 422, "not a JobSpec"),
        (json.dumps(GOOD_BODY | {"job": {"x": "\ud800"}}).encode(), 422, "Unicode"),
        (json.dumps(GOOD_BODY | {"extra": 1}).encode(), 422, "extra"),
        (json.dumps(GOOD_BODY | {"\ud800": 1}).encode(), 422, "unicode"),
        (b'{"request": "r", "job": ' + b'{"a":' * 50_000, 400, "not JSON"),
        (
            b'{"request": "r", "job": {"a": ' + b"[" * 90_000 + b"]" * 90_000 + b"}}",
            400,
            "not JSON",
        ),
        (b" " * (4 << 20) + b"{}", 413, "larger than 4 MiB"),
    ],
)
def test_a_bad_body_is_a_clear_error(raw, body, status, text):
    headers = {"Content-Type": "application/json"}
    response = raw.post("/v1/jobs", content=body, headers=headers)
    assert response.status_code == status, response.text
    assert text.lower() in problem_of(response)["detail"].lower()
    assert raw.get("/v1/jobs/bad").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/jobs/", 404),
        ("PUT", "/v1/jobs", 405),
        ("GET", "/v1/events?after=-1", 422),
        ("GET", "/v1/events?after=x", 422),
        ("GET", f"/v1/events?after={1 << 70}", 422),
        ("GET", "/v1/explain/a/b/c?now=maybe", 422),
        ("DELETE", "/v1/jobs/a?force=maybe", 422),
        ("GET", "/v1/tasks/a/b/c/logs?tail=-1", 422),
        ("GET", "/v1/tasks/%00/%ff/..", 404),
    ],
)
def test_a_bad_address_is_a_clear_error(raw, method, path, status):
    problem = problem_of(raw.request(method, path))
    assert problem["status"] == status
    assert problem["remedy"]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic abc", "Bearer é"])
def test_nobody_gets_in_without_the_token(cluster, header):
    headers = {} if header is None else {"Authorization": header.encode()}
    with httpx2.Client(base_url=cluster.url, headers=headers, trust_env=False) as stranger:
        for method, path in (("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("GET", "/nowhere")):
            problem = problem_of(stranger.request(method, path))
            assert (problem["status"], problem["exit_code"]) == (401, 7)
        assert stranger.get("/v1/health").json()["status"] == "ok"


def test_a_wrong_token_is_told_by_the_client(cluster):
    with Client(cluster.url, "wrong") as stranger:
        fails(401, 7, stranger.jobs)


def test_the_api_describes_itself(raw):
    description = raw.get("/openapi.json").json()
    assert "HTTPValidationError" not in description["components"]["schemas"]
    assert "HTTPBearer" in description["components"]["securitySchemes"]
    paths = description["paths"]
    assert set(paths["/v1/jobs"]) == {"get", "post"}
    for methods in paths.values():
        for method, operation in methods.items():
            assert operation["description"], method


# --- a manager in trouble ----------------------------------------------------------------------


def test_nobody_listening_is_no_manager():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with Client(f"http://127.0.0.1:{port}", "t") as client, pytest.raises(NoManager) as caught:
            client.jobs()
    assert caught.value.exit_code == 8
    assert "cube dev" in caught.value.remedy


def test_a_server_that_is_not_cube_is_no_manager(tmp_path):
    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer, args=(listener,))
        server.start()
        port = listener.getsockname()[1]
        with Client(f"http://127.0.0.1:{port}", "t") as client, pytest.raises(NoManager) as caught:
            client.jobs()
        server.join()
    assert "not as a Cube manager does" in str(caught.value)


def test_a_manager_that_does_not_answer_is_told(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("cube.api.backend.ANSWER_SECONDS", 0.01)
    with Cluster(ClusterOptions(tmp_path, engine="simulated")) as stuck:
        stuck.world.stop_actor(MANAGER)
        with Client(stuck.url, stuck.token) as client:
            error = fails(504, 8, client.jobs)
    assert "did not answer" in str(error)


def test_a_broken_store_refuses_changes_and_still_shows(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("cube.api.backend.ANSWER_SECONDS", 2.0)
    options = ClusterOptions(tmp_path, engine="simulated")
    with Cluster(options) as broken, Client(broken.url, broken.token) as client:
        wait(client, lambda: len(client.nodes()) == 1)
        broken.state.store_path.rename(tmp_path / "away")
        with pytest.raises(ApiProblem) as caught:
            client.submit(JobSpec("first", (service(),)))  # its save fails: no answer in time
        assert caught.value.status == 503
        assert "removed or replaced while in use" in str(caught.value)
        assert "may still do it" in str(caught.value)
        error = fails(503, 1, lambda: client.submit(JobSpec("second", (service(),))))
        assert "store" in str(error)
        assert "store" in client.cluster()["note"]
