"""Sweeps: cut off, taken up again, in parts, elsewhere; always the same numbers."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import sim
from sim import experiment
from sim.__main__ import main
from sim.cluster import Cluster, NodeGroup
from sim.durations import Durations
from sim.errors import InputError
from sim.grid import cells_of
from sim.scenario import written
from sim.sweeping import Shard, sweep
from tests.experiments import small

TIGHT = """
import sys
import sim
from weights import CPU

asked = 0


@sim.policy
def policy(fleet, task, rows):
    global asked
    asked += 1
    if asked == 250:
        print("busy", file=sys.stderr, flush=True)
    return CPU * (fleet.cpu_free_milli[rows] - task.cpu_milli) / fleet.cpu_milli[rows]
"""
LATE = """
def late(window):
    return (window.wait_seconds > 1).sum()
"""
GRID = ("--set", "workload.load=0.7,0.9,1.1")


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a scenario, a policy and a module that the policy imports."""
    cluster = Cluster(groups=(NodeGroup(count=3),))
    short = Durations(mean_seconds=5.0, limit_seconds=15.0)
    seeds = tuple(range(1, 11))
    scenario = small(cluster=cluster, workload={"tasks": 15, "durations": short}, seeds=seeds)
    (tmp_path / "small.toml").write_text(written(scenario))
    (tmp_path / "tight.py").write_text(TIGHT)
    (tmp_path / "weights.py").write_text("CPU = 1.0\n")
    (tmp_path / "my_metric.py").write_text(LATE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(out: str, *options: str) -> list[str]:
    policies = ("--policies", "tight:policy,round-robin")
    return ["sweep", "--scenario", "small.toml", *GRID, *policies, "--out", out, *options]


def process(*arguments: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "sim", *arguments]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def done(*arguments: str) -> str:
    """Run a command to its end, in a process of its own: modules are imported afresh."""
    started = process(*arguments)
    out, err = started.communicate(timeout=120)
    assert started.returncode == 0, out + err
    return out


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(files)}


def test_a_killed_sweep_resumes_to_the_same_bytes_and_so_do_shards(work):
    done(*command("whole"))
    whole = tree(work / "whole")
    assert sum(name.startswith("cells/") for name in whole) == 60

    killed = process(*command("killed"))
    assert killed.stderr is not None
    for line in killed.stderr:
        if "busy" in line:
            break
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    there = tree(work / "killed")
    assert 0 < sum(name.startswith("cells/") for name in there) < 60
    assert "summary.json" not in there
    again = done(*command("killed"))
    assert "60 are finished, 60 of them" not in again
    assert tree(work / "killed") == whole

    for part in ("1/3", "2/3"):
        assert "when all shards are finished" in done(*command("shards", "--shard", part))
    done(*command("shards", "--shard", "3/3", "--processes", "2"))
    assert tree(work / "shards") == whole


def test_nothing_stale_is_reused_once_the_policy_or_what_it_imports_has_changed(work):
    few = ("--seeds", "2")
    done(*command("out", *few))
    before = tree(work / "out")
    (work / "weights.py").write_text("CPU = -1.0\n")
    refused = process(*command("out", *few))
    _, err = refused.communicate(timeout=120)
    assert refused.returncode == 2
    assert "holds 6 results of earlier source or versions" in err
    assert "--force" in err
    assert tree(work / "out") == before
    assert "12 are finished, 6 of them were to do now" in done(*command("out", *few, "--force"))
    after = tree(work / "out")
    done(*command("afresh", *few))
    assert tree(work / "afresh") == after
    changed = {name for name in after if after[name] != before[name]}
    assert {name.split("/")[2] for name in changed if "cells" in name} == {"tight-policy"}
    assert "comparison.csv" in changed


@pytest.mark.filterwarnings("default")  # Dask's own
def test_dask_workers_give_the_same_numbers(work):
    from distributed import LocalCluster

    few = ("--seeds", "2")
    done(*command("here", *few))
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        done(*command("there", *few, "--dask", cluster.scheduler_address))
        # A worker that has met a policy must not go on with it once it was edited.
        (work / "weights.py").write_text("CPU = -1.0\n")
        done(*command("there", *few, "--dask", cluster.scheduler_address, "--force"))
    done(*command("edited", *few))
    assert tree(work / "there") == tree(work / "edited") != tree(work / "here")


def called(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--set", "workload.laod=1"), "Did you mean 'workload.load'?"),
        (("--set", "workload.load=0.7,0.7"), "has a value twice"),
        (("--set", "workload.load="), "Write it as in workload.load=0.7,0.8,0.9"),
        (("--set", "workload.load"), "Write it as in workload.load=0.7,0.8,0.9"),
        (("--set", "workload.load=0.7,-1"), "workload.load: input should be greater than 0"),
        (("--set", "workload.load=high"), "workload.load: input should be a valid number"),
        (("--set", "seeds=1,2"), "seeds is no parameter"),
        (("--set", "nodes=0,5"), "no number of nodes"),
        ((*GRID, "--shard", "4/3"), "Write it as in 1/3, 2/3 and 3/3"),
        ((*GRID, "--dask", "nowhere:1"), "no Dask scheduler answers at nowhere:1"),
        ((*GRID, "--policies", "epwm"), "did you mean epvm?"),
    ],
)
@pytest.mark.filterwarnings("default")  # Dask's own
def test_bad_input_is_one_clear_error(work, monkeypatch, options, says):
    monkeypatch.setattr("sim.workers.CONNECT_SECONDS", 0.5)
    result = called("sweep", "--scenario", "small.toml", *options, "--out", "out")
    assert result.exit_code == 2, result.output
    assert says in result.output
    assert "Traceback" not in result.output


def test_a_folder_that_holds_something_else_is_left_alone(work):
    (work / "other").mkdir()
    (work / "other" / "thesis.txt").write_text("mine")
    result = called("sweep", "--scenario", "small.toml", *GRID, "--out", "other")
    assert result.exit_code == 2
    assert "is not empty, and no sweep" in result.output
    sweep(small(workload={"tasks": 5}), {"workload.load": [0.5]}, out=work / "one")
    assert sweep(small(workload={"tasks": 5}), {"workload.load": [0.5]}, out=work / "one").complete
    with pytest.raises(InputError, match="holds another sweep"):
        sweep(small(workload={"tasks": 5}), {"workload.load": [0.6]}, out=work / "one")
    assert tree(work / "other") == {"thesis.txt": b"mine"}


def test_an_interrupt_keeps_what_is_finished(work):
    def stop(done: int, cells: int) -> None:
        assert cells == 4
        if done == 3:
            raise KeyboardInterrupt

    scenario = small(workload={"tasks": 5}, policies=("epvm", "random"))
    grid = {"workload.load": [0.5, 0.6]}
    first = sweep(scenario, grid, out=work / "out", progress=stop)
    assert (first.interrupted, first.complete, len(first.results)) == (True, False, 3)
    second = sweep(scenario, grid, out=work / "out")
    assert (second.interrupted, second.complete, second.worked) == (False, True, 1)


def test_a_truncated_cell_is_worked_again(work):
    scenario, grid = small(workload={"tasks": 5}), {"nodes": [5, 10]}
    first = sweep(scenario, grid, out=work / "out")
    before = tree(work / "out")
    cell = next((work / "out").glob("cells/nodes=5/*/seed-1.json"))
    cell.write_bytes(cell.read_bytes()[:100])
    assert sweep(scenario, grid, out=work / "out").worked == 1
    assert tree(work / "out") == before
    assert [dict(point) for point in first.points] == [{"nodes": 5}, {"nodes": 10}]


def test_tables_of_a_sweep_have_its_parameters(work, monkeypatch):
    monkeypatch.syspath_prepend(work)
    scenario = small(workload={"tasks": 10}, policies=("epvm", "random"), seeds=(1, 2))
    grid = {"workload.load": [0.5, 1], "workload.durations.family": ["fixed"]}
    result = sweep(scenario, grid, out=work / "out", metrics=["my_metric:late"])
    rows = list(csv.DictReader((work / "out" / "figures.csv").read_text().splitlines()))
    assert {row["workload.load"] for row in rows} == {"0.5", "1.0"}
    assert {row["workload.durations.family"] for row in rows} == {"fixed"}
    assert {row["metric"] for row in rows} > {"waited", "late"}
    table = result.table("waited", "late")
    assert table.height == 2 * 2 * 2
    assert table["workload.load"].dtype == float
    summary = json.loads((work / "out" / "summary.json").read_text())
    assert (summary["kind"], summary["cells"]) == ("sweep", 8)


def test_a_fingerprint_changes_with_everything_that_decides_a_result(work, monkeypatch):
    monkeypatch.syspath_prepend(work)

    def of(policy="epvm", measures=(), **changes) -> str:
        scenario = small(workload={"tasks": 5}, **changes)
        wanted = [experiment.policy_of(policy)]
        return cells_of(scenario, {}, wanted, tuple(measures))[0].fingerprint

    @sim.metric
    def mine(window):
        return 1.0

    prints = [
        of(),
        of(seeds=(2,)),
        of(warm_up=0.2),
        of("epvm(base=1.5)"),
        of("tight:policy"),
        of(measures=[mine]),
    ]
    (work / "weights.py").write_text("CPU = 2.0\n")
    prints.append(of("tight:policy"))
    monkeypatch.setattr("sim.fingerprint.versions", lambda: {"numpy": "1"})
    prints.append(of())
    assert len(set(prints)) == len(prints)
    assert of() == of()


def test_shards_are_read():
    assert Shard.read("2/3") == Shard(2, 3)
