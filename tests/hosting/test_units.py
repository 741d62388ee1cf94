"""Units for systemd: what is written, and that systemd understands it."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cube.cli.remains import WorkerRemains
from cube.cli.tree import cube
from cube.engine import remove_cluster_remains
from cube.hosting.units import UnitError, check_systemd, unit_text, words_of
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
