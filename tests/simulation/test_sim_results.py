"""What runs give back: tables, explanations, replays, pictures with their data."""

import csv
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import sim
from sim import experiment
from sim.__main__ import main
from sim.errors import InputError
from sim.schema import SCHEMA_VERSION, TABLES
from sim.settings import changed, replay_command, setting, settings
from sim.table import Column, Table
from tests.experiments import small

GOLDEN = Path(__file__).with_name("columns.json")
DOCS = Path(__file__).parents[2] / "docs" / "simulation.md"


@pytest.fixture(scope="module")
def run():
    return experiment.run(small(workload={"tasks": 150, "load": 2.0}), "best-fit")


def test_columns_are_those_that_were_agreed_on():
    """Whoever changes a column changes the committed list, the version and the documentation."""
    found = {
        name: [[c.name, c.unit, c.dtype, c.optional] for c in columns]
        for name, columns in TABLES.items()
    }
    assert json.loads(GOLDEN.read_text()) == {"schema_version": SCHEMA_VERSION, **found}
    text = DOCS.read_text()
    for name, columns in TABLES.items():
        for column in columns:
            row = f"| {name} | `{column.name}` | {column.unit} | {column.dtype} | {column.text} |"
            assert row in text


def test_tasks_as_numpy_arrays(run):
    tasks = run.tasks
    assert tasks.height == 150
    assert tasks["wait_seconds"].dtype == np.float64
    assert tasks["cpu_milli"].dtype == np.int64
    assert set(tasks["state"]) == {"completed"}
    decided = tasks["decided_seconds"]
    assert (tasks["submitted_seconds"] <= decided).all()
    assert (decided <= tasks["placed_seconds"]).all()
    with pytest.raises(InputError, match="Did you mean 'wait_seconds'"):
        tasks["wait_secs"]
    with pytest.raises(InputError, match="keeps no columns"):
        _ = run.without_observation().tasks


MIXED = Table.of(
    [
        Column("name", "", "str", "", True),
        Column("count", "", "int64", "", True),
        Column("seconds", "s", "float64", "", True),
    ],
    {"name": ["a", ""], "count": [3, -1], "seconds": [0.5, np.nan]},
)


def test_a_table_goes_to_polars_and_parquet(tmp_path):
    polars = pytest.importorskip("polars")
    frame = MIXED.to_polars()
    assert frame.schema == {"name": polars.String, "count": polars.Int64, "seconds": polars.Float64}
    assert frame.row(1) == (None, None, None)
    MIXED.write(tmp_path / "mixed.parquet")
    assert polars.read_parquet(tmp_path / "mixed.parquet").equals(frame)


def test_a_table_goes_to_pandas():
    pytest.importorskip("pandas")
    frame = MIXED.to_pandas()
    assert frame.dtypes.astype(str).to_dict() == {
        "name": "string", "count": "Int64", "seconds": "float64"
    }  # fmt: skip
    assert frame.loc[0].tolist() == ["a", 3, 0.5]
    assert frame.isna().loc[1].all()


def test_a_table_is_written_and_nothing_is_overwritten(tmp_path):
    MIXED.write(tmp_path / "mixed.csv")
    assert (tmp_path / "mixed.csv").read_text() == "name,count,seconds\na,3,0.5\n,,\n"
    with pytest.raises(InputError, match="exists already"):
        MIXED.write(tmp_path / "mixed.csv")
    MIXED.write(tmp_path / "mixed.csv", force=True)
    with pytest.raises(InputError, match=r"End it in \.csv"):
        MIXED.write(tmp_path / "mixed.xlsx")
    assert [path.name for path in tmp_path.iterdir()] == ["mixed.csv"]


def test_a_task_is_explained(run):
    late = run.tasks["task"][int(run.tasks["wait_seconds"].argmax())]
    found = run.explain(late)
    row = {name: column[run.tasks["task"] == late][0] for name, column in run.tasks.items()}
    assert [step.state for step in found.steps][-3:] == ["scheduled", "running", "completed"]
    assert found.steps[0].seconds == pytest.approx(row["submitted_seconds"], abs=1e-6)
    assert found.steps[-3].seconds == pytest.approx(row["placed_seconds"], abs=1e-6)
    assert found.decisions[-1].node == row["node"]
    assert found.decisions[0].node is None  # it had to wait
    assert "needs" in found.steps[1].text
    assert any("Assign to" in line for line in found.messages)
    assert f"scores {found.decisions[-1].score:.4g}" in str(found)
    with pytest.raises(InputError, match="They are job-0/task/1 to job-149/task/1"):
        run.explain("job-150/task/1")


def test_the_replay_command_does_the_run_again(run):
    words = shlex.split(run.replay_command)
    assert words[:4] == ["python", "-m", "sim", "run"]
    result = CliRunner().invoke(main, words[3:])
    assert result.exit_code == 0, result.output
    assert run.trace_hash in result.output
    assert replay_command(sim.Scenario()) == (
        "python -m sim run --scenario steady --policy epvm --seed 1"
    )


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("workload.load=0.9", "workload.load", 0.9),
        ("workload.durations.family=pareto", "workload.durations.family", "pareto"),
        ("cluster.groups.0.count=7", "cluster.groups.0.count", 7),
        ("policies=['a', 'b']", "policies", ["a", "b"]),
    ],
)
def test_a_setting_is_read(text, path, value):
    assert setting(text) == (path, value)


def test_settings_change_a_scenario():
    found = changed(small(), {"cluster.groups.0.count": 7, "workload.load": 1, "name": "mine"})
    assert (found.cluster.count, found.workload.load, found.name) == (7, 1.0, "mine")
    assert changed(small(), {"nodes": 20}).cluster.count == 20
    tailed = changed(small(), {"workload.sizes.alpha": 2.0})  # a table that was left out
    assert tailed.workload.sizes.alpha == 2.0
    assert "--set workload.sizes.alpha=2.0" in replay_command(tailed)
    assert settings("workload.durations.family=pareto,fixed")[1] == ("pareto", "fixed")
    for path in (
        "workload.lod",
        "cluster.groups.1.count",
        "cluster.groups.0",
        "workload.load.x",
        "workload.sizes.x",
    ):
        with pytest.raises(InputError):
            changed(small(), {path: 1})


def test_pictures_bring_their_data(run, tmp_path):
    run.plot_nodes(tmp_path / "nodes.png", "memory")
    rows = list(csv.DictReader((tmp_path / "nodes.csv").read_text().splitlines()))
    assert len(rows) == 241 * 10
    assert max(float(row["share"]) for row in rows) <= 1
    with pytest.raises(InputError, match="Did you mean 'memory'"):
        run.plot_nodes(tmp_path / "x.png", "memori")
    with pytest.raises(InputError, match=r"\.pdf, \.png, \.svg"):
        run.plot_nodes(tmp_path / "x.jpeg")
    for name in ("one.svg", "two.svg"):
        run.plot_nodes(tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
