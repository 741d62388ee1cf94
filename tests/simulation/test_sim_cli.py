"""`python -m sim` as a person uses it: files, tables, errors, Ctrl-C."""

import csv
import gzip
import json
import os
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import sim
from sim.__main__ import main
from sim.comparison import COMPARED
from sim.metrics import GRID, METRICS
from sim.options import split
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
        (("run", "--set", "workload.laod=1"), "Did you mean 'workload.load'?"),
        (("run", "--set", "cluster.groups=[]"), "list should have at least 1 item"),
        (("run", "--set", "cluster.groups.0.count=0"), "greater than or equal to 1, got 0"),
        (("run", "--set", "cluster.groups.0.memory_mib=-5"), "equal to 1, got -5"),
        (("run", "--set", "workload.shapes=[{cpu_milli=-1, memory_mib=1}]"), "got -1"),
        (("run", "--metric", "waited"), "package.module:name"),
        (("run", "--metric", "json:dump"), "metric json:dump raised TypeError"),
        (("report", "nowhere"), "nowhere/summary.json: No such file or directory"),
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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('name = "x"\npolicies = ["epwm"]\n', ":2: there is no policy 'epwm'; did you mean epvm?"),
        ("[[cluster.groups]]\ncount = 0\n", ":2: cluster.groups.0.count: input should be greater"),
        ("[[workload.shapes]]\ncpu_milli = 5\nmemory_mib = -1\n", ":3: workload.shapes.0.memory"),
        ("[workload]\ntasks = 5\nload = ", ":3: Invalid value"),  # cut off
        ('policies = ["epvm', ":1: Unterminated string"),
    ],
)
def test_errors_in_a_scenario_name_file_and_line(tmp_path, text, says):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    result = called("run", "--scenario", path)
    assert result.exit_code == 2
    assert f"{path}{says}" in result.output


POLICIES = """
import numpy as np
import sim


@sim.policy
def raising(fleet, task, rows):
    return helped(rows)


def helped(rows):
    return 1 / 0


@sim.policy
def shapeless(fleet, task, rows):
    return np.zeros(len(rows) + 1)


@sim.policy
def nothing(fleet, task, rows):
    return None


@sim.policy
def nan(fleet, task, rows):
    return np.full(len(rows), np.nan)
"""


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("raising", "raised ZeroDivisionError: division by zero ({}:12)"),
        ("shapeless", "returned shape (11,) for 10 rows ({}:15)"),
        ("nothing", "returned a NoneType, not an array ({}:20)"),
        ("nan", "returned nan for node-1 ({}:25)"),
    ],
)
def test_a_policy_that_fails_is_named_with_file_and_line(
    scenario, tmp_path, monkeypatch, policy, says
):
    file = tmp_path / f"bad_{policy}.py"  # a name of its own: modules are imported once
    file.write_text(POLICIES)
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "out"
    for command, option in (("run", "--policy"), ("compare", "--policies")):
        named = f"{file.stem}:{policy}"
        result = called(command, "--scenario", scenario, option, named, "--out", out)
        assert result.exit_code == 1
        assert says.format(file) in result.output
        assert "Traceback" not in result.output
        assert not out.exists()


def test_bad_values_from_python_are_one_clear_error():
    for wrong, says in (
        (lambda: sim.Cluster.of(), "at least 1 item"),
        (lambda: sim.Cluster.of(a=(0, "8c 32GiB")), "got 0"),
        (lambda: sim.Cluster.of(a=(1, "-8c 32GiB")), "Write it as in '64c 256GiB'"),
        (lambda: sim.Workload.poisson(laod=0.5), "Did you mean 'load'?"),
        (lambda: sim.Workload.poisson(tasks=-1), "got -1"),
        (lambda: sim.run(policy="epwm"), "did you mean epvm"),
        (lambda: sim.run(warmup=0.5), "Did you mean 'warm_up'?"),
    ):
        with pytest.raises(sim.InputError, match=re.escape(says)):
            wrong()


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


class Page(HTMLParser):
    """What a page shows, and what it would fetch from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.pictures = self.rows = 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.pictures += tag == "img"
        self.rows += tag == "tr"
        places = [value for name, value in attributes if name in ("src", "href")]
        self.fetched += [place for place in places if not place.startswith("data:")]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_report_is_one_page_that_needs_nothing_else(scenario, tmp_path):
    run, trial, sweep = tmp_path / "run", tmp_path / "trial", tmp_path / "sweep"
    two = ("--policies", "epvm,best-fit", "--seeds", 2)
    called("run", "--scenario", scenario, "--out", run)
    called("compare", "--scenario", scenario, *two, "--out", trial)
    called("sweep", "--scenario", scenario, *two, "--set", "workload.load=0.5,1", "--out", sweep)
    pages = {}
    for folder in (run, trial, sweep):
        result = called("report", folder)
        assert result.exit_code == 0, result.output
        pages[folder.name] = page = Page((folder / "report.html").read_text())
        assert page.fetched == page.open == []
    assert pages["run"].pictures == 2  # waiting times, placement map
    assert pages["trial"].pictures == 3 + 2  # and a map for each policy
    assert pages["sweep"].pictures == len(COMPARED)
    assert pages["trial"].rows == 3 * len(METRICS)
    again = called("report", run)
    assert (again.exit_code, "--force" in again.output) == (2, True)
    assert called("report", run, "--force").exit_code == 0


def test_a_report_of_what_is_no_result_or_damaged(scenario, tmp_path):
    run = tmp_path / "run"
    missing = called("report", tmp_path / "none")
    assert missing.exit_code == 2
    assert "Name a folder that run, compare or sweep has finished" in missing.output
    called("run", "--scenario", scenario, "--out", run)
    whole = gzip.decompress((run / "tasks.csv.gz").read_bytes()).decode().splitlines(keepends=True)
    whole[6] = whole[6][:30] + "\n"
    (run / "tasks.csv.gz").write_bytes(gzip.compress("".join(whole).encode()))
    damaged = called("report", run)
    assert damaged.exit_code == 2
    assert "tasks.csv.gz:7: " in damaged.output
    (run / "tasks.csv.gz").write_bytes(b"\x1f\x8b nothing")
    assert "are damaged" in called("report", run).output
    summary = (run / "summary.json").read_text()
    (run / "summary.json").write_text(summary[: len(summary) // 2])
    assert "this is no JSON" in called("report", run).output
    (run / "summary.json").write_text("{}")
    assert "these are no results" in called("report", run).output


def test_any_value_can_be_set_and_a_metric_added(scenario, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "def late(window):\n"
        '    """Tasks that waited a second."""\n'
        "    return (window.wait_seconds > 1).sum(), 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "out"
    result = called(
        "run", "--scenario", scenario, "--set", "workload.durations.family=fixed",
        "--metric", "mine:late", "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "(3 lower bounds)" in result.output
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["metrics"]) == {*(metric.key for metric in METRICS), "late"}
    assert summary["censored"]["late"] == 3
    replayed = read(out / "scenario.toml")
    assert (replayed.metrics, replayed.workload.durations.family) == (("mine:late",), "fixed")
