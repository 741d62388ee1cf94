"""The openb trace: reading it, packing it, and the published result that rests on it."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from cube.messages import NodeInfo
from cube.spec import Demand, GpuNeed
from sim.__main__ import main
from sim.errors import InputError
from sim.reproduce import fgd as paper
from sim.reproduce.fgd import Figure, Line
from sim.reproduce.heuristics import AnyDevice, best_fit, dot_product
from sim.traces import openb
from tests.unit.test_packing_policies import fleet_of, score

TRACES = "CUBE_TRACES"  # a folder with `openb/`
NODES = """sn,cpu_milli,memory_mib,gpu,model
a,64000,262144,2,T4
b,96000,393216,8,V100

c,8000,8192,0,
"""
HEAD = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos\n"
PODS = HEAD + "p1,4000,8192,1,500,,LS\np2,8000,8192,2,1000,V100|A10,LS\np3,1000,1024,0,0,,BE\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nodes.csv").write_text(NODES)
    (tmp_path / "pods.csv").write_text(PODS)
    return tmp_path


def sim(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


# --- reading -------------------------------------------------------------------------------


def test_nodes_and_pods_are_read(folder: Path) -> None:
    assert openb.read_nodes(folder / "nodes.csv") == (
        NodeInfo("a", 64_000, 262_144, 0, gpus=("T4", "T4")),
        NodeInfo("b", 96_000, 393_216, 0, gpus=("V100",) * 8),
        NodeInfo("c", 8_000, 8_192, 0),
    )
    assert [pod.demand for pod in openb.read_pods(folder / "pods.csv")] == [
        Demand(4000, 8192, gpu=GpuNeed(1, 500)),
        Demand(8000, 8192, gpu=GpuNeed(2, 1000, ("A10", "V100"))),
        Demand(1000, 1024),
    ]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ("", "has no lines after its head"),
        ("p1,4000,8192,1", ":2: 4 cells for 7 columns. Is the file cut off?"),
        ("p1,4000,8192,0,0,,LS\np2,-5,1,0,0,,LS", ":3: `cpu_milli` is '-5'"),
        ("p1,4e3,8192,0,0,,LS", ":2: `cpu_milli` is '4e3'"),
        ("p1,1,,0,0,,LS", ":2: `memory_mib` is ''"),
        (f"p1,{10**30},1,0,0,,LS", ":2: `cpu_milli` is '1000"),
        ("p1,1,1,0,500,,LS", ":2: `gpu_milli` is 500, but `num_gpu` is 0"),
        ("p1,1,1,1,0,,LS", ":2: `gpu_milli` is 0. It must be 1 to 1000"),
        ("p1,1,1,1,1001,,LS", ":2: `gpu_milli` is 1001"),
        ("p1,1,1,2,500,,LS", ":2: a share of 500 of 2 GPUs"),
        (",1,1,0,0,,LS", ":2: `name` is empty"),
        ("p1,1,1,0,0,,LS\np1,1,1,0,0,,LS", ":3: pod 'p1' is there twice"),
    ],
)
def test_what_is_wrong_with_a_pod_is_told_with_its_line(
    tmp_path: Path, lines: str, text: str
) -> None:
    path = tmp_path / "pods.csv"
    path.write_text(HEAD + lines + "\n")
    with pytest.raises(InputError) as raised:
        openb.read_pods(path)
    assert f"{path}" in str(raised.value)
    assert text in str(raised.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", ":1: there is no column `sn`"),
        ("sn,cpu_mili,memory_mib,gpu,model\n", "no column `cpu_milli`. Did you mean 'cpu_mili'?"),
        ("sn,cpu_milli,memory_mib,gpu,model\na,1,1,2,\n", ":2: 2 GPUs without a `model`"),
        ("sn,cpu_milli,memory_mib,gpu,model\na,1,1,0,\na,1,1,0,\n", ":3: node 'a' is there twice"),
    ],
)
def test_what_is_wrong_with_a_node_is_told_with_its_line(
    tmp_path: Path, content: str, text: str
) -> None:
    path = tmp_path / "nodes.csv"
    path.write_text(content)
    with pytest.raises(InputError) as raised:
        openb.read_nodes(path)
    assert text in str(raised.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*none\.csv: No such file"):
        openb.read_nodes(tmp_path / "none.csv")
    (tmp_path / "image.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="it is no text"):
        openb.read_nodes(tmp_path / "image.csv")


def test_traces_lists_openb_and_checks_its_files(folder: Path) -> None:
    assert "cluster-trace-gpu-v2023" in sim("traces").output
    checked = sim("traces", f"openb:{folder}/nodes.csv", f"openb:{folder}/pods.csv")
    assert "3 nodes with 10 GPUs (T4, V100)" in checked.output
    assert "3 pods of 3 shapes, 2.5 GPUs" in checked.output
    assert "cannot read none.csv" in sim("traces", "openb:none.csv").output


# --- packing -------------------------------------------------------------------------------


def test_pack_places_without_messages(folder: Path) -> None:
    out = folder / "out"
    done = sim("pack", "--nodes", folder / "nodes.csv", "--pods", folder / "pods.csv",
               "--policies", "first-fit,fgd", "--out", out)  # fmt: skip
    assert done.exit_code == 0, done.output
    (first, other) = csv.DictReader((out / "packing.csv").read_text().splitlines())
    assert (first["policy"], other["policy"]) == ("first-fit", "fgd")
    assert (first["placed"], first["unplaced"], first["nodes"]) == ("3", "0", "2")
    assert float(first["gpu"]) == pytest.approx(2.5 / 10)
    assert float(first["cpu"]) == pytest.approx(13_000 / 168_000)
    assert first["disk"] == ""
    body = json.loads((out / "summary.json").read_text())
    assert body["policies"][0]["placed"] == 3
    again = sim("pack", "--nodes", folder / "nodes.csv", "--pods", folder / "pods.csv",
                "--out", out)  # fmt: skip
    assert (again.exit_code, "is not empty" in again.output) == (2, True)


def test_pack_leaves_out_what_fits_nowhere_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "nodes.csv").write_text("sn,cpu_milli,memory_mib,gpu,model\na,1000,1000,1,T4\n")
    pods = ["p1,10,10,1,600,,", "p2,10,10,1,600,,", "p3,10,10,1,400,,", "p4,2000,1,0,0,,"]
    (tmp_path / "pods.csv").write_text(HEAD + "\n".join(pods) + "\n")
    done = sim("pack", "--nodes", tmp_path / "nodes.csv", "--pods", tmp_path / "pods.csv",
               "--policies", "epvm", "--seed", 3)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "epvm        2        2      1" in done.output


def test_pack_takes_a_scenario() -> None:
    done = sim("pack", "--scenario", "steady", "--policies", "best-fit", "--seed", 7)
    assert done.exit_code == 0, done.output
    assert "20,000 tasks" in done.output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("pack",), "nothing to pack"),
        (("pack", "--nodes", "x"), "nothing to pack"),
        (("pack", "--scenario", "steady", "--policies", "bestfit"), "did you mean best-fit"),
        (("reproduce", "fgd", "--nodes", "n", "--pods", "p", "--policies", "rando"), "'random'"),
    ],
)
def test_requests_that_make_no_sense(arguments: tuple[str, ...], text: str) -> None:
    done = sim(*arguments)
    assert done.exit_code == 2
    assert text in done.output


# --- the published result ------------------------------------------------------------------


def test_the_authors_scores_by_hand() -> None:
    """a: 64 cores and 2 GPUs free; b: 128 cores and 8 GPUs, of which 32 cores and half are used."""
    large = NodeInfo("b", 128_000, 1, 0, gpus=("T4",) * 8)
    small = NodeInfo("a", 64_000, 1, 0, gpus=("T4",) * 2)
    fleet = fleet_of((small, 0, 0, ()), (large, 32_000, 0, (1000,) * 4))
    demand = Demand(32_000, 0, gpu=GpuNeed(1))
    # left of the largest machine: 1/4 of CPU and 1/8 of GPU; 1/2 and 3/8
    assert score(best_fit(), fleet, demand) == [-81, -56]
    # free times need: 1/2 * 1/4 + 1/4 * 1/8; 3/4 * 1/4 + 1/2 * 1/8, halved
    assert score(dot_product(), fleet, demand) == [-92, -87]


def test_chance_takes_any_device() -> None:
    fleet = fleet_of((NodeInfo("a", 1, 1, 0, gpus=("T4",) * 4), 0, 0, (0, 900, 0, 0)))
    made, demand = AnyDevice(1), Demand(0, 0, gpu=GpuNeed(1, 300))
    drawn = set()
    for _ in range(40):
        drawn.add(made.gpus(fleet, 0, demand))
        made.placed(fleet, 0, demand)
    assert drawn == {(0,), (2,), (3,)}
    assert made.gpus(fleet, 0, Demand(0, 0, gpu=GpuNeed(3))) == (0, 2, 3)


def test_the_figure_is_the_mean_over_the_arrivals_at_that_share() -> None:
    need = np.array([500, 200, 4, 296, 300])
    placed = np.array([True, True, True, False, True])
    curve = paper.allocation(need, placed, 1000)
    assert curve[50] == 50.0
    assert curve[70] == pytest.approx((70.0 + 70.4) / 2)
    assert curve[100] == pytest.approx(70.4)
    assert curve[130] == pytest.approx(100.4)
    assert curve[60] == 50.0
    assert curve[49] == 0.0


@pytest.mark.parametrize("goal", [700, 4200])
def test_the_workload_is_resampled_to_the_goal(folder: Path, goal: int) -> None:
    pods = openb.read_pods(folder / "pods.csv")
    demands = paper.resampled(pods, goal, np.random.default_rng(1))
    total = sum(demand.gpu_milli for demand in demands)
    assert goal - 2000 < total <= goal
    assert {demand.cpu_milli for demand in demands} <= {4000, 8000, 1000}


def test_a_figure_is_within_three_deviations_or_the_least_tolerance() -> None:
    assert Figure(90.0, 0.1).tolerance == 0.4
    assert Figure(90.0, 0.3).tolerance == pytest.approx(0.9)
    line = Line("fgd", 90.5, 0.1, 10, Figure(90.0, 0.1), 1.0)
    assert line.within is False
    assert Line("epvm", 90.5, 0.1, 10, None, 1.0).within is None


def test_reproduce_writes_what_it_shows(folder: Path) -> None:
    out = folder / "out"
    done = sim("reproduce", "fgd", "--nodes", folder / "nodes.csv", "--pods", folder / "pods.csv",
               "--seeds", 2, "--policies", "fgd,epvm", "--out", out)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "3 nodes with 10 GPUs, 3 pods (pods)" in done.output
    (fgd, epvm) = csv.DictReader((out / "table.csv").read_text().splitlines())
    body = json.loads((out / "summary.json").read_text())
    assert [line["policy"] for line in body["policies"]] == ["fgd", "epvm"]
    assert float(fgd["mean"]) == body["policies"][0]["mean"] > 80
    assert float(epvm["mean"]) > 80
    assert fgd["published_mean"] == ""
    assert (out / "allocation.png").stat().st_size > 5000
    curves = list(csv.DictReader((out / "curves.csv").read_text().splitlines()))
    assert {row["policy"] for row in curves} == {"fgd", "epvm"}
    shown = done.output
    other = sim("reproduce", "fgd", "--nodes", folder / "nodes.csv", "--pods", folder / "pods.csv",
                "--seeds", 2, "--policies", "fgd,epvm", "--processes", 2)  # fmt: skip
    means = [[line.split()[1:4] for line in text.splitlines()[2:4]] for text in
             (shown, other.output)]  # fmt: skip
    assert means[0] == means[1]


def test_a_cluster_without_gpus_has_nothing_to_allocate(folder: Path) -> None:
    (folder / "nodes.csv").write_text("sn,cpu_milli,memory_mib,gpu,model\nc,1,1,0,\n")
    done = sim("reproduce", "fgd", "--nodes", folder / "nodes.csv", "--pods", folder / "pods.csv")
    assert (done.exit_code, "there is no GPU to allocate" in done.output) == (2, True)


@pytest.mark.parametrize("policy", ["best-fit", "random"])
def test_the_published_allocation_is_met(policy: str) -> None:
    if TRACES not in os.environ:
        pytest.skip(f"needs the openb trace: {TRACES} names the folder that holds openb/")
    trace = Path(os.environ[TRACES]) / "openb"
    nodes = openb.read_nodes(trace / "openb_node_list_gpu_node.csv")
    pods = openb.read_pods(trace / "openb_pod_list_default.csv")
    assert (len(nodes), sum(len(info.gpus) for info in nodes), len(pods)) == (1213, 6212, 8152)
    result = paper.reproduce(nodes, pods, "default", (1, 2), policies=(policy,))
    (line,) = result.lines()
    assert line.within
