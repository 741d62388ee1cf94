"""Malformed messages, from whoever holds a good credential: refused or taken, and nobody falls."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings

from cube.codec import encode
from cube.manager import Manager
from cube.messages import Generation, Wake
from cube.spec import JobSpec, TaskSpec
from cube.store import SqliteStore
from cube.store.copies import copy
from cube.trust import Identity
from cube.trust.contexts import node_to_manager
from tests.hosting.hosts import alive, worker_at
from tests.security import junk
from tests.security.site import JOB, NODE, Door, Site, site
from tests.waiting import wait

GUEST = "two"  # a node that has joined, and whose worker is away: its reports are ours
some = settings(max_examples=30, suppress_health_check=list(HealthCheck))
numbers = itertools.count(1)


@contextmanager
def standing(here: Site, path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Afterwards all answer, no actor had to be rebuilt, and a manager starts from the store."""
    yield
    here.is_well()
    fallen = [r.getMessage() for r in caplog.records if " failed" in r.getMessage()]
    assert not fallen
    with closing(sqlite3.connect(here.manager.state.store_path)) as source:
        copy(source, path / "copy.sqlite")
    store = SqliteStore(path / "copy.sqlite")
    try:
        Manager(here.manager.cluster, store.load()).receive(Wake(1), 0.0)
    finally:
        store.close()


def shown(here: Site) -> None:
    """Whatever was taken in can be shown; the manager has handled it before it answers that."""
    for way in here.ways("users"):
        if way.method == "GET":
            answer = here.doors["users"].ask("GET", way.at())
            assert answer.status < 500, (way, answer)


# --- what nodes say ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guest(here: Site) -> Iterator[Door]:
    with worker_at(here.path / GUEST, here.manager, GUEST) as worker:
        wait(here.client, lambda: GUEST in alive(here.client))
    here.client.drain(GUEST, on=True)  # whatever it offers from now on, nobody would run its tasks
    path = worker.directory.identity_path
    identity = Identity.read(path)
    assert identity is not None
    context = node_to_manager(path, identity.authority)
    door = Door(None, here.manager.ports[1], context, identity.secret)
    yield door
    door.close()


def test_malformed_reports(here: Site, guest: Door, tmp_path, caplog) -> None:
    good, other = junk.report(GUEST, here.manager.cluster), junk.set_aside(GUEST)
    life = itertools.count(1 << 42)
    taken = looks = 0

    def tell(document: Any) -> None:
        nonlocal taken
        if isinstance(document, dict) and document.get("life") == 1:
            document = {**document, "life": next(life)}  # else it is old, and nobody looks at it
        answer = guest.ask("POST", f"/v1/nodes/{GUEST}/reports", junk.written(document))
        assert answer.status in (204, 422), (document, answer)
        taken += answer.status == 204

    @some
    @given(junk.damaged(good) | junk.damaged(other) | junk.values)
    @example(good)
    def tell_any(document: Any) -> None:
        tell(document)
        shown(here)

    with standing(here, tmp_path, caplog):
        tell_any()
        for document in (good, other):
            for wrongs in junk.each_wrong(document):
                for wrong in wrongs:
                    tell(wrong)
                if taken > 50 * looks:
                    looks += 1
                    shown(here)
            shown(here)
    assert taken > 200


def test_spec_that_no_user_could_submit_is_not_kept(here: Site, guest: Door) -> None:
    """A container's labels can say anything, and adopting it would make that a job."""
    fields = {"seq": 1, "whole": False, "info": None, "machine": None, "usage": []}
    for number, memory in enumerate((16, -16)):
        uid = f"strange{number}/web/1@7"
        fact = replace(junk.STRANGE, uid=uid, spec=replace(junk.SPEC, memory_mib=memory))
        report = {**junk.report(GUEST, here.manager.cluster), **fields, "whole": True}
        report |= {"life": (1 << 43) + number, "facts": encode([fact])}
        report["facts"][0].pop("$")
        assert guest.ask("POST", f"/v1/nodes/{GUEST}/reports", junk.written(report)).status == 204
        unknown = {fact.uid: fact for _, fact in here.manager.backend.look().unknown}
        assert (unknown[uid].spec is None) is (memory < 0)


# --- what a manager says -------------------------------------------------------------------


def test_malformed_assignments(tmp_path, caplog) -> None:
    with site(tmp_path) as other, standing(other, tmp_path, caplog):
        good = junk.assignment(NODE, other.manager.cluster)
        door = other.doors["worker"]
        taken = 0

        def tell(document: Any) -> None:
            nonlocal taken
            if isinstance(document, dict) and document.get("answers") == good["answers"]:
                document = {**document, **newest(other)}
            answer = door.ask("PUT", "/v1/assignment", junk.written(document))
            assert answer.status in (204, 422), (document, answer)
            taken += answer.status == 204

        some(given(junk.damaged(good) | junk.values)(example(good)(tell)))()
        for wrongs in junk.each_wrong(good):
            for wrong in wrongs:
                tell(wrong)
            for path in ("/v1/tasks", "/v1/statistics", "/metrics"):
                assert door.ask("GET", path).status == 200, wrongs
        assert taken > 200


def newest(other: Site) -> dict[str, Any]:
    """What makes an assignment newer than all others, and the answer to the newest report."""
    told, epoch = other.worker._told._now(), other.manager.backend.look().epoch
    return {
        "generation": Generation(other.manager.cluster, epoch + 10, next(numbers))._asdict(),
        "answers": [told.life, told.seq],
    }


# --- what users say ------------------------------------------------------------------------

JOB_BODY = {"request": "r", "job": encode(junk.JOB), "again": False}
BODIES: dict[str, Any] = {
    "/v1/plan": {"job": encode(junk.JOB), "policies": ["epvm(base=2.0)", "random"], "again": True},
    "/v1/stop": {"request": "r", "target": "fuzz/web/1"},
    "/v1/restart": {"request": "r", "target": "fuzz/web"},
    "/v1/recovery": {"request": "r", "action": "adopt", "containers": ["def"]},
    "/v1/jobs/{name}/scale": {"request": "r", "counts": {"web": 1}},
    "/v1/jobs/{name}/rollback": {"request": "r", "version": 1},
    "/v1/nodes/{name}/drain": {"request": "r", "on": False, "deadline_seconds": 1.0},
    "/v1/nodes/{name}/labels": {"request": "r", "add": {"zone": "a"}, "drop": ["x"]},
    "/v1/nodes/{name}/lost": {"request": "r"},
    "/v1/tokens": {"name": "t", "scope": "read", "seconds": 5.0},
    "/v1/registries/{registry}": {"user": "ann", "password": "secret"},
    "/v1/join": {"node": "new", "request": "PEM", "secret": "s", "ask": True},
    "/v1/tasks/{job}/{service}/{index}/exec": {"command": ["true"], "tty": False, "rows": 9,
                                               "columns": 9},
    "/v1/exec/{number}/size": {"rows": 9, "columns": 9},
    "/v1/exec/{number}/input": "input",
}  # fmt: skip


def test_every_body_of_users_is_malformed_somewhere(here: Site) -> None:
    bodies = {way.path for way in here.ways("users") if way.method not in ("GET", "HEAD", "DELETE")}
    assert bodies == {*BODIES, "/v1/jobs"}


def fresh(document: Any) -> bytes:
    """With a request id of its own, if it has the good one."""
    if isinstance(document, dict) and document.get("request") == "r":
        document = {**document, "request": f"r-{next(numbers)}"}
    return junk.written(document)


def test_malformed_jobs(here: Site, tmp_path, caplog) -> None:
    users = here.doors["users"]
    taken = 0

    def submit(document: Any) -> None:
        nonlocal taken
        answer = users.ask("POST", "/v1/jobs", fresh(document))
        assert answer.status < 500, (document, answer)
        if answer.status == 200:
            taken += 1
            if taken % 30 == 0:
                shown(here)
            name = quote(json.loads(answer.body)["job"])
            gone = users.ask("DELETE", f"/v1/jobs/{name}?force=1")
            assert gone.status in (200, 404)  # a request that came before has its first answer

    with standing(here, tmp_path, caplog):
        some(given(junk.damaged(JOB_BODY))(example(JOB_BODY)(submit)))()
        for wrongs in junk.each_wrong(JOB_BODY):
            for wrong in wrongs:
                submit(wrong)
    assert taken > 100


@pytest.mark.parametrize("path", BODIES)
def test_malformed_requests(here: Site, guest: Door, tmp_path, caplog, path: str) -> None:
    users = here.doors["users"]
    (way,) = [w for w in here.ways("users") if w.path == path and w.method in ("POST", "PUT")]
    name = GUEST if path.startswith("/v1/nodes") else JOB

    @settings(some, max_examples=20)
    @given(junk.damaged(BODIES[path]) | junk.values)
    @example(BODIES[path])
    def ask(document: Any) -> None:
        answer = users.ask(way.method, way.at(name=name), fresh(document))
        assert answer.status < 500, answer

    with standing(here, tmp_path, caplog):
        ask()
        if "job" not in BODIES[path]:  # every place of one is tried above
            for wrongs in junk.each_wrong(BODIES[path]):
                for wrong in wrongs:
                    ask.hypothesis.inner_test(wrong)
        shown(here)


POLICIES = ("", "()", "epvm(", "epvm)", "epvm(base=)", "epvm(base='x')", "epvm(base=nan)",
            "epvm(base=-1)", "epvm(base=0)", "epvm(base=1e999)", "epvm(base=10**9)", "epvm(x=1j)",
            f"epvm(base={10**150})", "epvm(base=[1])", "epvm(base=None)", "random(seed=-1)",
            "random(seed='x')", "two-choices(seed=1e3)", "epvm(1)", "epvm(**x)", "\x00", "a b",
            "random(seed=" + "(" * 150 + ")" * 10, "best-fit(x=1)", "fgd(x=__import__('os'))",
            "hybrid(weight='a')", "round-robin(x={})")  # fmt: skip


def test_malformed_policies(here: Site, tmp_path, caplog) -> None:
    with standing(here, tmp_path, caplog):
        for policy in POLICIES:
            body = {
                "job": encode(JobSpec("fuzz", (TaskSpec("web", "image"),))),
                "policies": [policy],
            }
            answer = here.doors["users"].ask("POST", "/v1/plan", junk.written(body))
            assert answer.status in (200, 422), (policy, answer)
