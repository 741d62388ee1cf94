"""Units for systemd: what is written, and that systemd understands it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from cube.cli.remains import WorkerRemains
from cube.cli.tree import cube
from cube.engine import remove_cluster_remains
from cube.hosting.units import (
    UnitError,
    check_systemd,
    install,
    paused,
    uninstall,
    unit_text,
    words_of,
)
from cube.spec import JobSpec, TaskSpec
from tests.hosting.hosts import client_of, manager_at, worker_at
from tests.waiting import wait

ODD = ["--label", "a=b c", "--policy", 'x(y="50%")', "--name", "$HOME", "--gpus", "", "back\\slash"]


def shown(*words: str) -> str:
    done = CliRunner().invoke(cube, [*words, "--print"], env={"DOCKER_HOST": "unix:///d.sock"})
    assert done.exit_code == 0, done.output
    return done.output


def test_words_come_back_from_a_unit() -> None:
    assert words_of(unit_text("worker", ODD)) == ODD


@pytest.mark.parametrize("kind", ["manager", "worker"])
def test_systemd_understands_the_unit(kind, tmp_path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    path = tmp_path / f"cube-{kind}.service"
    path.write_text(unit_text(kind, ODD))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True
    )
    assert path.name not in done.stderr, done.stderr


def test_unit_has_the_options_and_no_token(tmp_path) -> None:
    told = ["--join", "https://h:1", "--token=cube1-x", "--label", "a=b", "--engine", "process"]
    words = words_of(shown("worker", "install", *told, "--state-dir", str(tmp_path)))
    assert words[:4] == ["--label", "a=b", "--engine", "process"]
    assert words[4:] == ["--state-dir", str(tmp_path), "--docker-host", "unix:///d.sock"]
    text = shown("manager", "install", "--listen", "0.0.0.0:7460", "--state-dir", str(tmp_path))
    assert words_of(text) == ["--listen", "0.0.0.0:7460", "--state-dir", str(tmp_path)]
    assert f"ExecStart={sys.executable} -m cube manager" in text


def test_options_before_install_are_refused() -> None:
    done = CliRunner().invoke(cube, ["manager", "--listen", "0.0.0.0:1", "install", "--print"])
    assert done.exit_code == 2
    assert "after install" in done.output


@pytest.fixture
def told(tmp_path, monkeypatch) -> Callable[[], list[str]]:
    """What systemd was told: another program of its name writes it down."""
    log, program = tmp_path / "told", tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$*" >> {log}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return lambda: log.read_text().splitlines() if log.exists() else []


def test_unit_is_installed_again_and_removed(tmp_path, told) -> None:
    with paused("worker", tmp_path):
        assert told() == []  # there is none yet
    install("worker", unit_text("worker", ODD), tmp_path)
    installed = ["daemon-reload", "enable cube-worker.service", "restart cube-worker.service"]
    assert told() == installed
    path = tmp_path / "cube-worker.service"
    assert path.stat().st_mode & 0o777 == 0o644
    with paused("worker", tmp_path):
        assert told() == [*installed, "stop cube-worker.service"]
    with pytest.raises(KeyError), paused("worker", tmp_path):
        raise KeyError
    assert told()[len(installed) + 1 :] == ["stop cube-worker.service", "start cube-worker.service"]
    assert uninstall("worker", tmp_path) == ODD
    assert not path.exists()
    assert told()[-2:] == ["disable --now cube-worker.service", "daemon-reload"]
    with pytest.raises(UnitError, match="No cube worker is installed") as caught:
        uninstall("worker", tmp_path)
    assert caught.value.exit_code == 5


def test_machine_without_systemd_is_told_what_to_do(tmp_path) -> None:
    with pytest.raises(UnitError, match="--print"):
        check_systemd(tmp_path / "none")


def test_what_a_worker_leaves_is_told_and_removed(tmp_path) -> None:
    with (
        manager_at(tmp_path / "manager") as manager,
        client_of(manager) as client,
        worker_at(tmp_path / "one", manager, "one", engine="process") as worker,
    ):
        command = ("sleep", "1000")
        client.submit(JobSpec("shop", (TaskSpec("web", "image", command=command),)))
        wait(client, lambda: client.task("shop/web/1")["state"] == "running")
    engine = worker.directory.engine_path
    try:
        remains = WorkerRemains.of(tmp_path / "one", "process", None)
        assert (remains.node, remains.cluster) == ("one", worker.cluster)
        assert str(tmp_path / "one") in remains.shown()
        remains.remove()
        assert not (tmp_path / "one").exists()
    finally:
        remove_cluster_remains("process", cluster=worker.cluster, state_dir=engine)
