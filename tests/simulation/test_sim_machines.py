"""Machines that are felt: shared cores, short memory, images, failures; and queueing theory."""

import math

import numpy as np
import pytest

from sim import experiment
from sim.arrivals import MICROS
from sim.cluster import Cluster, NodeGroup
from sim.durations import Durations
from sim.images import ImageCache, Images
from sim.machine import Failures, Machine
from sim.observation import NEVER, STATES
from sim.scenario import Control
from sim.sizes import Shape
from sim.statistics import interval
from sim.streams import Streams
from sim.workload import StartLatency, Usage, Workload
from tests.experiments import small

AT_ONCE = StartLatency(least_seconds=0.0, most_seconds=0.0)
EXPONENTIAL = Durations(family="exponential", mean_seconds=0.1, limit_seconds=100.0)
NO_DELAY = Control(network_seconds=0.0, reports_per_second=0.001)


def erlang_c_wait(servers: int, load: float, mean_seconds: float) -> float:
    """Mean wait of M/M/c: C(c, a) · mean / (c - a), a = c · load."""
    offered = servers * load
    last = offered**servers / math.factorial(servers) / (1 - load)
    below = sum(offered**k / math.factorial(k) for k in range(servers))
    return last / (below + last) * mean_seconds / (servers - offered)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.6), (6, 0.8)])
def test_waiting_times_are_those_of_m_m_c(servers, load):
    """One core a machine, one core a task: the cluster is the queue."""
    scenario = small(
        cluster=Cluster(groups=(NodeGroup(count=servers, cpu_milli=1000),)),
        workload={
            "tasks": 1500,
            "load": load,
            "durations": EXPONENTIAL,
            "start": AT_ONCE,
            "shapes": (Shape(cpu_milli=1000, memory_mib=1),),
        },
        control=NO_DELAY.but(queue="fifo"),
        warm_up=0.1,
    )
    means = []
    for seed in range(1, 7):
        result = experiment.run(scenario.but(seeds=(seed,)), "first-fit")
        means.append(result.metrics["wait_seconds.mean"])
    found, expected = interval(means), erlang_c_wait(servers, load, 0.1)
    assert found.low < expected < found.high
    assert found.mean == pytest.approx(expected, rel=0.2)


def slowdowns(seen) -> np.ndarray:
    held = seen.ended_micros - seen.arrivals.at_micros
    return held / seen.arrivals.run_micros


def test_slowdowns_on_a_shared_core_are_those_of_processor_sharing():
    """Tasks reserve a hundredth of the core and use all of it: M/M/1-PS, slowdown 1 / (1 - 0.7)."""
    scenario = small(
        cluster=Cluster(groups=(NodeGroup(count=1, cpu_milli=1000),)),
        workload={
            "tasks": 1500,
            "load": 0.7 / 100,
            "durations": EXPONENTIAL,
            "start": AT_ONCE,
            "shapes": (Shape(cpu_milli=10, memory_mib=1),),
            "usage": Usage(cpu_least=100.0, cpu_most=100.0),
        },
        machine=Machine(cpu="shared"),
        control=NO_DELAY,
    )
    means = []
    for seed in range(1, 7):
        result = experiment.run(scenario.but(seeds=(seed,)), "first-fit")
        assert result.counts["completed"] == 1500
        means.append(float(slowdowns(result.observation)[150:].mean()))
    found = interval(means)
    assert found.low < 1 / (1 - 0.7) < found.high


def test_tasks_that_use_what_they_reserved_run_for_their_time_on_shared_machines_too():
    plain, shared = (
        experiment.run(small(machine=machine)).observation
        for machine in (Machine(), Machine(cpu="shared", memory="kill"))
    )
    assert np.array_equal(plain.row, shared.row)
    assert abs(plain.ended_micros - shared.ended_micros).max() <= 1


def test_faster_machines_are_done_sooner():
    group = NodeGroup(count=10, speed=2.0)
    seen = experiment.run(small(cluster=Cluster(groups=(group,)))).observation
    running = (seen.ended_micros - seen.started_micros) / seen.arrivals.run_micros
    assert np.median(running) == pytest.approx(0.5, abs=0.01)


def crowded(memory: str) -> object:
    """One machine that has half the memory that tasks may reserve; five tasks of a tenth each."""
    return small(
        cluster=Cluster(groups=(NodeGroup(count=1, memory_mib=1000, real_memory_mib=500),)),
        workload={
            "tasks": 6,
            "load": 100.0,
            "durations": Durations(family="fixed", mean_seconds=60.0, limit_seconds=60.0),
            "start": AT_ONCE,
            "shapes": (Shape(cpu_milli=10, memory_mib=100),),
        },
        machine=Machine(memory=memory),
    )


def test_a_machine_that_is_short_of_memory_drags_on():
    """Six tasks of 100 MiB in 500 MiB: a tenth of the speed while the sixth is there."""
    seen = experiment.run(crowded("thrash")).observation
    assert [STATES[s].value for s in seen.state] == ["completed"] * 6
    assert ((seen.ended_micros - seen.arrivals.at_micros) / MICROS).min() > 590


def test_a_machine_that_is_short_of_memory_kills_the_newest_of_equals():
    seen = experiment.run(crowded("kill")).observation
    assert [STATES[s].value for s in seen.state] == ["completed"] * 5 + ["failed"]


def test_a_killed_task_is_tried_again_as_often_as_it_may():
    scenario = crowded("kill")
    scenario = scenario.but(workload=scenario.workload.but(retries=3))
    seen = experiment.run(scenario).observation
    assert [STATES[s].value for s in seen.state] == ["completed"] * 6
    assert seen.attempts.tolist()[:5] == [1] * 5
    assert 1 < seen.attempts[5] <= 4


def test_an_image_is_pulled_once_and_pulls_share_the_link():
    images = Images(count=3, least_mib=100.0, most_mib=100.0, pull_mib_per_second=10.0)
    cache = ImageCache(images, images.sizes_mib(Streams(1)))
    assert cache.wait_seconds(0, 5.0) == pytest.approx(10.0)
    assert cache.wait_seconds(0, 7.0) == pytest.approx(8.0)  # under way
    assert cache.wait_seconds(1, 7.0) == pytest.approx(18.0)  # after the first
    assert cache.wait_seconds(0, 100.0) == cache.wait_seconds(1, 100.0) == 0.0


def test_the_least_recently_used_image_makes_room():
    images = Images(count=3, least_mib=100.0, most_mib=100.0, cache_mib=200.0)
    cache = ImageCache(images, images.sizes_mib(Streams(1)))
    for image in (0, 1, 0, 2):
        cache.wait_seconds(image, 1000.0 * image)
    assert cache.wait_seconds(0, 9000.0) == 0.0
    assert cache.wait_seconds(1, 9000.0) == pytest.approx(2.0)


def test_popular_images_are_there_already_and_starts_wait_for_the_others():
    images = Images(count=50, least_mib=100.0, most_mib=1000.0, pull_mib_per_second=100.0)
    with_pulls = experiment.run(small(workload={"images": images}))
    without = experiment.run(small())
    starts = [
        (r.observation.started_micros - r.observation.placed_micros) / MICROS
        for r in (with_pulls, without)
    ]
    assert with_pulls.counts["completed"] == 150
    assert starts[0].mean() > starts[1].mean() + 0.5
    again = experiment.run(small(workload={"images": images}), "best-fit")
    assert again.workload_digest == with_pulls.workload_digest != without.workload_digest


def test_machines_fail_and_everything_is_done_all_the_same():
    scenario = small(
        failures=Failures(mean_up_seconds=120.0, mean_down_seconds=20.0),
        control=Control(reports_per_second=20.0),
    )
    result = experiment.run(scenario)
    seen = result.observation
    assert result.counts["completed"] == 150
    assert seen.attempts.max() > 1
    assert (seen.ended_micros != NEVER).all()
    again = experiment.run(scenario)
    assert again.trace_hash == result.trace_hash


def test_a_machine_s_failures_are_its_own():
    failures = Failures(mean_up_seconds=100.0, mean_down_seconds=10.0)

    def first(node: str, count: int) -> list[tuple[float, float]]:
        periods = failures.periods(Streams(4), node)
        return [next(periods) for _ in range(count)]

    assert first("node-1", 3) == first("node-1", 5)[:3]
    assert first("node-1", 3) != first("node-2", 3)
    many = first("node-1", 4000)
    ups = np.array([down for down, _ in many]) - np.array([0.0, *[up for _, up in many[:-1]]])
    assert ups.mean() == pytest.approx(100.0, rel=0.05)
    assert np.mean([up - down for down, up in many]) == pytest.approx(10.0, rel=0.05)


def test_a_failing_task_may_succeed_when_it_is_tried_again():
    result = experiment.run(small(workload={"failure_share": 0.3, "retries": 2}))
    assert result.counts["failed"] < 15  # 0.3³ of 150 is 4
    assert result.placements > 180
    assert Workload().retries == 0
