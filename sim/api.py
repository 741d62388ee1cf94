"""`sim.run`, `sim.compare` and `sim.sweep`: experiments as the command line makes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sim import experiment, sweeping
from sim.cluster import Cluster
from sim.comparison import Comparison
from sim.experiment import AnyMetric, AnyPolicy
from sim.results import RunResult
from sim.scenario import Scenario
from sim.simulation import Progress
from sim.surface import Surface
from sim.workload import Workload


def run(
    cluster: Cluster | None = None,
    workload: Workload | None = None,
    policy: AnyPolicy = "epvm",
    *,
    seed: int = 1,
    metrics: Iterable[AnyMetric] = (),
    out: str | Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **scenario: Any,
) -> RunResult:
    """Simulate one policy with one seed.

    Args:
        cluster: a thousand equal nodes unless given.
        workload: 20,000 tasks at load 0.85 unless given.
        policy: a text such as `epvm(base=1.54)`, a policy, or a function made one by `sim.policy`.
        seed: of everything that is drawn.
        metrics: your own: functions of a `sim.Window`, or texts such as `package.module:name`.
        out: folder for the results; None writes nothing.
        force: replace the results of an earlier run in `out`.
        progress: told now and then how many tasks are final.
        **scenario: further fields of `sim.Scenario`, such as `warm_up`.

    Raises:
        sim.InputError: something that was asked for makes no sense.
        sim.SimulationError: the run cannot be carried out.
    """
    whole = _scenario(cluster, workload, (seed,), scenario)
    return experiment.run(
        whole, policy, metrics=metrics, out=_path(out), force=force, progress=progress
    )


def compare(
    cluster: Cluster | None = None,
    workload: Workload | None = None,
    policies: Sequence[AnyPolicy] = ("epvm", "round-robin"),
    *,
    baseline: str = "",
    seeds: Iterable[int] = range(1, 11),
    metrics: Iterable[AnyMetric] = (),
    processes: int = 1,
    out: str | Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **scenario: Any,
) -> Comparison:
    """Simulate several policies with the same tasks, seed by seed.

    `baseline` is the policy that the others are compared with, the last one unless given. Runs
    are worked in `processes` side by side; results do not depend on it. Everything else is as
    for `run`.
    """
    fields = {**scenario, "baseline": baseline}
    whole = _scenario(cluster, workload, tuple(seeds), fields)
    return experiment.compare(
        whole,
        policies,
        metrics=metrics,
        processes=processes,
        out=_path(out),
        force=force,
        progress=progress,
    )


def sweep(
    cluster: Cluster | None = None,
    workload: Workload | None = None,
    policies: Sequence[AnyPolicy] = ("epvm", "round-robin"),
    *,
    grid: Mapping[str, Sequence[Any]],
    out: str | Path,
    baseline: str = "",
    seeds: Iterable[int] = range(1, 11),
    metrics: Iterable[AnyMetric] = (),
    processes: int = 1,
    dask: str = "",
    shard: str = "",
    force: bool = False,
    progress: sweeping.Told | None = None,
    **scenario: Any,
) -> Surface:
    """Simulate several policies over a grid of parameters.

    `grid` gives values by path, as in `{"workload.load": [0.7, 0.8, 0.9]}`. What an earlier call
    has finished in `out` is reused if nothing has changed that decides it. `dask` is the address
    of a Dask scheduler; `shard` is the part to work, as in `1/3`. Everything else is as for
    `compare`.
    """
    fields = {**scenario, "baseline": baseline}
    return sweeping.sweep(
        _scenario(cluster, workload, tuple(seeds), fields),
        grid,
        policies,
        out=Path(out),
        metrics=metrics,
        processes=processes,
        dask=dask,
        shard=sweeping.Shard.read(shard) if shard else None,
        force=force,
        progress=progress,
    )


def _scenario(
    cluster: Cluster | None,
    workload: Workload | None,
    seeds: tuple[int, ...],
    fields: dict[str, Any],
) -> Scenario:
    whole: Scenario = Scenario().but(
        **fields, cluster=cluster or Cluster(), workload=workload or Workload(), seeds=seeds
    )
    return whole


def _path(out: str | Path | None) -> Path | None:
    return None if out is None else Path(out)
