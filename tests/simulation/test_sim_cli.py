"""`python -m sim` as a person uses it: files, tables, errors, Ctrl-C."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sim.__main__ import main, split
from sim.metrics import GRID, METRICS
from sim.scenario import read, written
from sim.schema import TASKS
from tests.experiments import small


@pytest.fixture
def scenario(tmp_path) -> str:
    path = tmp_path / "small.toml"
    path.write_text(written(small(workload={"tasks": 60})))
    return str(path)


def called(*arguments: object):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_run_says_what_happened_and_writes_it(scenario, tmp_path):
    out = tmp_path / "out"
    result = called("run", "--scenario", scenario, "--policy", "epvm", "--seed", 7, "--out", out)
    assert result.exit_code == 0, result.output
    for word in ("placements", "messages", "virtual time", "wall time", "trace_hash"):
        assert word in result.output
    assert "60 completed of 60" in result.output
    summary = json.loads((out / "summary.json").read_text())
    assert summary["schema_version"] == 2
    assert summary["trace_hash"] in result.output
    assert set(summary["metrics"]) == {metric.key for metric in METRICS}
    assert sorted(path.name for path in out.iterdir()) == [
        "env.json", "nodes.npz", "scenario.toml", "summary.json", "tasks.csv.gz",
    ]  # fmt: skip
    assert json.loads((out / "env.json").read_text())["packages"]["numpy"] == np.__version__


def test_the_tables_of_a_run(scenario, tmp_path):
    called("run", "--scenario", scenario, "--out", tmp_path / "out")
    with gzip.open(tmp_path / "out" / "tasks.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == tuple(column.name for column in TASKS)
    assert len(rows) == 60
    for row in rows:
        assert row["state"] == "completed"
        assert float(row["ended_seconds"]) >= float(row["placed_seconds"])
        assert row["node"].startswith("node-")
    with np.load(tmp_path / "out" / "nodes.npz") as nodes:
        assert nodes["cpu_milli"].shape == (GRID + 1, 10)
        assert (nodes["cpu_milli"] <= nodes["capacity_cpu_milli"]).all()
        assert nodes["names"][9] == "node-10"


def test_the_scenario_that_was_written_replays_the_run(scenario, tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    options = ("--load", 1.1, "--nodes", 5, "--policy", "random(seed=4)", "--seed", 3)
    called("run", "--scenario", scenario, *options, "--out", first)
    result = called("run", "--scenario", first / "scenario.toml", "--out", again)
    assert result.exit_code == 0, result.output
    hashes = [json.loads((d / "summary.json").read_text())["trace_hash"] for d in (first, again)]
    assert hashes[0] == hashes[1]
    for name in ("tasks.csv.gz", "scenario.toml"):
        assert (first / name).read_bytes() == (again / name).read_bytes()
    assert read(first / "scenario.toml").policies == ("random(seed=4)",)


def test_compare_writes_a_table_and_a_picture(scenario, tmp_path):
    out = tmp_path / "out"
    result = called(
        "compare", "--scenario", scenario, "--policies", "epvm,best-fit", "--seeds", 2, "--out", out
    )
    assert result.exit_code == 0, result.output
    assert "95 % interval" in result.output
    assert "baseline" in result.output
    assert (out / "comparison.png").read_bytes()[:4] == b"\x89PNG"
    rows = list(csv.DictReader((out / "comparison.csv").read_text().splitlines()))
    assert len(rows) == 2 * len(METRICS)
    assert {row["n"] for row in rows} == {"2"}
    assert (out / "runs" / "epvm" / "seed-2" / "tasks.csv.gz").exists()
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["baseline"], summary["seeds"]) == ("best-fit", [1, 2])
    replay = read(out / "scenario.toml")
    assert (replay.policies, replay.baseline) == (("epvm", "best-fit"), "best-fit")


def test_compare_says_that_nobody_waited_and_that_one_seed_is_not_enough(scenario):
    result = called(
        "compare", "--scenario", scenario, "--load", 0.05, "--tasks", 20,
        "--policies", "epvm,best-fit", "--seeds", "9,",
    )  # fmt: skip
    assert "no task waited under any policy: raise --load" in result.output
    assert "raise --seeds" in result.output


def test_nothing_is_overwritten_without_force(scenario, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    (out / "summary.json").write_text("old")
    result = called("run", "--scenario", scenario, "--out", out)
    assert result.exit_code == 2
    assert "is not empty" in result.output
    assert "--force" in result.output
    assert (out / "summary.json").read_text() == "old"
    assert called("run", "--scenario", scenario, "--out", out, "--force").exit_code == 0
    assert json.loads((out / "summary.json").read_text())["kind"] == "run"
    assert (out / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "--nodes", "0"), "0 is not in the range"),
        (("run", "--load", "-1"), "load: input should be greater than 0, got -1.0"),
        (("run", "--load", "nan"), "load: input should be a finite number"),
        (("run", "--policy", "epvmm"), "did you mean epvm?"),
        (("run", "--policy", "epvm(bse=1)"), "no parameter 'bse'"),
        (("run", "--policy", "no.such.module:x"), "cannot import no.such.module"),
        (("run", "--scenario", "stedy"), "Did you mean 'steady'?"),
        (("run", "--tasks", "ten"), "'ten' is not a valid integer"),
        (("compare", "--seeds", "none"), "Write how many, as in 5, or which, as in 7,8,9."),
        (("compare", "--seeds", "0"), "Ask for 1 to 100000"),
        (("compare", "--policies", ","), "list should have at least 1 item"),
        (("compare", "--policies", "epvm", "--baseline", "random"), "none of the policies"),
        (("simulate",), "No such command"),
    ],
)
def test_bad_input_is_one_clear_error(arguments, says):
    result = called(*arguments)
    assert result.exit_code == 2
    assert says in result.output
    assert "Traceback" not in result.output


def test_a_typo_in_a_scenario_names_the_line(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[workload]\nlaod = 0.9\n")
    result = called("run", "--scenario", path)
    assert result.exit_code == 2
    assert f"{path}:2: unknown key 'laod'. Did you mean 'load'?" in result.output


def test_a_folder_that_cannot_be_written_to(scenario, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    result = called("run", "--scenario", scenario, "--out", blocked / "out")
    assert result.exit_code == 2
    assert "cannot write to" in result.output


def test_commas_in_parameters_do_not_separate_policies():
    assert split("epvm(base=1.5, x=2),random") == ("epvm(base=1.5, x=2)", "random")


def started(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    """A long experiment in a process of its own, with a policy that says when it is asked."""
    (tmp_path / "telling.py").write_text(
        "import sim, sys\nimport numpy as np\n"
        "asked = 0\n"
        "@sim.policy\n"
        "def policy(fleet, task, rows):\n"
        "    global asked\n"
        "    asked += 1\n"
        "    if asked == 100:\n"
        "        print('busy', file=sys.stderr, flush=True)\n"
        "    return np.zeros(len(rows))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-m", "sim", *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--policy", "telling:policy"),
        ("compare", "--policies", "telling:policy,epvm", "--processes", "2"),
    ],
)
def test_ctrl_c_leaves_nothing_half_done(tmp_path, arguments):
    process = started(tmp_path, *arguments, "--tasks", "100000", "--out", "out")
    assert process.stderr is not None
    for line in process.stderr:
        if "busy" in line:
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "nothing was written" in out + err
    assert "Traceback" not in out + err
    assert not (tmp_path / "out").exists()
