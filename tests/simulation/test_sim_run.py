"""Whole runs: every task becomes final, and a seed says all that happens."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sim
from cube.policies import policy_names
from sim import experiment
from sim.errors import InputError, PolicyFailed
from sim.metrics import Window
from sim.observation import NEVER, STATES
from sim.scenario import Control
from sim.workload import Shape, Workload
from tests.experiments import small


def states(seen) -> list[str]:
    return [STATES[s].value for s in seen.state]


def test_every_task_ends_and_no_node_ever_holds_too_much():
    result = experiment.run(small())
    seen = result.observation
    assert result.counts["completed"] == result.placements == 150
    used = np.zeros((10, 3), dtype=np.int64)
    for row, task, sign in zip(seen.change_row, seen.change_task, seen.change_sign, strict=True):
        used[row] += sign * seen.arrivals.demand[task]
        assert (used[row] <= seen.capacity[row]).all()
        assert (used[row] >= 0).all()
    assert not used.any()


def test_a_task_runs_as_long_as_the_workload_says():
    result = experiment.run(small())
    seen, drawn = result.observation, result.observation.arrivals
    starting = seen.started_micros - seen.placed_micros - drawn.start_micros
    running = seen.ended_micros - seen.started_micros - drawn.run_micros
    for delays in (starting, running):
        assert delays.min() >= -10  # the report of a start may take longer than that of the end
        assert delays.max() < 3_000_000
    assert (Window(seen).wait_seconds >= 0).all()


def test_tasks_fail_as_the_workload_says():
    result = experiment.run(small(workload={"failure_share": 0.2}))
    seen = result.observation
    expected = ["failed" if code else "completed" for code in seen.arrivals.exit_code]
    assert states(seen) == expected
    assert result.counts["failed"] > 0


def test_jobs_of_many_tasks():
    result = experiment.run(small(workload={"tasks_per_job": 4}))
    assert result.counts["completed"] == 150


def test_tasks_that_arrive_while_the_scheduler_thinks_share_its_next_round():
    quick, slow = (
        experiment.run(small(control=Control(reports_per_second=1.0, decision_seconds=seconds)))
        for seconds in (0.0, 2.0)
    )
    waited = [
        r.observation.decided_micros - r.observation.arrivals.at_micros for r in (quick, slow)
    ]
    assert waited[0].min() < 10_000
    assert waited[1].min() >= 2_000_000
    assert slow.messages["Place"] < 0.8 * quick.messages["Place"]
    assert slow.counts["completed"] == 150


def test_a_task_that_fits_nowhere_ends_the_run_and_is_counted():
    shapes = (
        Shape(cpu_milli=1000, memory_mib=100, weight=3.0),
        Shape(cpu_milli=9000, memory_mib=1),
    )
    result = experiment.run(small(workload={"shapes": shapes, "tasks": 40}))
    too_large = int((result.observation.arrivals.shape == 1).sum())
    assert too_large > 0
    assert result.counts["unplaced"] == result.counts["unfinished"] == too_large
    assert result.counts["completed"] == 40 - too_large


def test_a_horizon_ends_the_run():
    result = experiment.run(small(horizon_seconds=20.0))
    assert result.virtual_seconds == 20.0
    assert result.counts["unfinished"] > 0
    assert (result.observation.ended_micros == NEVER).sum() == result.counts["unfinished"]


@pytest.mark.parametrize("policy", policy_names())
def test_every_policy_finishes_and_repeats_itself(policy):
    scenario = small(workload={"tasks": 60})
    first, second = (experiment.run(scenario, policy) for _ in range(2))
    assert first.counts["completed"] == 60
    assert first.trace_hash == second.trace_hash
    assert first.metrics == second.metrics


def test_another_seed_is_another_run():
    one, other = (experiment.run(small(seeds=(seed,))) for seed in (1, 2))
    assert one.trace_hash != other.trace_hash
    assert one.workload_digest != other.workload_digest


HASH = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.experiments import small
from sim import experiment
print(experiment.run(small(), "epvm").trace_hash)
"""


def _features() -> str:
    """Vector units that NumPy finds here and can be told to leave alone."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return " ".join(name for name in __cpu_dispatch__ if __cpu_features__.get(name))


def test_other_processes_hash_seeds_and_processors_give_the_same_trace(tmp_path):
    expected = experiment.run(small(), "epvm").trace_hash
    variants = [{"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2"}]
    if _features():
        variants.append({"NPY_DISABLE_CPU_FEATURES": _features()})
    for variant in variants:
        out = subprocess.run(
            [sys.executable, "-W", "error", "-c", HASH, str(Path(__file__).parents[2])],
            env={**os.environ, **variant},
            capture_output=True,
            text=True,
            check=True,
        )
        assert out.stdout.strip() == expected, variant


def test_a_run_does_not_see_the_policys_earlier_life():
    turning = experiment.policy_of("round-robin")
    scenario = small(workload={"tasks": 30})
    assert (
        experiment.run(scenario, turning).trace_hash
        == experiment.run(scenario, turning).trace_hash
        == experiment.run(scenario, "round-robin").trace_hash
    )


@sim.policy
def raising(fleet, task, rows):
    if len(fleet) and fleet.cpu_used_milli.sum() > 5000:
        raise ZeroDivisionError("no luck")
    return np.zeros(len(rows))


@sim.policy
def nonsense(fleet, task, rows):
    return np.full(len(rows), np.nan)


@sim.policy
def shapeless(fleet, task, rows):
    return np.zeros(len(rows) + 1)


@pytest.mark.parametrize(
    ("policy", "says"),
    [(raising, "no luck"), (nonsense, "nan"), (shapeless, "shape|length|scores")],
)
def test_a_policy_that_fails_ends_the_run_with_its_error(policy, says):
    with pytest.raises(PolicyFailed, match=rf"(?s)virtual seconds.*{says}") as caught:
        experiment.run(small(), policy)
    assert caught.value.exit_code == 1


def test_a_failed_run_leaves_no_folder(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(PolicyFailed):
        experiment.run(small(), raising, out=out)
    assert not out.exists()
    with pytest.raises(InputError, match="did you mean epvm"):
        experiment.run(small(), "epmv", out=out)
    assert not out.exists()


def test_progress_is_told():
    told = []
    experiment.run(small(workload={"tasks": 600}), progress=told.append)
    assert told == [256, 512]


def test_from_python():
    cluster = sim.Cluster.of(big=(2, "16c 64GiB"), small=(8, "8c 32GiB"))
    work = Workload.poisson(tasks=40, durations=sim.Durations(mean_seconds=5.0, limit_seconds=9.0))
    result = sim.run(cluster, work, "best-fit", seed=3, warm_up=0.2)
    assert (result.policy, result.seed, result.scenario.warm_up) == ("best-fit", 3, 0.2)
    assert result.counts["completed"] == 40
    assert json.dumps(result.summary())
    with pytest.raises(InputError, match="warm_up"):
        sim.run(cluster, work, warm_up=3.0)
