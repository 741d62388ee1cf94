"""Plain processes outlive whatever happens to the control plane, and none is started twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from engine_bench import Bench, await_end, exits, forever, key_of, run_to_end

from cube.engine import make_engine
from cube.messages import Exited, Kill, Started


@pytest.fixture
def bench(process_bench) -> Bench:
    return process_bench()


CONTROL_PLANE = """
import sys, queue, pathlib
from cube.engine import make_engine
from cube.messages import Run, RunKey, Started
from cube.spec import TaskSpec
told = queue.Queue()
engine = make_engine("process", cluster=sys.argv[1], node="node-1", emit=told.put,
                     state_dir=pathlib.Path(sys.argv[2]))
spec = TaskSpec("web", "", command=("/bin/sh", "-c", sys.argv[3]))
engine.handle(Run(RunKey("shop/web/1@7", 1, 0), 1, spec))
print(told.get(timeout=20).handle, flush=True)
sys.stdin.read()
"""


def killed_control_plane(cluster: str, state_dir: Path, script: str) -> int:
    """Start a task from a process that is then killed; the task's pid."""
    argv = [sys.executable, "-c", CONTROL_PLANE, cluster, str(state_dir), script]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as plane:
        assert plane.stdout is not None
        pid = int(plane.stdout.readline())
        plane.kill()
    return pid


def test_runs_on_after_kill_9_and_is_adopted(process_bench, cluster: str, tmp_path: Path) -> None:
    pid = killed_control_plane(cluster, tmp_path, "trap 'exit 9' TERM; while :; do sleep .05; done")
    bench = process_bench()
    (found,) = bench.list().found
    assert (found.key, found.running, found.handle) == (key_of(), True, str(pid))
    bench.kill(key_of())
    assert bench.next(Exited).exit_code == 9


def test_an_end_that_nobody_watched_is_known(process_bench, cluster: str, tmp_path: Path) -> None:
    pid = killed_control_plane(cluster, tmp_path, "exit 4")
    await_end(pid)
    bench = process_bench()
    bench.run(exits(0))  # the key that has run already: answered, not run again
    assert bench.next(Exited).exit_code == 4
    (found,) = bench.list().found
    assert (found.running, found.exit_code, found.interrupted) == (False, 4, False)


def test_runs_of_an_earlier_boot_were_interrupted(bench: Bench, tmp_path: Path) -> None:
    run_to_end(bench, exits(0))
    (file,) = (tmp_path / "process").glob("*/*/*/state.json")
    state = json.loads(file.read_text())
    file.write_text(json.dumps({**state, "boot_id": "an earlier one", "exit_code": None}))
    bench.restart()
    (found,) = bench.list().found
    assert (found.running, found.interrupted) == (False, True)
    assert found.reason == "the host restarted"


def test_a_start_that_was_cut_off_is_cleared_away(bench: Bench, tmp_path: Path) -> None:
    run_to_end(bench, exits(0))
    (directory,) = (tmp_path / "process").glob("*/node-1")
    (file,) = directory.glob("*/state.json")
    file.unlink()
    assert bench.list().found == ()
    assert list(directory.iterdir()) == []


def test_another_clusters_runs_are_left_alone(bench: Bench, tmp_path: Path) -> None:
    bench.run(forever())
    bench.next(Started)
    other = Bench(
        lambda emit: make_engine(
            "process", cluster="another", node="node-1", emit=emit, state_dir=tmp_path
        )
    )
    assert other.list().found == ()
    other.order(Kill(key_of(), 0.0))
    assert other.next(Exited).reason == "gone"
    other.close()
    assert bench.list().found[0].running
