"""What arrives: the offered load is exact, and the tasks depend on the seed alone."""

import numpy as np
import pytest
from pydantic import ValidationError

from cube.engine.simulated import Outcome
from cube.messages import Run, RunKey
from sim.cluster import Cluster, NodeGroup
from sim.durations import Durations
from sim.engine import TrueTasks
from sim.errors import InputError
from sim.streams import Streams
from sim.workload import DEFAULT_SHAPES, MICROS, Shape, Workload

CLUSTER = Cluster()


def offered(workload: Workload, cluster: Cluster, seed: int) -> np.ndarray:
    """Load per resource that the drawn tasks really offer."""
    drawn = workload.draw(cluster, seed)
    hold = (drawn.start_micros + drawn.run_micros) / MICROS
    work = (drawn.demand * hold[:, None]).sum(axis=0)
    return work / (drawn.at_micros[-1] / MICROS) / np.maximum(cluster.capacity().sum(axis=0), 1)


@pytest.mark.parametrize("load", [0.3, 0.85, 1.2])
def test_the_scarcest_resource_is_offered_the_load(load):
    found = offered(Workload(tasks=100_000, load=load), CLUSTER, 1)
    assert found[0] == pytest.approx(load, rel=0.02)
    assert found[1] < found[0]


def test_memory_may_be_the_scarcest():
    poor = Cluster(groups=(NodeGroup(cpu_milli=64_000, memory_mib=16_384),))
    workload = Workload(tasks=100_000)
    assert workload.rate(poor)[1] == "memory_mib"
    assert offered(workload, poor, 1)[1] == pytest.approx(0.85, rel=0.02)


@pytest.mark.parametrize("family", ["lognormal", "pareto", "exponential", "fixed"])
def test_durations_have_the_mean_that_was_asked_for_and_keep_the_limit(family):
    durations = Durations(family=family, mean_seconds=100.0, limit_seconds=900.0)
    seconds = durations.draw(Streams(5), 200_000)
    assert seconds.mean() == pytest.approx(100.0, rel=0.02)
    assert seconds.max() <= 900.0
    assert seconds.min() > 0


def test_default_durations_are_heavy_tailed():
    seconds = Durations().draw(Streams(5), 100_000)
    p50, p99 = np.quantile(seconds, (0.5, 0.99))
    assert p99 > 8 * p50


def test_the_digest_changes_with_the_seed_and_with_any_task():
    workload = Workload(tasks=500)
    one = workload.draw(CLUSTER, 1)
    assert one.digest == workload.draw(CLUSTER, 1).digest
    assert one.digest != workload.draw(CLUSTER, 2).digest
    before = one.digest
    one.run_micros[77] += 1
    assert one.digest != before


def test_more_tasks_leave_the_first_ones_alone():
    few, many = (Workload(tasks=n).draw(CLUSTER, 3) for n in (100, 10_000))
    for column in ("at_micros", "shape", "run_micros", "start_micros"):
        assert np.array_equal(getattr(few, column), getattr(many, column)[:100])


def test_there_are_about_twenty_shapes_and_most_tasks_are_small():
    assert len(DEFAULT_SHAPES) == 20
    small = sum(shape.weight for shape in DEFAULT_SHAPES if shape.cpu_milli <= 1000)
    assert small / sum(shape.weight for shape in DEFAULT_SHAPES) > 0.6


def test_tasks_of_one_job_come_together_and_are_equal():
    drawn = Workload(tasks=100, tasks_per_job=8).draw(CLUSTER, 1)
    assert drawn.jobs == 13
    jobs = np.arange(100) // 8
    for job in range(13):
        assert len(set(drawn.at_micros[jobs == job])) == 1
        assert len(set(drawn.shape[jobs == job])) == 1
    assert [drawn.job(j).services[0].instances for j in (0, 11, 12)] == [8, 8, 4]
    for number in range(100):
        job, _, index = drawn.name(number).split("/")
        assert drawn.number(job, index) == number


def test_jobs_of_one_shape_share_their_spec():
    drawn = Workload(tasks=100).draw(CLUSTER, 1)
    twins = np.flatnonzero(drawn.shape == drawn.shape[0])
    assert drawn.job(0).services[0] is drawn.job(int(twins[1])).services[0]


def test_a_share_of_the_tasks_fails():
    drawn = Workload(tasks=20_000, failure_share=0.1).draw(CLUSTER, 1)
    assert drawn.exit_code.mean() == pytest.approx(0.1, abs=0.01)


def test_tasks_that_need_what_no_node_has_are_refused():
    workload = Workload(shapes=(Shape(cpu_milli=1, memory_mib=1, disk_mib=5),))
    with pytest.raises(InputError, match="no disk_mib"):
        workload.draw(CLUSTER, 1)


def test_the_engine_tells_the_truth_and_draws_later_starts_by_name():
    workload = Workload(tasks=10, failure_share=0.5)
    drawn = workload.draw(CLUSTER, 1)
    tasks = TrueTasks(drawn, workload, 1)
    spec = drawn.job(3).services[0]

    def outcome(attempt: int, restart: int) -> Outcome:
        return tasks(Run(RunKey("job-3/task/1@0", attempt, restart), 1, spec))

    first = outcome(1, 0)
    assert first.start_seconds == drawn.start_micros[3] / MICROS
    assert first.run_seconds == drawn.run_micros[3] / MICROS
    assert first.exit_code == drawn.exit_code[3]
    assert outcome(2, 0) == outcome(2, 0)
    assert outcome(2, 0).start_seconds != outcome(3, 0).start_seconds
    assert outcome(2, 0).run_seconds == first.run_seconds


@pytest.mark.parametrize(
    "wrong",
    [
        {"tasks": 0},
        {"load": 0.0},
        {"load": float("inf")},
        {"lod": 1.0},
        {"shapes": ()},
        {"failure_share": 1.5},
        {"start": {"least_seconds": 2.0, "most_seconds": 1.0}},
        {"durations": {"mean_seconds": 10.0, "limit_seconds": 10.0}},
    ],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValidationError):
        Workload.model_validate(wrong)


def test_clusters_are_read_and_scaled():
    cluster = Cluster.of(big=(20, "64c 256GiB"), small=(180, "16c 64GiB"))
    assert cluster.count == 200
    assert cluster.capacity()[0].tolist() == [64_000, 262_144, 0]
    assert [node.name for node in cluster.nodes()][19:21] == ["big-20", "small-1"]
    assert [g.count for g in cluster.scaled(1000).groups] == [101, 899]
    assert [g.count for g in cluster.scaled(2).groups] == [1, 1]
    for nodes in range(2, 400):
        assert cluster.scaled(nodes).count == nodes
    with pytest.raises(InputError, match="cannot hold"):
        cluster.scaled(1)
    with pytest.raises(InputError, match="64c 256GiB"):
        Cluster.of(big=(1, "lots"))
