"""When jobs arrive and how large they are: rates, waves, bursts, equilibrium from the start."""

import numpy as np
import pytest
from pydantic import ValidationError

from sim import experiment
from sim.arrivals import MICROS
from sim.cluster import Cluster, NodeGroup
from sim.durations import Durations
from sim.errors import InputError
from sim.processes import Bursts, Waves
from sim.scenario import named, parse, read, written
from sim.sizes import HeavyTail
from sim.streams import Streams
from sim.workload import Usage, Workload
from tests.experiments import small

CLUSTER = Cluster()


@pytest.mark.parametrize("arrivals", ["poisson", "waves", "bursts"])
def test_the_mean_rate_is_the_one_that_offers_the_load(arrivals):
    workload = Workload(
        arrivals=arrivals,
        tasks=200_000,
        waves=Waves(period_seconds=300.0, amplitude=0.8),
        bursts=Bursts(mean_seconds=1.0),
    )
    at = workload.draw(CLUSTER, 1).at_micros / MICROS
    assert (np.diff(at) >= 0).all()
    rate = workload.rate(CLUSTER)[0]
    assert len(at) / at[-1] == pytest.approx(rate, rel=0.05 if arrivals == "bursts" else 0.01)


def test_waves_rise_and_fall_by_their_amplitude():
    waves = Waves(period_seconds=1000.0, amplitude=0.6)
    due = np.cumsum(Streams(1).exponential("arrival", 0, 400_000)) / 100
    phase = waves.times(due) % 1000.0
    crest = ((phase > 240) & (phase < 260)).sum()
    trough = ((phase > 740) & (phase < 760)).sum()
    assert crest / trough == pytest.approx(1.6 / 0.4, rel=0.05)


def test_in_bursts_tasks_come_faster_by_the_factor():
    bursts = Bursts(factor=8.0, share=0.1, mean_seconds=100.0)
    due = np.cumsum(Streams(2).exponential("arrival", 0, 400_000)) / 50
    at = bursts.times(due, Streams(2))
    per_second = np.bincount(at.astype(int))[:-1]
    busy = per_second > 200  # between 50·2/9 and 50·8
    assert per_second[busy].mean() == pytest.approx(400, rel=0.03)
    assert per_second[~busy].mean() == pytest.approx(50 * 0.2 / 0.9, rel=0.15)
    assert busy.mean() == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("arrivals", ["poisson", "waves", "bursts"])
def test_more_tasks_leave_the_arrivals_of_the_first_alone(arrivals):
    few, many = (
        Workload(arrivals=arrivals, tasks=n, prefill=0.0).draw(CLUSTER, 3).at_micros
        for n in (100, 50_000)
    )
    assert np.array_equal(few, many[:100])


@pytest.mark.parametrize("family", ["lognormal", "pareto", "exponential", "fixed"])
def test_what_is_left_to_run_follows_renewal_theory(family):
    """E[rest] = E[X²] / 2 E[X]."""
    durations = Durations(family=family, mean_seconds=100.0, limit_seconds=900.0)
    drawn = durations.draw(Streams(5), 400_000)
    rest = durations.residual(Streams(5).uniform("residual", 0, 400_000))
    assert rest.mean() == pytest.approx((drawn**2).mean() / 2 / drawn.mean(), rel=0.02)
    assert rest.min() >= 0
    assert rest.max() <= 900.0


def test_a_prefilled_cluster_starts_in_equilibrium():
    workload = Workload(tasks=20_000, load=0.6, prefill=1.0)
    drawn = workload.draw(CLUSTER, 1)
    capacity = CLUSTER.capacity().sum(axis=0)[0]

    def running(second: float) -> float:
        """The share of the CPU that is asked for then, if nobody waits."""
        at, until = drawn.at_micros, drawn.at_micros + drawn.start_micros + drawn.run_micros
        there = (at <= second * MICROS) & (until > second * MICROS)
        return drawn.demand[there, 0].sum() / capacity

    assert [running(s) for s in (0.0, 10.0, 60.0)] == pytest.approx([0.6] * 3, abs=0.02)


def test_more_than_there_is_cannot_be_there_from_the_start():
    with pytest.raises(InputError, match="Lower `prefill`"):
        Workload(tasks=100, prefill=1.0).draw(CLUSTER, 1)


def test_a_heavy_tail_of_sizes_falls_as_it_should():
    tail = HeavyTail(cpu_least_milli=100, cpu_most_milli=6400, alpha=1.5, steps=7)
    weight = {}
    for shape in tail.shapes():
        weight[shape.cpu_milli] = weight.get(shape.cpu_milli, 0.0) + shape.weight
    assert list(weight) == [100, 200, 400, 800, 1600, 3200, 6400]
    ratios = [b / a for a, b in zip(weight.values(), list(weight.values())[1:], strict=False)]
    assert ratios == pytest.approx([2**-1.5] * 6)
    per_core = {round(s.memory_mib * 1000 / s.cpu_milli, -2) for s in tail.shapes()}
    assert per_core == {1000, 4100, 8200}


def test_use_differs_from_what_is_reserved_and_belongs_to_the_digest():
    plain = Workload(tasks=5000)
    greedy = plain.but(usage=Usage(cpu_least=0.5, cpu_most=1.5))
    a, b = plain.draw(CLUSTER, 1), greedy.draw(CLUSTER, 1)
    share = b.used_cpu_milli / b.demand[:, 0]
    assert (share.min(), share.max(), share.mean()) == pytest.approx((0.5, 1.5, 1.0), abs=0.02)
    assert (b.used_memory_mib == b.demand[:, 1]).all()
    assert np.array_equal(a.at_micros, b.at_micros)
    assert a.digest != b.digest


@pytest.mark.parametrize(
    "wrong",
    [
        {"waves": {"amplitude": 1.0}},
        {"bursts": {"factor": 5.0, "share": 0.2}},
        {"sizes": {"cpu_least_milli": 10, "cpu_most_milli": 10}},
        {"usage": {"cpu_least": 2.0}},
        {"prefill": 1.5},
    ],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValidationError):
        Workload.model_validate(wrong)


def test_every_scenario_that_ships_can_be_read_drawn_and_written():
    assert {"steady", "burst", "churn", "mixed-sizes", "c1m", "c2m"} <= set(named())
    for name in named():
        scenario = read(name)
        assert parse(written(scenario)) == scenario
        fewer = scenario.but(workload=scenario.workload.but(tasks=2000, prefill=0.0))
        assert len(fewer.workload.draw(fewer.cluster, 1)) == 2000


def test_tasks_of_all_kinds_become_final_and_are_the_same_under_all_policies():
    workload = {
        "arrivals": "bursts",
        "bursts": Bursts(factor=3.0, share=0.2, mean_seconds=5.0),
        "sizes": HeavyTail(cpu_most_milli=4000),
        "prefill": 0.5,
        "tasks_per_job": 3,
        "load": 0.5,
    }
    scenario = small(cluster=Cluster(groups=(NodeGroup(count=10),)), workload=workload)
    runs = [experiment.run(scenario, policy) for policy in ("epvm", "best-fit")]
    assert [run.counts["completed"] for run in runs] == [150, 150]
    assert runs[0].workload_digest == runs[1].workload_digest
