"""`reproduce epvm`: what is drawn, and that what is reported follows from it."""

import numpy as np
import pytest
from click.testing import CliRunner

from cube.fleet import Fleet
from cube.messages import NodeInfo, NodeRow
from cube.policies import make_policy
from cube.spec import Demand
from sim.__main__ import main
from sim.reproduce import epvm, slowdowns
from sim.reproduce.epvm import (
    ALL,
    MB,
    OVERCOMMIT,
    Line,
    Result,
    assumptions,
    draw,
    policies,
    work,
)

ASSUMED = assumptions()


def test_every_value_lies_in_its_range_and_scenarios_differ():
    drawn = [draw(ASSUMED, number) for number in range(1, 41)]
    for name in type(ASSUMED.ranges).model_fields:
        between = getattr(ASSUMED.ranges, name)
        values = [d.values[name] for d in drawn]
        assert between.low <= min(values) < max(values) <= between.high
        assert max(values) - min(values) > (between.high - between.low) / 2
    assert {d.values["machines"] for d in drawn} >= {3.0, 5.0, 8.0}
    assert len({d.arrivals.digest for d in drawn}) == 40


def test_jobs_offer_the_load_and_ask_for_the_memory_that_was_drawn():
    assumed = ASSUMED.but(jobs=20_000)
    for number in (1, 2, 3):
        d = draw(assumed, number)
        hardware = d.scenario.cluster.hardware()
        speed = sum(h.speed for h in hardware)
        offered = d.arrivals.run_micros.sum() / d.arrivals.at_micros[-1] / speed
        assert offered == pytest.approx(d.values["load"], rel=0.1)
        mean = d.arrivals.demand[:, 1].mean()
        machine = np.mean([h.memory_mib for h in hardware])
        assert mean / machine == pytest.approx(d.values["memory_mean"], rel=0.1)
        smallest = min(h.memory_mib for h in hardware)
        most = d.arrivals.demand[:, 1].max()
        assert most <= smallest * d.values["memory_limit"] + 1


def test_with_overcommit_the_cost_is_that_of_what_there_is():
    """b ** (u / 100 c) with b = n ** 100 is n ** (u / c), for both forms of E-PVM."""
    there, offered = fleet(1), fleet(OVERCOMMIT)
    job, rows = Demand(1000, 3 * MB), np.arange(3)
    n = 3
    pairs = [
        ("epvm", f"epvm(base={n})"),
        ("epvm-paper", "epvm-paper"),
    ]
    for name, plain in pairs:
        wanted = make_policy(plain).score(there, job, rows)
        assert policies(n)[name].score(offered, job, rows) == pytest.approx(wanted, rel=1e-9)


def test_the_differential_form_is_the_slope_of_the_cost():
    offered, rows, tiny = fleet(OVERCOMMIT), np.arange(3), 1e-6
    found = policies(3)["differential"].score(offered, Demand(1, 1), rows)
    cpu, memory = np.array([4.0, 4.0, 4.0]), np.array([64.0, 32.0, 24.0])
    used = np.array([1.0, 2.0, 3.0]), np.array([5.0, 10.0, 15.0])

    def cost(share: float) -> np.ndarray:
        jobs, mb = used[0] + share * cpu.mean(), used[1] + share * memory.mean()
        return 3 ** (jobs / cpu) + 3 ** (mb / memory)

    slope = (cost(tiny) - cost(-tiny)) / (2 * tiny) / np.log(3)
    assert found == pytest.approx(slope, rel=1e-6)


def fleet(overcommit: int) -> Fleet:
    """Three machines with 1, 2 and 3 jobs of 5 MB each; full with four jobs."""
    made = Fleet()
    for row, memory in enumerate((64, 32, 24)):
        info = NodeInfo(f"m{row}", 4000 * overcommit, memory * MB * overcommit, 0)
        made.set_row(NodeRow(row, info, open=True))
        for _ in range(row + 1):
            made.take(row, Demand(1000, 5 * MB))
    return made


def test_a_scenario_repeats_itself():
    assumed = ASSUMED.but(jobs=60)
    first = work(7, assumed)
    assert first == work(7, assumed)
    assert set(first.slowdown) == set(ALL)
    assert min(first.slowdown.values()) >= 1


def result(*rows: tuple[float, float, float]) -> Result:
    lines = []
    for number, (robin, paper, known) in enumerate(rows, 1):
        slowdown = {"round-robin": robin, "differential": paper, "epvm-paper": paper, "epvm": known}
        lines.append(Line(number, {"load": 0.5}, slowdown, "d"))
    return Result(tuple(lines))


def test_what_is_reported_follows_from_the_scenarios():
    found = result((10, 8, 6), (20, 9, 7), (6, 7, 8))
    assert found.mean("round-robin").mean == 12
    assert found.cut.mean == pytest.approx(1 - 7 / 12)
    assert found.order_holds
    assert list(found.failing().values()) == pytest.approx([1 / 3] * 4)
    assert not result((10, 8, 9), (10, 8, 9)).order_holds
    text = "\n".join(slowdowns.table(found))
    assert "41.7% below" in text
    assert "holds." in text


def test_the_command_writes_and_exits_by_the_outcome(tmp_path, monkeypatch):
    monkeypatch.setattr(epvm, "assumptions", lambda: ASSUMED.but(jobs=40))
    out = tmp_path / "out"
    ran = CliRunner().invoke(main, ["reproduce", "epvm", "--scenarios", "2", "--out", str(out)])
    assert ran.exit_code in (0, 1), ran.output
    assert ("NOT" in ran.output) == (ran.exit_code == 1)
    assert (out / "summary.json").exists()
    assert len((out / "scenarios.csv").read_text().splitlines()) == 3
