"""The command line against a real manager and real processes: what a user does in a day."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_bench import Command, check, cluster_of, command, process
from submit_cutter import Cut

from cube.cluster import Cluster

EXAMPLE = Path(__file__).parents[2] / "examples" / "shop.compose.yaml"
FOREVER = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"
JOB = """\
name: {name}
services:
  web:
    image: busybox:latest
    command: [sh, -c, "echo hello from $$CUBE_TASK; {loop}"]
    environment: {{GREETING: {greeting}, API_TOKEN: {secret}}}
    deploy: {{replicas: {replicas}}}
  side:
    image: busybox:latest
    command: [sh, -c, "{loop}"]
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    with cluster_of(tmp_path_factory.mktemp("cli") / "state") as made:
        yield made


@pytest.fixture
def cube(cluster: Cluster, capsys, monkeypatch) -> Command:
    monkeypatch.setenv("CUBE_STATE_DIR", str(cluster.state.path))
    monkeypatch.delenv("CUBE_ADDR", raising=False)
    return command(capsys)


@pytest.fixture
def job_file(tmp_path):
    def write(name: str, greeting: str = "hi", replicas: int = 2, secret: str = "s3cret") -> Path:
        path = tmp_path / f"{name}.compose.yaml"
        loop = FOREVER.replace("$", "$$")
        text = JOB.format(name=name, loop=loop, greeting=greeting, replicas=replicas, secret=secret)
        path.write_text(text)
        return path

    return write


def containers(cube: Command, job: str) -> dict[str, str]:
    return {t["id"]: t["container"] for t in cube("status", job, "-o", "json").json["tasks"]}


def test_a_day_with_a_job(cube, job_file):
    first = cube("run", "-f", job_file("day"), "--wait")
    assert first.code == 0, first.err
    assert first.out.startswith("day version 1 created\n  + web: created, 2 instances\n")
    assert "day version 1 is running" in first.out
    assert "day/web/2  running" in first.err
    before = containers(cube, "day")

    again = cube("run", "-f", job_file("day"))
    assert (again.code, again.out) == (0, "day is unchanged\n")

    changed = cube("run", "-f", job_file("day", greeting="hello"), "--wait")
    assert changed.code == 0, changed.err
    assert "  ~ web: changed\n      environment.GREETING: hi -> hello\n" in changed.out
    assert "  = side: unchanged\n" in changed.out
    after = containers(cube, "day")
    assert after["day/side/1"] == before["day/side/1"]
    assert after["day/web/1"] != before["day/web/1"]
    assert after["day/web/2"] != before["day/web/2"]

    stopped = cube("stop", "day")
    assert (stopped.code, stopped.out) == (0, "day has stopped\n")
    states = {t["state"] for t in cube("status", "day", "-o", "json").json["tasks"]}
    assert states == {"stopped"}
    assert cube("rm", "day").out == "day is removed\n"
    assert cube("status", "day").code == 5


def test_looking_at_a_job(cube, job_file):
    assert cube("run", "-f", job_file("look"), "--wait").code == 0

    everything = cube("status")
    assert everything.out.startswith("policy epvm; nodes: 3 alive; tasks: ")
    assert "look/web/1" in everything.out
    seen = cube("status", "-o", "json").json
    assert seen["cluster"]["now"].endswith("Z")
    assert {t["state"] for t in seen["tasks"] if t["job"] == "look"} == {"running"}

    assert "web      service  busybox:latest  2/2" in cube("status", "look").out
    assert "look/side/1" not in cube("status", "look/web").out
    assert "state      running\n" in cube("status", "look/web/1").out

    nodes = cube("nodes", "-o", "json").json
    assert [n["name"] for n in nodes] == ["node-1", "node-2", "node-3"]
    assert "node-3  alive  process" in cube("nodes").out

    why = cube("explain", "look/web/1")
    assert "scores" in why.out
    assert "picked" in why.out
    assert "decided anew, now" in cube("explain", "look/web/1", "--now").out
    now = cube("explain", "look/web/1", "--now", "-o", "json").json["now"]
    assert len(now["verdicts"]) == 3

    assert cube("logs", "look/web/1").out == "hello from look/web/1\n"
    assert cube("logs", "look/web/1", "-o", "json").json == {
        "task": "look/web/1",
        "line": "hello from look/web/1",
    }
    both = cube("logs", "look/web", "-n", "1").out.splitlines()
    assert both == [f"web/{i} | hello from look/web/{i}" for i in (1, 2)]

    history = cube("events", "--job", "look")
    assert "job.submitted     look version 1 created" in history.out
    events = cube("events", "--job", "look", "-o", "json").json
    later = cube("events", "--job", "look", "--after", events[1]["revision"], "-o", "json").json
    assert later == [e for e in events if e["revision"] > events[1]["revision"]]
    cube("rm", "look", "--force")


def test_secrets_are_masked_everywhere(cube, job_file):
    cube("run", "-f", job_file("mask", secret="OpenSesame"), "--wait")
    changed = job_file("mask", secret="OtherSesame")
    said = [
        cube("plan", "-f", changed),
        cube("plan", "-f", changed, "-o", "json"),
        cube("run", "-f", changed, "--wait"),
        cube("status", "mask", "-o", "json"),
        cube("explain", "mask/web/1", "-o", "json"),
        cube("events"),
    ]
    assert all("Sesame" not in done.out + done.err for done in said)
    assert "API_TOKEN" in said[0].out
    cube("rm", "mask", "--force")


def test_a_plan_changes_nothing_and_says_so(cube, job_file):
    file = job_file("plan")
    plan = cube("plan", "-f", file, "--policy", "epvm,round-robin", "--exit-code")
    assert plan.code == 10
    assert "+ web: created, 2 instances" in plan.out
    assert "TASK" in plan.out
    assert "ROUND-ROBIN" in plan.out
    assert cube("status", "plan").code == 5
    cube("run", "-f", file, "--wait")
    assert cube("plan", "-f", file, "--exit-code").code == 0
    cube("rm", "plan", "--force")


def test_an_image_runs_without_a_file(cube):
    done = cube("run", "busybox", "--name", "sum", "--batch", "--wait", "--", "echo", "4")
    assert done.code == 0, done.err
    assert "sum/sum/1  completed" in done.out
    again = cube("run", "busybox", "--name", "sum", "--batch", "--wait", "--", "echo", "4")
    assert again.out.startswith("sum is unchanged")
    first = cube("status", "sum/sum/1", "-o", "json").json
    once_more = cube(
        "run", "busybox", "--name", "sum", "--batch", "--again", "--wait", "--", "echo", "4"
    )
    assert once_more.code == 0
    assert cube("status", "sum/sum/1", "-o", "json").json["revision"] > first["revision"]
    cube("rm", "sum", "--force")


def test_what_has_no_room_waits_and_says_why(cube):
    done = cube("run", "busybox", "--name", "big", "--memory", "500G", "--wait", "--", "true")
    assert done.code == 3
    for text in (done.err, cube("status").out, cube("explain", "big/big/1").out):
        assert "needs 512000 MiB memory; the best of 3 nodes, node-" in text
    cube("rm", "big", "--force")


def test_a_job_as_json(cube, job_file):
    done = cube("run", "-f", job_file("json"), "--wait", "-o", "json")
    assert done.code == 0
    assert done.json["submit"]["status"] == "created"
    assert done.json["job"]["ready"] is True
    assert len(done.json["tasks"]) == 3
    assert cube("stop", "json", "-o", "json").json["status"] == "ok"
    assert cube("rm", "json", "-o", "json").json["status"] == "ok"


def test_a_file_from_stdin(cube, job_file, monkeypatch):
    text = job_file("stdin").read_bytes()
    read, write = socket.socketpair()
    with read, write, read.makefile() as stdin:
        write.sendall(text)
        write.shutdown(socket.SHUT_WR)
        monkeypatch.setattr("sys.stdin", stdin)
        assert cube("run", "-f", "-", "--no-wait").code == 0
    cube("rm", "stdin", "--force")


def test_nothing_to_recover(cube):
    assert cube("recover").out == "no unknown containers\n"
    assert cube("recover", "-o", "json").json["unknown"] == []


def test_names_complete_in_the_shell(cube, cluster, job_file):
    cube("run", "-f", job_file("tab"), "--wait")
    words = {"COMP_WORDS": "cube stop tab/", "COMP_CWORD": "2", "_CUBE_COMPLETE": "bash_complete"}
    with process(**words, CUBE_STATE_DIR=str(cluster.state.path)) as shell:
        shell.end()
        assert sorted(shell.said.split()) == ["plain,tab/side", "plain,tab/web"]
    cube("rm", "tab", "--force")


def test_doctor_finds_the_manager(cube, cluster):
    checks = {c["check"]: c for c in cube("doctor", "-o", "json").json}
    assert checks["manager"]["text"] == f"answers at {cluster.url}"
    assert checks["lock"]["text"].startswith("held by process ")


def test_a_submit_whose_answer_is_lost_happens_once(cube, cluster, job_file, monkeypatch):
    cut = Cut(cluster.url)
    try:
        monkeypatch.setenv("CUBE_ADDR", cut.address)
        done = cube("run", "-f", job_file("once"), "--no-wait")
    finally:
        cut.close()
    assert done.code == 0, done.err
    assert done.out.startswith("once version 1 created")
    assert len(cut.submits) == 2
    assert len(set(cut.submits)) == 1
    monkeypatch.delenv("CUBE_ADDR")
    cube("rm", "once", "--force")


def test_ctrl_c_detaches(cube, cluster):
    args = ("run", "busybox", "--name", "away", "--batch", "--wait", "--", "sleep", "1000")
    with process(*args, CUBE_STATE_DIR=str(cluster.state.path)) as waiting:
        waiting.wait_for("away/away/1  running")
        assert waiting.end(signal.SIGINT) == 130
        assert "detached; away goes on" in waiting.said
        assert "cube stop away" in waiting.said
        assert "Traceback" not in waiting.said
    assert cube("status", "away/away/1", "-o", "json").json["state"] == "running"
    cube("rm", "away", "--force")


def test_following_events_and_output_until_ctrl_c(cube, cluster, job_file):
    cube("run", "-f", job_file("tail"), "--wait")
    where = {"CUBE_STATE_DIR": str(cluster.state.path)}
    with process("logs", "-f", "tail", **where) as logs, process("events", "-f", **where) as events:
        logs.wait_for("web/1  | hello from tail/web/1")
        events.wait_for("tail version 1 created")
        cube("stop", "tail/side")
        events.wait_for("tail/side/1 stopped on node-")
        assert events.end(signal.SIGINT) == 130
        assert logs.end(signal.SIGINT) == 130
    cube("rm", "tail", "--force")


def test_watching_shows_each_change(cube, cluster, job_file):
    cube("run", "-f", job_file("watch"), "--wait")
    with process("status", "watch", "-w", CUBE_STATE_DIR=str(cluster.state.path)) as watch:
        watch.wait_for("watch version 1 is running")
        cube("stop", "watch")
        watch.wait_for("watch version 1 is stopped")
        assert watch.end(signal.SIGINT) == 130
    cube("rm", "watch", "--force")


def test_scaling_restarting_rolling_back_and_waiting(cube, job_file):
    cube("run", "-f", job_file("day2"), "--wait")
    before = containers(cube, "day2")
    done = cube("scale", "day2/web=3", "--wait")
    assert done.code == 0, done.err
    assert "  ~ web: changed, 2 -> 3 instances\n" in done.out
    grown = containers(cube, "day2")
    assert {k: grown[k] for k in before} == before
    assert cube("wait", "day2").out == "day2 version 2 is running\n"

    done = cube("restart", "day2/web", "--wait", "--timeout", "60s")
    assert done.code == 0, done.err
    after = containers(cube, "day2")
    assert [k for k in sorted(after) if after[k] == grown[k]] == ["day2/side/1"]

    assert cube("rollback", "day2", "--wait").code == 0
    states = {t["id"]: t["state"] for t in cube("status", "day2", "-o", "json").json["tasks"]}
    assert [k for k in sorted(states) if states[k] == "running"] == sorted(before)
    assert cube("rollback", "day2", "--to", "9").code == 5
    for wrong in ("day2/web", "day2=3", "day2/web=-1", "a/b/1=2"):
        check(cube("scale", wrong), 2, "is no number of instances", "JOB/SERVICE=N")
    check(cube("scale", "a/b=1", "c/d=2"), 2, "several jobs", "one command for each")
    cube("rm", "day2", "--force")


def test_waiting_for_work_that_ends(cube):
    sum_of = ("run", "busybox", "--batch", "--no-wait", "--restart", "no")
    cube(*sum_of, "--name", "fine", "--", "sh", "-c", "exit 0")
    assert cube("wait", "fine", "--timeout", "60s").code == 0
    cube(*sum_of, "--name", "broken", "--", "sh", "-c", "exit 3")
    assert cube("wait", "broken", "--timeout", "60s").code == 4
    assert cube("wait", "broken").code == 4  # it has failed already
    assert cube("wait", "nope").code == 5
    cube("rm", "fine", "--force")
    cube("rm", "broken", "--force")
