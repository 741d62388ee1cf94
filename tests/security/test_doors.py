"""Who is let in, by every route that there is: nobody without a credential, readers to look."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing

import pytest

from cube import __version__
from cube.codec import encode
from cube.spec import JobSpec, TaskSpec
from cube.trust import Identity
from cube.trust.contexts import first_contact, node_to_manager
from tests.hosting.hosts import alive, worker_at
from tests.security.site import JOB, NODE, Site, Way

APPS = ("users", "machines", "worker")
OPEN = {("GET", "/v1/health"), ("GET", "/v1/authority"), ("POST", "/v1/join")}
LOOKS = ("GET", "HEAD")
HARMLESS = {("POST", "/v1/plan")}  # asks much, so it is a POST; that it changes nothing is tested
BAD_NAMES = (
    "..",
    "../../../../etc/passwd",
    "..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "....//....//etc/passwd",
    "%2fetc%2fpasswd",
    "..%5c..%5cetc%5cpasswd",
    "%00",
    "web%00.txt",
    "%ff%fe",
    "%ed%a0%80",
    "%0d%0aX-Bad:%20yes",
    "~",
    "%7B0.__class__%7D",
    "x" * 5000,
)


@pytest.fixture(scope="module")
def reader(here: Site) -> Iterator[str]:
    yield here.client.create_token("reader", "read")["token"]
    here.client.remove_token("reader")


def test_the_walk_finds_the_routes(here: Site) -> None:
    """It would pass if it found none."""
    found = {app: {(w.method, w.path) for w in here.ways(app)} for app in APPS}
    assert {("DELETE", "/v1/jobs/{name}"), ("GET", "/openapi.json"), *OPEN} <= found["users"]
    assert ("POST", "/v1/nodes/{node}/reports") in found["machines"]
    assert ("PUT", "/v1/assignment") in found["worker"]
    assert len(found["users"]) > 30


@pytest.mark.parametrize("bearer", [None, "guess", "é"])
def test_users_app_without_a_token(here: Site, bearer: str | None) -> None:
    for way in here.ways("users"):
        answer = here.doors["users"].ask(way.method, way.at(), b"{}", bearer)
        if (way.method, way.path) in OPEN:
            assert answer.status in (200, 422), way
        else:
            assert answer.status == 401, way
            assert way.method == "HEAD" or json.loads(answer.body)["status"] == 401


def test_machines_app_without_a_credential(here: Site) -> None:
    """A certificate alone, or with somebody else's secret, is none."""
    for way in here.ways("machines"):
        for bearer in (None, "guess", here.manager.token, here.manager.first_join):
            answer = here.doors["machines"].ask(way.method, way.at(), b"{}", bearer)
            assert answer.status in (401, 403), way


def test_worker_app_for_others_than_the_manager(here: Site, tmp_path) -> None:
    """Another node sees that it lives, and the node itself what Prometheus would see."""
    open_to = {"other": {"/v1/health"}, "itself": {"/v1/health", "/metrics"}}
    with worker_at(tmp_path / "two", here.manager, "two") as two:
        certificates = {
            "other": two.directory.identity_path,
            "itself": here.worker.directory.identity_path,
        }
        for who, path in certificates.items():
            identity = Identity.read(path)
            assert identity is not None
            context = node_to_manager(path, identity.authority)
            context.check_hostname = False
            for way in here.ways("worker"):
                port = here.doors["worker"].port
                with closing(http.client.HTTPSConnection("127.0.0.1", port, context=context)) as c:
                    c.request(way.method, way.at(), b"{}", {"Cube-Version": __version__})
                    status = c.getresponse().status
                assert status == (200 if way.path in open_to[who] else 403), (who, way)


@pytest.mark.parametrize("app", ["machines", "worker"])
def test_machines_and_workers_want_a_certificate_first(here: Site, app: str) -> None:
    for way in here.ways(app):
        made = http.client.HTTPSConnection(
            "127.0.0.1", here.doors[app].port, context=first_contact()
        )
        with closing(made), pytest.raises(OSError):
            asked(made, way)


def asked(made: http.client.HTTPSConnection, way: Way) -> int:
    made.request(way.method, way.at())
    return made.getresponse().status


def test_reader_changes_nothing_by_any_route(here: Site, reader: str) -> None:
    before = here.client.cluster()["revision"]
    users = here.doors["users"]
    for way in here.ways("users"):
        if (way.method, way.path) in OPEN | HARMLESS:
            continue
        path = way.at()
        answer = users.ask(way.method, path, b"" if way.method in LOOKS else b"{}", reader)
        if way.method in LOOKS:
            assert answer.status in (200, 404, 422), way
        else:
            assert answer.status == 403, way
            assert b"may only look" in answer.body
    assert here.client.cluster()["revision"] == before


def test_reader_may_plan_but_have_no_module_imported(here: Site, reader: str) -> None:
    """A request would choose which code the manager runs."""
    job = encode(JobSpec("other", (TaskSpec("web", "image"),)))

    def plan(*policies: str) -> tuple[int, dict]:
        body = json.dumps({"job": job, "policies": policies}).encode()
        answer = here.doors["users"].ask("POST", "/v1/plan", body, reader)
        return answer.status, json.loads(answer.body)

    before = here.client.cluster()["revision"]
    assert plan("best-fit", "epvm(base=2.0)")[0] == 200
    for policy in ("antigravity:fly", " antigravity:fly(x=1)", "tests.security.trap:policy"):
        status, told = plan("best-fit", policy)
        assert (status, told["exit_code"]) == (422, 2)
        assert "does not import" in told["detail"]
        assert "entry point" in told["remedy"]
    assert here.client.cluster()["revision"] == before


@pytest.mark.parametrize("app", APPS)
def test_bad_names_lead_nowhere(here: Site, app: str) -> None:
    """Each parameter of each path, with the good credential: answered as a wrong name is."""
    for way in here.ways(app):
        for parameter in way.parameters:
            for name in BAD_NAMES:
                path = way.at(**{parameter: name})
                answer = here.doors[app].ask(way.method, path, b'{"request": "r"}')
                assert 400 <= answer.status < 500, (way, name, answer)
                assert b"root:" not in answer.body
                assert "x-bad" not in answer.headers
    here.is_well()
    assert here.client.job(JOB)["state"] == "running"
    assert NODE in alive(here.client)
