"""What plain processes get from their engine, and that nothing of them is lost or left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from engine_bench import Bench, await_end, forever, key_of, output, run_to_end, shell

from cube.engine import EngineUnavailable, make_engine, remove_cluster_remains
from cube.engine.capacity import WHOLE, Reserve, Share
from cube.messages import Exited, Started
from cube.spec import Port, TaskSpec


@pytest.fixture
def bench(process_bench) -> Bench:
    return process_bench()


# --- what a task finds -------------------------------------------------------------------


def test_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_THE_CONTROL_PLANE", "hidden")
    spec = shell("env", environment=(("COLOUR", "blue"),), ports=(Port(80),))
    key = bench.run(spec)
    (port,) = bench.next(Started).ports
    bench.next(Exited)
    lines = output(bench, key).splitlines()
    assert {"COLOUR=blue", "CUBE_TASK=shop/web/1", f"CUBE_PORT_80={port.host}"} <= set(lines)
    assert "hidden" not in "".join(lines)


def test_entrypoint_comes_before_command(bench: Bench) -> None:
    spec = TaskSpec("web", "", entrypoint=("echo", "a"), command=("b c",))
    assert run_to_end(bench, spec)[1] == "a b c\n"


def test_works_in_a_scratch_directory_of_its_own(bench: Bench, tmp_path: Path) -> None:
    _, first = run_to_end(bench, shell("pwd; touch left-behind"))
    assert Path(first.strip()).is_relative_to(tmp_path)
    key = bench.run(shell("ls"), key_of(restart=1))
    bench.next(Exited, key)
    assert output(bench, key) == ""


def test_working_directory(bench: Bench, tmp_path: Path) -> None:
    assert run_to_end(bench, shell("pwd", working_dir=str(tmp_path)))[1] == f"{tmp_path}\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_user(bench: Bench) -> None:
    spec = shell("id -u; id -g", user="1234:4321", working_dir="/")
    assert run_to_end(bench, spec)[1] == "1234\n4321\n"


def test_stdout_and_stderr_are_kept(bench: Bench) -> None:
    assert run_to_end(bench, shell("echo one; echo two >&2"))[1] == "one\ntwo\n"


def test_is_in_a_session_of_its_own(bench: Bench) -> None:
    key = bench.run(forever())
    pid = int(bench.next(Started).handle)
    assert os.getsid(pid) == pid
    bench.kill(key, 0.0)
    bench.next(Exited)


# --- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "code", "reason"),
    [
        (TaskSpec("web", "nginx"), None, "web has no command, and a plain process has no image"),
        (TaskSpec("web", "", command=("nonesuch", "x")), 127, "no such command: nonesuch"),
        (TaskSpec("web", "", command=("/etc/passwd",)), 126, "not executable: /etc/passwd"),
        (shell("true", working_dir="/none"), 126, "no such working directory: /none"),
        (shell("true", user="nobody-here"), 126, "cannot run as user nobody-here"),
        (shell("true", stop_signal="SIGNONE"), None, "there is no stop signal SIGNONE"),
    ],
)
def test_refuses(bench: Bench, spec: TaskSpec, code: int | None, reason: str) -> None:
    exited, _ = run_to_end(bench, spec)
    assert (exited.started, exited.exit_code) == (False, code)
    assert exited.reason.startswith(reason)
    assert not exited.retry
    assert bench.list().found == ()


def test_a_port_that_is_taken(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        exited, _ = run_to_end(bench, shell("true", ports=(Port(80, port),)))
    assert exited.reason == f"port {port}/tcp is already in use on this host"
    assert exited.retry


def test_a_state_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "process").write_text("in the way")
    with pytest.raises(EngineUnavailable, match="--state-dir"):
        make_engine("process", cluster="c", node="n", emit=print, state_dir=tmp_path)


def test_a_start_that_cannot_be_written(bench: Bench, tmp_path: Path) -> None:
    (directory,) = (tmp_path / "process").glob("*/node-1")
    directory.rmdir()
    directory.write_text("in the way")
    exited, _ = run_to_end(bench, shell("true"))
    assert exited.reason.startswith(f"cannot write {directory}")
    directory.unlink()


# --- nothing of it stays alive -----------------------------------------------------------


def test_descendants_end_with_the_task(bench: Bench) -> None:
    _, text = run_to_end(bench, shell("setsid sleep 1000 & echo $!; exit 3"))
    await_end(int(text))


def test_descendants_that_were_orphaned_end_with_a_kill(bench: Bench) -> None:
    key = bench.run(shell("(setsid sleep 1000 & echo $!); sleep 1000"))
    bench.next(Started)
    orphan = int(bench.logs_until(key, b"\n"))
    bench.kill(key)
    assert bench.next(Exited).reason == "killed by SIGTERM"
    await_end(orphan)


def test_a_killed_shim_takes_its_task_along(bench: Bench) -> None:
    key = bench.run(shell("(setsid sleep 1000 &); sleep 1000"))
    task = int(bench.next(Started).handle)
    shim = int(Path(f"/proc/{task}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(shim, signal.SIGKILL)
    exited = bench.next(Exited, key)
    assert (exited.exit_code, exited.interrupted) == (None, True)
    await_end(task)
    assert not bench.list().found[0].running


def test_purge_leaves_nothing(process_bench, cluster: str, tmp_path: Path) -> None:
    benches = [process_bench("node-1"), process_bench("node-2")]
    tasks = []
    for bench in benches:
        bench.run(forever())
        tasks.append(int(bench.next(Started).handle))
    remove_cluster_remains("process", cluster="another", state_dir=tmp_path)
    assert all(bench.list().found[0].running for bench in benches)
    remove_cluster_remains("process", cluster=cluster, state_dir=tmp_path)
    for task in tasks:
        await_end(task)
    assert not (tmp_path / "process").exists()


# --- the node ----------------------------------------------------------------------------


def test_nodes_of_one_machine_divide_it(tmp_path: Path) -> None:
    def info(share: Share):
        engine = make_engine(
            "process", cluster="c", node="n", emit=print, state_dir=tmp_path, share=share
        )
        engine.close()
        return engine.info

    whole, parts = info(WHOLE), [info(Share(i, 3)) for i in range(3)]
    assert whole.cpu_milli == (os.cpu_count() or 1) * 1000 - WHOLE.reserve.cpu_milli
    assert {part.cpu_milli for part in parts} == {whole.cpu_milli // 3}
    assert {part.memory_mib for part in parts} == {whole.memory_mib // 3}
    assert {part.host for part in parts} == {whole.host}
    more = info(Share(reserve=Reserve(750, 1024, 2048)))
    assert whole.cpu_milli - more.cpu_milli == 500
    assert whole.memory_mib - more.memory_mib == 512


def test_importing_the_package_loads_no_engine() -> None:
    code = "import sys, cube.engine; print({'docker', 'psutil'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
