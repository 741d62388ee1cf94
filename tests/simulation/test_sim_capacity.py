"""`capacity` and `inflate`: what they find for cells small enough to know by hand."""

import math

import numpy as np
import pytest
from click.testing import CliRunner

from cube.messages import NodeInfo
from cube.spec import Demand, GpuNeed
from sim.__main__ import main
from sim.experiment import policy_of
from sim.packing import pack
from sim.packing.capacity import PENDING, _order, compact, percentile
from sim.packing.inflate import class_of, inflate
from sim.packing.pictures import draw_compaction, draw_inflation
from sim.packing.source import Cell


def cell(nodes: int = 20, tasks: int = 30, cpu: int = 300) -> Cell:
    machines = tuple(NodeInfo(f"n{i}", 1000, 1000, 0) for i in range(nodes))
    return Cell("made-up", machines, (Demand(cpu, 100),) * tasks)


@pytest.mark.parametrize("policy", ["first-fit", "epvm"])
def test_equal_tasks_need_as_many_machines_as_arithmetic_says(policy):
    found = compact(cell(), policy, seed=1)
    assert (found.machines, found.share) == (10, 0.5)  # three to a machine


def test_a_cell_that_is_too_small_is_cloned():
    found = compact(cell(nodes=4), "first-fit", seed=1)
    assert (found.machines, found.share) == (10, 2.5)
    hopeless = compact(cell(nodes=1), "first-fit", seed=1)
    assert hopeless.share == math.inf


def test_two_in_a_thousand_may_stay_without_a_place():
    picky = Cell("picky", cell().nodes, (*[Demand(10, 1)] * 998, *[Demand(5000, 1)] * 2))
    assert PENDING * 1000 == 2
    assert compact(picky, "first-fit", seed=1).share < math.inf
    worse = Cell("worse", picky.nodes, (*picky.demands[1:], Demand(5000, 1)))
    assert compact(worse, "first-fit", seed=1).share == math.inf


def mixed() -> Cell:
    draw = np.random.default_rng(3)
    machines = tuple(
        NodeInfo(f"n{i}", int(cpu), int(memory), 0)
        for i, (cpu, memory) in enumerate(draw.choice([1000, 2000, 4000], (60, 2)))
    )
    tasks = tuple(Demand(int(c), int(m)) for c, m in draw.integers(50, 900, (150, 2)))
    return Cell("mixed", machines, tasks)


def test_the_smallest_cell_fits_and_one_machine_less_does_not():
    found = compact(mixed(), "best-fit", seed=2)
    order = _order(mixed(), 4, 2)
    for machines, fits in ((found.machines, True), (found.machines - 1, False)):
        result = pack(order[:machines], mixed().demands, policy_of("best-fit"))
        assert (len(result.rows) - result.placed <= PENDING * 150) is fits


def test_the_90th_percentile_counts():
    high, least, most = percentile(compact(mixed(), "best-fit", seed) for seed in range(1, 6))
    assert least <= high == most <= 1  # of five, the 90th percentile is the most


def test_inflation_counts_what_comes_what_is_placed_and_what_is_turned_away():
    found = inflate(cell(), policy_of("first-fit"), seed=1, until_percent=120)
    assert found.resource == "cpu"
    assert found.arrived[-1] == 80  # of 300 in 20,000
    assert found.allocated[60] == pytest.approx(0.6, abs=0.015)
    assert found.allocated[-1] == pytest.approx(0.9)  # three to a machine
    assert found.placed[-1] == 60
    assert found.fullest[-1] == pytest.approx(0.9)
    assert found.crowded[-1] == 0  # not more than 90 %
    assert found.first_rejected == {"CPU up to 1/2": pytest.approx(91.5)}


def test_every_policy_meets_the_same_tasks():
    first, second = (inflate(mixed(), policy_of(p), 4, 90) for p in ("epvm", "best-fit"))
    assert np.array_equal(first.arrived, second.arrived)
    assert not np.array_equal(first.fullest, second.fullest)


def test_classes():
    assert class_of(Demand(1000, 1, gpu=GpuNeed(8)), 1) == "8 GPU"
    assert class_of(Demand(1000, 1, gpu=GpuNeed(1, 300)), 1) == "a share of a GPU"
    assert class_of(Demand(1000, 1), 8000) == "CPU up to 1/8"
    assert class_of(Demand(1001, 1), 8000) == "CPU up to 1/4"


def test_pictures_show_what_was_found(tmp_path):
    curves = [inflate(mixed(), policy_of(p), 4, 90) for p in ("epvm", "best-fit")]
    picture = draw_inflation(curves)
    picture.save(tmp_path / "curves.png")
    assert (tmp_path / "curves.csv").read_text().count("\n") == 1 + 2 * 91
    assert picture.data["allocated"][90] == curves[0].allocated[90]
    cells = [compact(mixed(), p, seed) for p in ("round-robin", "best-fit") for seed in (1, 2)]
    bars = draw_compaction(cells).data
    assert bars["policy"].tolist() == ["best-fit", "round-robin"]  # the smallest cell first
    assert (bars["least"] <= bars["high"]).all()
    assert bars["high"][0] == 100 * percentile(cells[2:])[0]


@pytest.mark.parametrize("command", ["capacity", "inflate"])
def test_the_commands(tmp_path, command):
    scenario = tmp_path / "s.toml"
    scenario.write_text(
        "[[cluster.groups]]\ncount = 12\n[workload]\ntasks = 40\nload = 0.5\n", encoding="utf-8"
    )
    out = tmp_path / "out"
    told = [command, "--scenario", str(scenario), "--policies", "epvm,best-fit", "--out", str(out)]
    ran = CliRunner().invoke(main, told)
    assert ran.exit_code == 0, ran.output
    assert "12 machines, 40 tasks" in ran.output
    assert len((out / f"{command}.csv").read_text().splitlines()) > 20
    again = CliRunner().invoke(main, told)
    assert "--force" in again.output
    nothing = CliRunner().invoke(main, [command])
    assert (nothing.exit_code, "name one cell" in nothing.output) == (2, True)
