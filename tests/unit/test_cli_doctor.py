"""`cube doctor`: each check finds what is wrong and says what to do; it changes nothing."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from cube.cli import doctor, main
from cube.cli.hosting import POLICIES
from cube.policies import policy_names
from cube.state_dir import StateDir
from cube.store.lock import FileLock


@pytest.fixture
def state(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv("CUBE_ADDR", raising=False)
    monkeypatch.setenv("CUBE_WORKER_DIR", str(tmp_path / "worker"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    return tmp_path / "state"


def outcomes(state: Path, capsys, *args: str) -> dict[str, dict[str, str]]:
    main(["doctor", "--state-dir", str(state), "-o", "json", *args])
    return {check["check"]: check for check in json.loads(capsys.readouterr().out)}


def test_a_fresh_machine_is_fit(state, capsys):
    checks = outcomes(state, capsys)
    assert list(checks) == [
        "python",
        "docker",
        "cgroups",
        "disk",
        "state",
        "lock",
        "port",
        "manager",
        "clock",
        "node",
    ]
    fit = ("python", "state", "lock", "port", "manager", "clock", "node")
    assert {checks[name]["outcome"] for name in fit} == {"ok"}
    assert main(["doctor", "--state-dir", str(state)]) == 0
    assert not state.exists()


def test_no_docker_is_a_warning_with_a_remedy(state, capsys):
    check = outcomes(state, capsys)["docker"]
    assert check["outcome"] == "warn"
    assert "no Docker engine answers" in check["text"]
    assert "--engine process" in check["remedy"]


@pytest.mark.parametrize(
    ("version", "time", "outcome"),
    [
        ("20.10.24+dfsg1", "", "ok"),
        ("19.03.1", "", "warn"),
        ("28.0.1", "2020-01-01T00:00:00Z", "warn"),
    ],
)
def test_engines_that_are_old_or_live_in_another_time(version, time, outcome):
    assert doctor.judge_engine(version, time).outcome == outcome


def test_a_state_directory_that_is_a_file(state, capsys):
    state.write_text("mine")
    assert main(["doctor", "--state-dir", str(state)]) == 1
    capsys.readouterr()
    assert outcomes(state, capsys)["state"]["outcome"] == "fail"


def test_a_lock_names_its_holder(state, capsys):
    state.mkdir()
    lock = FileLock(StateDir(state).store_path.with_suffix(".lock"))
    assert outcomes(state, capsys)["lock"]["text"] == f"held by process {os.getpid()}"
    lock.release()
    assert outcomes(state, capsys)["lock"]["text"] == "free"


def test_a_port_that_is_taken(state, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        check = outcomes(state, capsys, "--listen", listen)["port"]
    assert check["outcome"] == "fail"
    assert listen in check["text"]
    assert "--listen" in check["remedy"]


def test_an_address_that_nobody_answers_at(state, capsys):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    StateDir(state).prepare()
    StateDir(state).write_address(url)
    StateDir(state).make_token()
    check = outcomes(state, capsys)["manager"]
    assert check["outcome"] == "warn"
    assert url in check["text"]
    assert "cube dev" in check["remedy"]


def test_the_help_of_dev_names_every_policy():
    named = POLICIES.split(", ")
    assert sorted(named) == sorted(policy_names())
