"""What nobody expected: one line for whoever asked, the place for the log, and nothing secret."""

from __future__ import annotations

import json
import logging

import pytest

from cube.api.known import KnownAccess
from cube.serving.boundary import described
from cube.worker_api.state import Told
from tests.security.site import NODE, Site

SECRET = "hunter2-in-a-value"


def fail(*_: object, **__: object) -> None:
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        raise RuntimeError(f"cannot read {SECRET}") from error


FAILURES = {
    "route": ("users", "/v1/nodes", "cube.api.looking.show_nodes"),
    "gate": ("users", "/v1/jobs", KnownAccess.now),
    "machines": ("machines", f"/v1/nodes/{NODE}", KnownAccess.now),
    "worker": ("worker", "/v1/statistics", Told._now),
}


@pytest.mark.parametrize("place", FAILURES)
def test_failure_is_told_in_one_line(here: Site, monkeypatch, caplog, place: str) -> None:
    app, path, broken = FAILURES[place]
    door = here.doors[app]
    bearer = "another" if place == "gate" else ""
    with monkeypatch.context() as patch, caplog.at_level(logging.DEBUG):
        if isinstance(broken, str):
            patch.setattr(broken, fail)
        else:
            kind = {"now": KnownAccess, "_now": Told}[broken.__name__]
            patch.setattr(kind, broken.__name__, fail)
            patch.setattr(KnownAccess, "is_current", False)
        answer = door.ask("GET", path, bearer=bearer)
    problem = json.loads(answer.body)
    assert (answer.status, problem["status"], problem["exit_code"]) == (500, 500, 1)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "\n" not in problem["detail"]
    assert problem["remedy"]
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    number = problem["detail"].removesuffix(".").rpartition(" ")[2]
    assert len(number) == 8
    said = record.getMessage()
    assert said.startswith(f"failure {number}: GET {path}: RuntimeError\n")
    assert 'test_failures.py", line' in said
    assert "after ValueError" in said
    assert SECRET not in caplog.text
    assert SECRET.encode() not in answer.body
    assert b"Traceback" not in answer.body
    here.is_well()


def test_what_is_described() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        raise ExceptionGroup(SECRET, [OSError(13, SECRET), KeyError(SECRET)])
    text = "".join(described(caught.value))
    assert SECRET not in text
    assert "one is PermissionError (Permission denied)\n" in text
    assert "one is KeyError\n" in text


def test_whoever_hangs_up_halfway_is_no_failure(here: Site, caplog) -> None:
    heads = {
        "users": "POST /v1/jobs",
        "machines": f"POST /v1/nodes/{NODE}/reports",
        "worker": "PUT /v1/assignment",
    }
    with caplog.at_level(logging.WARNING):
        for app, head in heads.items():
            door = here.doors[app]
            made = door.connection()
            method, path = head.split()
            made.putrequest(method, path)
            for name, value in door.headers().items():
                made.putheader(name, value)
            made.putheader("Content-Length", "100")
            made.endheaders(b'{"half')
            made.close()
        here.is_well()
    assert not caplog.records
