"""A job that is kept together, from the command line and with real processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_bench import Command, cluster_of, command

FILE = """\
name: {name}
x-cube: {{together: true}}
services:
  web:
    image: busybox:latest
    depends_on: [db]
    command: &forever [sh, -c, "trap 'exit 0' TERM; while :; do sleep 1 & wait $$!; done"]
    deploy: {{replicas: 2}}
  db:
    image: busybox:latest
    command: *forever
    deploy: {{resources: {{reservations: {{cpus: "{cpus}"}}}}}}
"""


@pytest.fixture
def cube(tmp_path: Path, capsys, monkeypatch) -> Command:
    with cluster_of(tmp_path / "state") as cluster:
        monkeypatch.setenv("CUBE_STATE_DIR", str(cluster.state.path))
        monkeypatch.delenv("CUBE_ADDR", raising=False)
        yield command(capsys)


def job_file(tmp_path: Path, name: str, cpus: str = "0.1") -> Path:
    path = tmp_path / f"{name}.compose.yaml"
    path.write_text(FILE.format(name=name, cpus=cpus))
    return path


def nodes(cube: Command, job: str) -> set[str | None]:
    return {task["node"] for task in cube("status", job, "-o", "json").json["tasks"]}


def test_it_runs_on_one_node_and_moves_from_there_as_a_whole(cube, tmp_path):
    file = job_file(tmp_path, "shop")
    assert cube("validate", file).code == 0
    (planned,) = cube("plan", "-f", file, "-o", "json").json["policies"]
    assert len({p["node"] for p in planned["placements"]}) == 1
    assert cube("run", "-f", file, "--wait").code == 0
    (home,) = nodes(cube, "shop")
    assert cube("node", "drain", home, "--wait").code == 0
    assert cube("wait", "shop").code == 0
    (now,) = nodes(cube, "shop")
    assert now not in (None, home)
    told = cube("explain", "shop/web/2", "--now").out
    assert "is kept with its job on " + now in told


def test_what_no_node_takes_as_a_whole_waits_and_says_so(cube, tmp_path):
    file = job_file(tmp_path, "big", "10000")
    assert "no node takes its whole job" in cube("plan", "-f", file).out
    assert cube("run", "-f", file, "--wait").code == 3
    assert nodes(cube, "big") == {None}
    assert "needs 10000.2 CPUs" in cube("explain", "big/db/1").out
