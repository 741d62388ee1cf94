"""What users do wrong: each gets a clear error, its remedy and its exit code; nothing stays.

Files and options are refused before anything is submitted; then what the manager refuses.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from bad_files import FILES, OPTIONS, WEB
from command_bench import Command, check, cluster_of, command

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


# --- files and options: nothing is submitted -----------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_bad_file(cube, tmp_path, name):
    content, where, what, remedy = FILES[name]
    file = tmp_path / "bad.compose.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    for arguments in (("run", "-f", file), ("validate", file), ("plan", "-f", file)):
        done = cube(*arguments)
        check(done, 1, what, remedy)
        assert f"{file}{where}" in done.err


def test_every_problem_of_a_file_at_once(cube, tmp_path):
    file = tmp_path / "bad.compose.yaml"
    file.write_text("services:\n  web:\n    imge: x\n    ports: ['0:1']\n  'A B': {image: y}\n")
    done = cube("run", "-f", file)
    check(done, 1, "problems in", f"cube validate {file}")
    assert ":3:5: unknown key `imge`" in done.err
    assert ":4:" in done.err
    assert ":5:" in done.err


@pytest.mark.parametrize(
    ("path", "what"), [("missing.yaml", "there is no such file"), (".", "this is a folder")]
)
def test_no_file(cube, tmp_path, path, what):
    check(cube("run", "-f", tmp_path / path), 1, what, "")


@pytest.mark.parametrize("name", OPTIONS)
def test_bad_options(cube, name):
    arguments, what, remedy = OPTIONS[name]
    check(cube("run", *arguments), 2, what, remedy)


# --- the manager ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["nodes"], ["events"], ["stop", "x"], ["run", "busybox"], ["explain", "a/b/1"]],
)
def test_no_manager(alone, tmp_path, arguments):
    done = alone(*arguments)
    check(done, 8, "no manager runs here", "cube dev")
    assert not (tmp_path / "state").exists()


def test_a_manager_that_does_not_answer(alone, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("CUBE_ADDR", address)
    monkeypatch.setenv("CUBE_TOKEN", "x")
    check(alone("status"), 8, address, "CUBE_ADDR names it")


def test_an_address_without_sense(alone, monkeypatch):
    monkeypatch.setenv("CUBE_ADDR", "http://[nonsense")
    monkeypatch.setenv("CUBE_TOKEN", "x")
    check(alone("status"), 8, "http://[nonsense", "CUBE_ADDR")


@pytest.mark.parametrize("token", ["wrong", "", "ünlesbar"])
def test_a_wrong_token(cube, cluster, monkeypatch, token):
    with monkeypatch.context() as patch:
        patch.setenv("CUBE_ADDR", cluster.url)
        patch.setenv("CUBE_TOKEN", token or "x")
        check(cube("status"), 7, "token", "CUBE_TOKEN")


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "nope"],
        ["status", "nope/web/1"],
        ["stop", "nope"],
        ["rm", "nope"],
        ["logs", "nope/web/1"],
        ["logs", "nope"],
        ["explain", "nope/web/1"],
        ["explain", "nope"],
    ],
)
def test_names_that_are_not_there(cube, arguments):
    check(cube(*arguments), 5, "nope", "cube status")


def test_a_target_without_sense(cube):
    check(cube("status", "a/b/c/d"), 2, "a/b/c/d is no target", "JOB/SERVICE/INDEX")


def test_a_target_of_another_kind(cube):
    cube("run", "busybox", "--name", "kind", "--replicas", "2", "--wait", *SLEEP)
    check(cube("explain", "kind"), 2, "kind is not a single task", "kind/kind/1, kind/kind/2")
    check(cube("rm", "kind/kind"), 2, "a job is removed as a whole", "cube stop kind/kind")
    assert cube("status", "kind", "-o", "json").json["job"]["state"] == "running"
    cube("rm", "kind", "--force")


def test_events_that_there_are_not(cube):
    done = cube("events", "--job", "nope", "--after", "3")
    assert (done.code, done.out, done.err) == (0, "", "no events of a job nope after revision 3\n")
    assert cube("events", "--job", "nope", "-o", "json").json == []


def test_a_name_that_another_file_owns(cube, tmp_path):
    job = "name: owned\nservices: {web: {image: busybox, command: sleep 1000}}\n"
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(job)
    assert cube("run", "-f", tmp_path / "one.yaml", "--wait").code == 0
    for arguments in (("run",), ("plan",)):
        done = cube(*arguments, "-f", tmp_path / "two.yaml")
        check(done, 6, "the name owned belongs to a job from", "name")
    assert cube("status", "owned", "-o", "json").json["job"]["version"] == 1
    cube("rm", "owned", "--force")


def test_removing_what_runs(cube):
    cube("run", "busybox", "--name", "alive", "--wait", *SLEEP)
    check(cube("rm", "alive"), 6, "alive has 1 task", "cube rm alive --force")
    assert cube("status", "alive/alive/1", "-o", "json").json["state"] == "running"
    assert cube("rm", "alive", "--force").code == 0


def test_a_plan_with_a_policy_that_is_not_there(cube, tmp_path):
    (tmp_path / "ok.yaml").write_text(WEB)
    done = cube("plan", "-f", tmp_path / "ok.yaml", "--policy", "best")
    check(done, 2, "there is no policy 'best'", "Name one of epvm, ")
