"""Services that cannot be reached on several machines are told of; on one nothing changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cube.cli import main
from tests.hosting.hosts import cluster
from tests.waiting import wait

SHOP = """\
name: shop
services:
  web: {image: x, depends_on: [db]}
  db: {image: y}
"""
REFUSED = "shop.compose.yaml:3:32"


def job_file(folder: Path, text: str) -> str:
    path = folder / "shop.compose.yaml"
    path.write_text(text)
    return str(path)


def test_plan_refuses_on_several_machines_and_run_warns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = job_file(tmp_path, SHOP)
    with cluster(tmp_path, "one", "two") as (manager, client):
        where = ["--state-dir", str(manager.state.path)]
        assert main(["plan", "-f", file, *where]) == 1
        told = capsys.readouterr()
        assert REFUSED in told.err
        assert "together: true" in told.err
        assert main(["run", "-f", file, "--no-wait", *where]) == 0
        assert REFUSED in capsys.readouterr().err
        together = SHOP + "x-cube: {together: true}\n"
        assert main(["plan", "-f", job_file(tmp_path, together), *where]) == 0
        assert main(["run", "-f", file, "--no-wait", *where]) == 0
        assert REFUSED not in capsys.readouterr().err
        assert client.job("shop")["together"]
        wait(client, lambda: {t["state"] for t in client.tasks()} == {"running"})


def test_one_machine_is_as_convenient_as_ever(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = job_file(tmp_path, SHOP)
    with cluster(tmp_path, "one") as (manager, _):
        where = ["--state-dir", str(manager.state.path)]
        assert main(["plan", "-f", file, *where]) == 0
        assert main(["run", "-f", file, "--no-wait", *where]) == 0
        assert REFUSED not in capsys.readouterr().err
