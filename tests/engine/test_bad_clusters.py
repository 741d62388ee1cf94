"""What goes wrong later: tasks that do not come up, policies that fail, `cube dev` that cannot be.

Each gets a clear error, its remedy and its exit code, and nothing half-done stays.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator

import pytest
from command_bench import Command, check, cluster_of, command, process

from cube.cluster import Cluster

SLEEP = ("--", "sleep", "1000")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    with cluster_of(tmp_path_factory.mktemp("bad") / "state", workers=2) as made:
        yield made


@pytest.fixture
def cube(cluster, capsys, monkeypatch) -> Iterator[Command]:
    """The command on a cluster that has no job, before and after."""
    monkeypatch.setenv("CUBE_STATE_DIR", str(cluster.state.path))
    run = command(capsys)
    yield run
    left = [job["name"] for job in run("status", "-o", "json").json["jobs"]]
    for name in left:
        run("rm", name, "--force")
    assert left == []


@pytest.fixture
def alone(tmp_path, capsys, monkeypatch) -> Command:
    """The command without a manager."""
    monkeypatch.setenv("CUBE_STATE_DIR", str(tmp_path / "state"))
    return command(capsys)


# --- tasks that do not come up -------------------------------------------------------------------


def test_a_port_that_another_job_holds(cube):
    assert cube("run", "busybox", "--name", "first", "-p", "8123:80", "--wait", *SLEEP).code == 0
    done = cube("run", "busybox", "--name", "second", "-p", "8123:80", "--wait", *SLEEP)
    check(done, 3, "port 8123/tcp", "cube explain second/second/1")
    cube("rm", "first", "--force")
    cube("rm", "second", "--force")


def test_more_than_any_node_has(cube):
    done = cube("run", "busybox", "--name", "big", "--cpus", "5000", "--wait", *SLEEP)
    check(done, 3, "needs 5000 CPUs", "cube explain big/big/1")
    cube("rm", "big", "--force")


def test_a_command_that_exits_at_once_in_a_loop(cube, tmp_path):
    file = tmp_path / "loop.yaml"
    file.write_text(
        "services:\n  web:\n    image: busybox\n    command: ['false']\n"
        "    x-cube: {restart: {attempts: 100, delay: 10ms}}\n"
    )
    done = cube("run", "-f", file, "--wait")
    check(done, 4, "loop/web/1 does not come up: it failed", "cube logs loop/web/1")
    assert "times, at last with exit code 1\n" in done.err
    cube("rm", "loop", "--force")


def test_a_command_that_is_not_there(cube):
    name = "/no/such/program"
    done = cube("run", "busybox", "--name", "none", "--restart", "no", "--wait", "--", name)
    check(done, 4, name, "cube stop none")
    cube("rm", "none", "--force")


def test_a_deadline_that_passes(cube):
    arguments = ("--name", "slow", "--batch", "--wait", "--timeout", "0.5")
    done = cube("run", "busybox", *arguments, *SLEEP)
    check(done, 4, "slow is not up after 0.5 s; slow/slow/1 is ", "cube stop slow")
    cube("rm", "slow", "--force")


def test_a_roll_out_that_does_not_come_up(cube, tmp_path):
    file = tmp_path / "roll.yaml"
    job = "services:\n  web:\n    image: busybox\n    command: [{}, '1000']\n"
    job += "    deploy: {{replicas: 3}}\n    x-cube: {{restart: {{attempts: 0}}}}\n"
    file.write_text(job.format("sleep"))
    assert cube("run", "-f", file, "--wait").code == 0
    file.write_text(job.format("'false'"))
    check(cube("run", "-f", file, "--wait"), 4, "roll/web/", "roll")
    states = [t["version"] for t in cube("status", "roll", "-o", "json").json["tasks"]]
    assert states.count(1) == 2, "only the first was replaced"
    cube("rm", "roll", "--force")


def test_ctrl_c_during_run(cube, cluster):
    arguments = ("run", "busybox", "--name", "ctrlc", "--batch", "--wait", *SLEEP)
    with process(*arguments, CUBE_STATE_DIR=str(cluster.state.path)) as running:
        running.wait_for("running")
        assert running.end(signal.SIGINT) == 130
        assert "ctrlc goes on" in running.said
    assert cube("status", "ctrlc", "-o", "json").json["tasks"][0]["state"] == "running"
    cube("rm", "ctrlc", "--force")


def test_an_image_that_does_not_exist(docker_api, tmp_path, capsys, monkeypatch):
    state = tmp_path / "state"
    monkeypatch.setenv("CUBE_STATE_DIR", str(state))
    cube = command(capsys)
    with cluster_of(state, workers=1, engine="docker") as cluster:
        (tmp_path / "job.yaml").write_text(
            "services: {web: {image: 'no-such/image:1', pull_policy: never}}\n"
        )
        done = cube("run", "-f", tmp_path / "job.yaml", "--wait")
        check(done, 4, "no-such/image:1", "cube stop job")
        made = docker_api.containers(all=True, filters={"label": f"cube.cluster={cluster.id}"})
        assert made == []


# --- policies ------------------------------------------------------------------------------------

POLICIES = """
import numpy as np
from cube.policies import policy

@policy
def raises(fleet, task, rows):
    raise ZeroDivisionError("oh no")

@policy
def nan(fleet, task, rows):
    return np.full(len(rows), np.nan)

@policy
def short(fleet, task, rows):
    return np.zeros(1)
"""


@pytest.fixture
def own_policies(tmp_path, monkeypatch) -> Iterator[None]:
    (tmp_path / "own_policies.py").write_text(POLICIES)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("own_policies", None)


@pytest.mark.usefixtures("own_policies")
@pytest.mark.parametrize(
    ("name", "what"), [("raises", "oh no"), ("nan", "returned nan for node-"), ("short", "shape")]
)
def test_a_policy_that_fails(tmp_path, capsys, monkeypatch, name, what):
    state = tmp_path / "state"
    monkeypatch.setenv("CUBE_STATE_DIR", str(state))
    cube = command(capsys)
    with cluster_of(state, engine="simulated", policy=f"own_policies:{name}"):
        done = cube("run", "busybox", "--wait")
        check(done, 3, what, "correct the policy")
        assert f"own_policies:{name}" in done.err
        assert "pending" in cube("status").out
        assert cube("nodes").code == 0, "the manager goes on"


@pytest.mark.parametrize(
    ("policy", "what"),
    [
        ("best", "there is no policy 'best'"),
        ("epvm(bass=2)", "bass"),
        ("no_such_module:mine", "no_such_module"),
        ("epvm(", "epvm("),
    ],
)
def test_dev_with_a_bad_policy(alone, tmp_path, policy, what):
    check(alone("dev", "--engine", "simulated", "--policy", policy), 2, what, "cube dev --help")
    assert not (tmp_path / "state").exists()


def test_a_policy_in_the_current_directory(tmp_path):
    (tmp_path / "mypolicy.py").write_text(POLICIES.replace("def short", "def tight"))
    dev = ("dev", "--engine", "simulated", "--state-dir", tmp_path / "state", "--policy")
    code = f"import os, sys; os.chdir({str(tmp_path)!r})"
    code += "; from cube.cli import main; sys.exit(main(sys.argv[1:]))"
    with process(*dev, "mypolicy:tight", python=("-c", code)) as running:
        running.wait_for("policy  mypolicy:tight")
        assert running.end(signal.SIGTERM) == 0
    with process(*dev, "mypolicy:loose", python=("-c", code)) as running:
        assert running.end() == 2
        assert "mypolicy has no 'loose'" in running.said


# --- `cube dev` ----------------------------------------------------------------------------------


def test_a_second_dev_on_the_same_state(cube, cluster):
    before = cluster.state.address()
    done = cube("dev", "--engine", "process")
    check(done, 6, f"in use by process {os.getpid()}", "to do: Stop that one, or choose")
    assert cluster.state.address() == before


def test_dev_without_docker(alone, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    done = alone("dev")
    check(done, 1, "no Docker engine answers", "to do: Start Docker, or use --engine process")
    assert done.err.count("--engine process") == 1
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("listen", "code", "what"),
    [
        ("here:there", 2, "here:there is not an address"),
        ("0.0.0.0:0", 2, "0.0.0.0"),
        ("127.0.0.1:99999", 2, "127.0.0.1:99999"),
    ],
)
def test_dev_with_a_bad_address(alone, tmp_path, listen, code, what):
    check(alone("dev", "--engine", "simulated", "--listen", listen), code, what, "127.0.0.1")
    assert not (tmp_path / "state").exists()


def test_dev_on_a_port_that_is_taken(alone, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = alone("dev", "--engine", "simulated", "--listen", listen)
    check(done, 6, listen, "--listen HOST:PORT")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("workers", ["0", "-3", "100000"])
def test_dev_with_too_few_or_many_workers(alone, workers):
    check(alone("dev", "--engine", "simulated", "--workers", workers), 2, workers, "1 to 1000")


def test_dev_with_an_unknown_engine(alone):
    check(alone("dev", "--engine", "podman"), 2, "podman", "'process'")


def test_a_state_directory_that_is_a_file(capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    done = command(capsys)("dev", "--engine", "simulated", "--state-dir", tmp_path / "file")
    check(done, 7, "cannot be written to", "--state-dir DIR")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_read_only_state_directory(capsys):
    done = command(capsys)("dev", "--engine", "simulated", "--state-dir", "/proc/cube")
    check(done, 7, "/proc/cube cannot be written to", "--state-dir DIR")


def test_a_full_state_directory(tmp_path):
    """As on a full disk, no file may grow."""
    state = tmp_path / "state"
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"
    code += "; from cube.cli import main; sys.exit(main(sys.argv[1:]))"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    with process("dev", "--engine", "simulated", "--state-dir", state, python=("-c", code)) as dev:
        assert dev.end() == 7
    assert f"{state} cannot be written to" in dev.said
    assert "--state-dir DIR" in dev.said
    assert "Traceback" not in dev.said
    assert not list(state.glob("store*"))


def test_a_store_that_is_none(alone, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    (state / "store.sqlite").write_bytes(b"this is not a store" * 100)
    done = alone("dev", "--engine", "simulated")
    check(done, 1, "not a database", "--state-dir DIR")
    assert (state / "store.sqlite").read_bytes().startswith(b"this is not a store")
