"""`--log-format json`: each line that a manager, a worker or a `cube dev` writes is JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cube.client import Client
from cube.state_dir import StateDir

HERE = "127.0.0.1:0"


@contextmanager
def cube(*words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own; ended at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cube", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def first(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The first line of its log."""
    assert process.stderr is not None
    line = json.loads(process.stderr.readline())
    assert isinstance(line, dict)
    return line


def end(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Ask it to end. The rest of its log; nothing is on stdout, and it ends well."""
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    return [json.loads(line) for line in err.splitlines()]


def test_manager_and_worker_log_json(tmp_path: Path) -> None:
    state = tmp_path / "manager"
    where = ["--listen", HERE, "--listen-nodes", HERE, "--state-dir", str(state)]
    with cube("manager", *where, "--log-format", "json") as manager:
        begun = first(manager)
        assert begun["message"].endswith(f"manager listens at {begun['url']}")
        found = StateDir(state)
        authority = found.certificate_path.read_text()
        with Client(begun["url"], found.token(), authority) as client:
            token = client.create_token("one", "join")["token"]
        join = ["--join", begun["url"], "--token", token, "--engine", "simulated"]
        own = ["--listen", HERE, "--name", "one", "--state-dir", str(tmp_path / "one")]
        with cube("worker", *join, *own, CUBE_LOG_FORMAT="json") as worker:
            joined = first(worker)
            assert joined["node"] == "one"
            assert end(worker)[-1]["message"].startswith("stopped; what runs goes on")
        rest = end(manager)
        assert rest[-1]["message"] == "stopped; nodes go on with what they run"
        assert "cube1-" not in json.dumps([begun, joined, *rest])


def test_dev_logs_json_and_its_events_too(tmp_path: Path) -> None:
    words = ["dev", "--engine", "simulated", "--workers", "1", "--state-dir", str(tmp_path)]
    with cube(*words, "--log-format", "json") as dev:
        url = first(dev)["url"]
        with Client(url, StateDir(tmp_path).token()) as client:
            client.create_token("ann")
            client.drain("node-1", on=True)
        lines = [first(dev)]
        while lines[-1].get("kind") != "node.drained":
            lines.append(first(dev))
        assert lines[-1]["node"] == "node-1"
        assert end(dev)[-1]["message"] == "stopped; simulated tasks end with it"
