"""Readers of real workloads: what they take, and how they say what is wrong."""

import gzip
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cube.record import Recorder
from sim import experiment, traces
from sim.__main__ import main
from sim.arrivals import MICROS
from sim.errors import InputError
from sim.scenario import Control, parse, written
from sim.traces import google2011, swf, tables
from sim.workload import StartLatency, Trace, Workload
from tests.experiments import small
from tests.managers import WEB, Driver, ended, running

SWF = """; Version: 2.2
; MaxProcs: 128
  1     0 -1 100   4 -1 -1  -1 -1 -1  1 1 1 -1 -1 -1 -1 -1
  2    50 -1  20   1 -1 -1   2 60 2048 0 1 1 -1 -1 -1 -1 -1
  3    20 -1  -1   1 -1 -1  -1 -1 -1  5 1 1 -1 -1 -1 -1 -1
"""
GOOGLE = "0;7;0;u;2;10;1;-1;0.04376;0.003975\n0;7;1;u;2;10;1;-1;0.5;0.25\n"
TABLE = "task,submitted_seconds,run_seconds,cpu_milli,memory_mib\na,1.5,2,100,10\nb,0.5,3,200,20\n"


def write(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["log.swf", "log.swf.gz"])
def test_standard_workload_format(tmp_path, name):
    read = traces.read("swf", write(tmp_path / name, SWF))
    assert (read.at_micros / MICROS).tolist() == [0, 50]
    assert (read.run_micros / MICROS).tolist() == [100, 20]
    assert read.demand.tolist() == [[4000, 0, 0], [2000, 4, 0]]
    assert read.exit_code.tolist() == [0, 1]


def test_google_2011(tmp_path):
    read = traces.read("google2011", write(tmp_path / "t.csv", GOOGLE))
    assert read.demand.tolist() == [[43_760, 3_975, 0], [500_000, 250_000, 0]]
    cluster = google2011.cluster()
    assert cluster.count == 12_583
    assert cluster.capacity().max(axis=0).tolist() == [1_000_000, 1_000_000, 0]


def test_tables_are_read_by_the_names_of_their_columns(tmp_path):
    read = traces.read("table", write(tmp_path / "t.csv", TABLE))
    assert (read.at_micros / MICROS).tolist() == [0.5, 1.5]  # in order of arrival
    assert read.demand.tolist() == [[200, 20, 0], [100, 10, 0]]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_what_is_written_is_read(tmp_path, suffix):
    if suffix == ".parquet" and importlib.util.find_spec("polars") is None:
        pytest.skip("polars is not installed")
    drawn = Workload(tasks=300, failure_share=0.2).draw(small().cluster, 1)
    tables.write(drawn, tmp_path / f"t{suffix}")
    read = traces.read("table", tmp_path / f"t{suffix}")
    for column in ("at_micros", "run_micros", "exit_code", "demand"):
        assert np.array_equal(getattr(read, column), getattr(drawn, column)), column


def test_a_run_s_own_tasks_run_again(tmp_path):
    first = experiment.run(small(), out=tmp_path / "run")
    trace = Trace(format="table", path=str(tmp_path / "run/tasks.csv.gz"))
    again = experiment.run(small(workload={"arrivals": "trace", "trace": trace}))
    a, b = first.observation, again.observation
    assert np.array_equal(a.arrivals.at_micros, b.arrivals.at_micros)
    assert np.array_equal(a.row, b.row)  # start latencies are drawn by the same names
    assert first.scarcest == again.scarcest


def test_a_recording_of_a_live_manager(tmp_path):
    d = Driver(nodes=1)
    recorder = Recorder(tmp_path / "rec")
    tell = d.manager.receive

    def recorded(message, now):
        effects = tell(message, now)
        recorder.handled("manager", 1, now, message, effects)
        return effects

    d.manager.receive = recorded
    d.answer(d.submit(WEB), 0)
    d.pass_time(2)
    d.report("node-1", running(d.task()), whole=False)
    d.pass_time(7)
    d.report("node-1", ended(d.task()), whole=False)
    d.submit(WEB, name="late")
    recorder.close()
    read = traces.read("recording", tmp_path / "rec")
    assert len(read) == 1  # the late one has not started
    assert read.run_micros[0] == 7 * MICROS
    assert read.demand.tolist() == [[1000, 100, 0]]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("swf", SWF + "1 2 3\n", r":6: a job has 18 fields, this line 3"),
        ("swf", SWF.replace("2048", "many"), r":4: not a number"),
        ("swf", SWF.replace(" 100 ", " -7 "), r":3: a run time of -7 seconds makes no sense"),
        ("swf", SWF.replace("  4 ", "  0 "), r":3: 0 processors make no sense"),
        ("swf", "; nothing\n", r"there is no task in it"),
        ("google2011", GOOGLE + "0;7;2", r":3: a task has 10 fields, this line 3"),
        ("google2011", GOOGLE.replace("0.25", "25"), r":2: sizes are shares of a machine"),
        ("table", TABLE.replace("run_seconds", "run_second"), r":1: .*Did you mean 'run_second'"),
        ("table", TABLE + "c,1\n", r":4: 5 cells are due here, not 2"),
        ("table", TABLE.replace("0.5,3", "0.5,nan"), r":3: a run time of nan"),
        ("table", TABLE.replace("200", "-200"), r":3: -200 milli-cores make no sense"),
        ("table", "", r":1: there is no column"),
        ("recording", SWF, "is not a recording"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, name, text, says):
    with pytest.raises(InputError, match=rf"trace.*{says}"):
        traces.read(name, write(tmp_path / "trace", text))


def test_a_file_that_is_cut_off(tmp_path):
    whole = gzip.compress((SWF * 1).encode())
    (tmp_path / "log.swf.gz").write_bytes(whole[:-12])
    with pytest.raises(InputError, match=r"log\.swf\.gz:\d+: the file is cut off"):
        traces.read("swf", tmp_path / "log.swf.gz")


def test_the_command_lists_and_checks(tmp_path):
    listed = CliRunner().invoke(main, ["traces"])
    assert all(name in listed.output for name in traces.FORMATS)
    assert "https://" in listed.output
    log = write(tmp_path / "log.swf", SWF)
    checked = CliRunner().invoke(main, ["traces", f"swf:{log}"])
    assert "2 tasks in 2 jobs" in checked.output
    assert "digest" in checked.output
    wrong = CliRunner().invoke(main, ["traces", f"swg:{log}"])
    assert (wrong.exit_code, "Did you mean 'swf'?" in wrong.output) == (2, True)
    missing = CliRunner().invoke(main, ["traces", "swf:nothing"])
    assert (missing.exit_code, "No such file" in missing.output) == (2, True)


def test_a_trace_in_a_scenario(tmp_path):
    log = write(tmp_path / "log.swf", SWF)
    text = f'[workload]\narrivals = "trace"\n[workload.trace]\nformat = "swf"\npath = "{log}"\n'
    scenario = parse(text)
    assert len(scenario.workload.draw(scenario.cluster, 1)) == 2
    assert parse(written(scenario)) == scenario
    with pytest.raises(InputError, match=r"scenario:1: .*go together"):
        parse('[workload]\narrivals = "trace"\n')
    with pytest.raises(InputError, match=r"scenario:4: .*swf"):
        parse(text.replace('"swf"', '"sfw"'))


def test_first_fit_on_nasa_ipsc_waits_as_long_as_in_other_simulators(tmp_path):
    """All 18,239 jobs; AccaSim 1.1.3 says 8.004660343220571 s (`benchmarks/peers.py`)."""
    folder = os.environ.get("CUBE_TRACES")
    if not folder:
        pytest.skip("set CUBE_TRACES to the folder of the traces (docs/simulation.md)")
    log = Path(folder) / "nasa-ipsc/NASA-iPSC-1993-3.1-cln.swf.gz"
    read = traces.read("swf", log)
    assert (len(read), read.demand[:, 0].max()) == (18_239, 128_000)
    result = experiment.run(nasa(log), "first-fit")
    assert result.metrics["wait_seconds.mean"] == pytest.approx(8.004660343220571, rel=1e-12)


def nasa(log: Path):
    """One machine of 128 processors, first in, first out, nothing takes time but the jobs."""
    from sim.cluster import Cluster, NodeGroup

    return small(
        cluster=Cluster(groups=(NodeGroup(count=1, cpu_milli=128_000),)),
        workload={
            "arrivals": "trace",
            "trace": Trace(format="swf", path=str(log)),
            "start": StartLatency(least_seconds=0.0, most_seconds=0.0),
        },
        control=Control(network_seconds=0.0, queue="fifo", reports_per_second=1e-5),
        warm_up=0.0,
    )


def test_swf_written_is_swf_read(tmp_path):
    drawn = Workload(tasks=50).draw(small().cluster, 1)
    swf.write(drawn, tmp_path / "log.swf")
    read = traces.read("swf", tmp_path / "log.swf")
    assert abs(read.at_micros - drawn.at_micros).max() <= MICROS / 2
    assert (read.demand[:, 0] >= drawn.demand[:, 0]).all()
