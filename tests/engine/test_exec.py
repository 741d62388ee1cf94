"""Commands beside tasks, through the API and the command line, on each engine that has any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_bench import Command, check, cluster_of, command, until

from cube.client import ApiProblem, Client, Running
from cube.spec import JobSpec, TaskSpec
from tests.hosting.hosts import cluster as several_hosts

TASK = "shop/web/1"
SLEEP = TaskSpec(
    "web",
    "busybox:latest",
    command=("sleep", "1000"),
    environment=(("GREETING", "hi"),),
    cpu_milli=10,
    memory_mib=8,
)


@pytest.fixture(
    scope="module",
    params=[pytest.param("docker", marks=pytest.mark.docker), "process", "another machine"],
)
def place(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[tuple[Client, Path]]:
    """A client of a cluster that runs the task, and the state directory."""
    state = tmp_path_factory.mktemp("exec") / "state"
    if request.param == "another machine":
        with several_hosts(state, "one", engine="process") as (manager, client):
            begin(client)
            yield client, manager.state.path
        return
    if request.param == "docker":
        request.getfixturevalue("docker_api")
    with (
        cluster_of(state, workers=1, engine=request.param) as made,
        Client(made.url, made.token) as client,
    ):
        begin(client)
        yield client, made.state.path


def begin(client: Client) -> None:
    client.submit(JobSpec("shop", (SLEEP,)))
    until(client, lambda: client.task(TASK)["state"] == "running")


@pytest.fixture
def client(place: tuple[Client, Path]) -> Client:
    return place[0]


@pytest.fixture
def cube(place: tuple[Client, Path], capsys, monkeypatch) -> Command:
    monkeypatch.setenv("CUBE_STATE_DIR", str(place[1]))
    monkeypatch.delenv("CUBE_ADDR", raising=False)
    return command(capsys)


def press_again_and_again(running: Running) -> None:
    """Until nobody takes it any more; that is known within a moment."""
    while True:
        running.write(b"\r")


def said_until(running: Running, text: bytes) -> bytes:
    said = b""
    for _, piece in running.output():
        said += piece
        if text in said:
            return said
    raise AssertionError(f"it ended without {text!r}: {said!r}")


def test_a_command_says_what_it_says_and_ends_as_it_ends(cube):
    done = cube("exec", TASK, "--", "sh", "-c", 'echo "$GREETING"; echo no >&2; exit 3')
    assert (done.code, done.out, done.err) == (3, "hi\n", "no\n")
    assert cube("exec", TASK, "--", "cat").code == 0  # there is no input to wait for


def test_input_reaches_the_command(client):
    with client.execute(TASK, ["sh", "-c", "cat; echo over"], rows=24, columns=80) as running:
        running.write(b"one\n")
        assert said_until(running, b"one\n") == b"one\n"
        running.end_input()
        assert said_until(running, b"over") == b"over\n"
        assert list(running.output()) == []
        assert running.exit_code == 0


def test_a_terminal_has_its_users_size(client):
    """A command may begin before Docker has given it the size, as with docker exec."""
    script = 'until [ "$(stty size)" = "33 111" ]; do sleep 0.05; done; echo "large"; read line;'
    script += " stty size; test -t 0 && echo tty"
    with client.execute(TASK, ["sh", "-c", script], tty=True, rows=33, columns=111) as running:
        said_until(running, b"large")
        running.resize(20, 60)
        running.write(b"\r")
        assert b"20 60" in said_until(running, b"tty")


def test_a_terminal_that_is_left_ends_its_shell(client):
    with client.execute(TASK, ["sh"], tty=True, rows=24, columns=80) as running:
        running.write(b"echo $$-is-my-number\r")
        said_until(running, b"-is-my-number\r\n")
    with pytest.raises(ApiProblem, match="it has ended"):
        press_again_and_again(running)


def test_what_cannot_be_run(cube, client):
    check(cube("exec", "shop/web", "--", "ls"), 2, "shop/web is no task", "shop/web/1")
    check(cube("exec", "shop/web/9", "--", "ls"), 5, "no task shop/web/9", "cube status")
    check(cube("exec", "-t", TASK, "--", "ls"), 2, "no terminal", "leave out -t")
    done = cube("exec", TASK, "--", "no-such-command")
    assert done.code in (1, 126, 127), done
    assert "no-such-command" in done.out + done.err
    client.submit(JobSpec("big", (TaskSpec("web", "busybox:latest", memory_mib=99_999_999),)))
    check(cube("exec", "big/web/1", "--", "ls"), 6, "big/web/1 is pending", "cube explain")
    client.remove("big", force=True)
