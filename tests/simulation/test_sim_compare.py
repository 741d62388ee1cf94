"""Comparisons: the same tasks under every policy, paired differences, one picture."""

import math

import numpy as np
import pytest

from cube.policies import policy_names
from sim import experiment, files
from sim.comparison import Comparison
from sim.errors import InputError, SimulationError
from sim.metrics import METRICS
from sim.workload import Workload
from tests.experiments import small


def trial(policies=("epvm", "round-robin"), seeds=(1, 2, 3), **changes) -> Comparison:
    changes = {"workload": {"tasks": 60}, **changes}
    return experiment.compare(small(seeds=seeds, **changes), policies)


def test_every_policy_meets_the_same_tasks():
    result = trial(policy_names(), seeds=(5,), workload={"tasks": 25})
    assert len({run.workload_digest for run in result.runs}) == 1
    assert len({run.trace_hash for run in result.runs}) > 3


def test_different_tasks_would_be_noticed():
    one = trial(("epvm",), seeds=(1,)).runs[0]
    from dataclasses import replace

    with pytest.raises(SimulationError, match="different tasks"):
        experiment._check_paired([one, replace(one, workload_digest="other")])


def test_differences_are_paired_by_seed():
    result = trial()
    assert (result.baseline, result.seeds) == ("round-robin", [1, 2, 3])
    base, line = result.table("imbalance.cpu")
    assert (base.policy, base.difference, line.policy) == ("round-robin", None, "epvm")
    values = {p: [r.metrics["imbalance.cpu"] for r in runs] for p, runs in result.by_policy.items()}
    differences = np.subtract(values["epvm"], values["round-robin"])
    half = 4.302653 * differences.std(ddof=1) / math.sqrt(3)
    assert line.difference.mean == pytest.approx(differences.mean())
    assert line.difference.high == pytest.approx(differences.mean() + half, rel=1e-5)
    assert (line.n, line.censored) == (3, 0)
    assert line.value.mean < base.value.mean  # E-PVM balances better


def test_every_metric_has_its_lines():
    result = trial(seeds=(1,))
    keys = [metric.key for metric in METRICS]
    assert {line.metric.key for line in result.table(*keys)} == set(keys)
    with pytest.raises(InputError, match="Did you mean 'wait_seconds"):
        result.table("wait_seconds.p96")


def test_a_comparison_in_which_nobody_waited_says_so():
    assert trial(seeds=(1,), workload={"tasks": 20, "load": 0.1}).nobody_waited
    assert not trial(seeds=(1,), workload={"tasks": 150, "load": 2.0}).nobody_waited


@pytest.mark.parametrize(
    ("policies", "changes", "says"),
    [
        (("epvm", "epvm()"), {}, "twice"),
        (("epvm", "rond-robin"), {}, "round-robin"),
        (("epvm",), {"baseline": "best-fit"}, "none of the policies"),
        (("epvm",), {"seeds": (1, 1)}, "a seed is there twice"),
    ],
)
def test_what_cannot_be_compared(policies, changes, says):
    with pytest.raises(InputError, match=says):
        experiment.compare(small(**changes), policies)


def test_processes_do_not_change_results():
    scenario = small(seeds=(1, 2), workload={"tasks": 40})
    alone = experiment.compare(scenario, ("epvm", "best-fit"))
    told = []
    side_by_side = experiment.compare(
        scenario, ("epvm", "best-fit"), processes=2, progress=told.append
    )
    for policy in alone.by_policy:
        pairs = zip(alone.by_policy[policy], side_by_side.by_policy[policy], strict=True)
        assert all(a.trace_hash == b.trace_hash and a.metrics == b.metrics for a, b in pairs)
    assert told == [40, 80, 120, 160]


def test_an_interrupt_keeps_what_is_finished(tmp_path):
    def stop(final: int) -> None:
        if final == 3 * 60:
            raise KeyboardInterrupt

    scenario = small(seeds=(1, 2, 3), workload={"tasks": 60})
    out = tmp_path / "out"
    result = experiment.compare(scenario, ("epvm", "best-fit"), out=out, progress=stop)
    assert result.interrupted
    assert (result.seeds, len(result.runs)) == ([1], 3)
    assert (out / "comparison.csv").exists()


def test_a_run_that_was_cut_off_while_writing_is_removed(tmp_path):
    for seed, name in ((1, "summary.json"), (2, ".partial-nodes.npz")):
        folder = tmp_path / "runs" / "epvm" / f"seed-{seed}"
        folder.mkdir(parents=True)
        (folder / name).touch()
    files.tidy(tmp_path)
    assert [path.name for path in tmp_path.rglob("seed-*")] == ["seed-1"]
    (tmp_path / "runs" / "epvm" / "seed-1" / "summary.json").unlink()
    files.tidy(tmp_path)
    assert not tmp_path.exists()


def test_pictures_are_drawn(tmp_path):
    result = trial(policy_names()[:4], seeds=(1, 2), workload={"tasks": 60, "load": 1.5})
    for what in ("utilisation", "waiting", "imbalance"):
        path = tmp_path / f"{what}.png"
        result.plot(what, path)
        assert path.read_bytes()[:4] == b"\x89PNG"
    result.plot("waiting", tmp_path / "waiting.pdf", width_inches=3.3)
    assert (tmp_path / "waiting.pdf").read_bytes()[:4] == b"%PDF"
    with pytest.raises(InputError, match="utilisation"):
        result.plot("utilization", tmp_path / "x.png")
    calm = trial(("epvm",), seeds=(1,), workload={"tasks": 5, "load": 0.1})
    calm.plot("waiting", tmp_path / "calm.png")
    assert (tmp_path / "calm.png").stat().st_size > 1000


def test_cut_off_tasks_are_counted_beside_every_figure():
    shape = {"cpu_milli": 9000, "memory_mib": 1}
    workload = Workload.model_validate(
        {"tasks": 20, "shapes": [shape, {"cpu_milli": 100, "memory_mib": 1}]}
    )
    result = trial(("epvm",), seeds=(1,), workload=dict(workload))
    run = result.runs[0]
    assert run.counts["unplaced"] == run.censored["makespan_seconds"] > 0
    in_window = run.censored["wait_seconds.mean"]
    assert 0 < in_window <= run.counts["unplaced"]
    assert result.table("wait_seconds.mean")[0].censored == in_window
