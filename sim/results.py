"""What runs and comparisons give back: figures, curves, tables.

Values only; `sim.files` writes them, `sim.plots` draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError, did_you_mean
from sim.metrics import METRICS, Curves
from sim.observation import Observation
from sim.scenario import Scenario
from sim.statistics import Interval, interval

SCHEMA_VERSION = 1
COMPARED = (  # what a comparison's table shows; every metric is in its file
    "wait_seconds.mean",
    "wait_seconds.p95",
    "waited",
    "utilisation.cpu",
    "imbalance.cpu",
    "imbalance.memory",
    "makespan_seconds",
)


@dataclass(frozen=True)
class RunResult:
    """One policy, one seed.

    `wait_seconds` is float64[tasks after the warm-up], unsorted; `observation` is None where only
    figures were kept. Equal `trace_hash`: the two runs were the same in every state and place.
    """

    scenario: Scenario  # of this run alone: one policy, one seed
    metrics: dict[str, float]  # by the keys of `sim.metrics.METRICS`
    counts: dict[str, int]  # tasks, completed, failed, stopped, unplaced, unfinished
    placements: int
    messages: dict[str, int]
    trace_hash: str
    workload_digest: str
    virtual_seconds: float
    wall_seconds: float
    window_seconds: tuple[float, float]  # the figures are taken between these
    scarcest: str  # the resource that the load is offered to
    curves: Curves
    wait_seconds: NDArray[np.float64]
    observation: Observation | None = None

    @property
    def policy(self) -> str:
        """Its text, as given."""
        return self.scenario.policies[0]

    @property
    def seed(self) -> int:
        """Of workload and engines."""
        return self.scenario.seeds[0]

    def without_observation(self) -> RunResult:
        """The same without the columns per task: small enough to keep many."""
        return replace(self, observation=None)

    def summary(self) -> dict[str, Any]:
        """All that summary.json holds."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "run",
            "scenario": self.scenario.name,
            "policy": self.policy,
            "seed": self.seed,
            "nodes": self.scenario.cluster.count,
            "load": self.scenario.workload.load,
            "scarcest_resource": self.scarcest,
            "counts": self.counts,
            "placements": self.placements,
            "messages": self.messages,
            "messages_total": sum(self.messages.values()),
            "metrics": self.metrics,
            "window_seconds": list(self.window_seconds),
            "virtual_seconds": self.virtual_seconds,
            "wall_seconds": self.wall_seconds,
            "trace_hash": self.trace_hash,
            "workload_digest": self.workload_digest,
        }


@dataclass(frozen=True, slots=True)
class Line:
    """One policy and one metric over all seeds that every policy has finished.

    `difference` is policy minus baseline, paired by seed; None for the baseline itself.
    `unplaced` counts tasks that no run of this policy placed: their waits are lower bounds.
    """

    metric: str
    policy: str
    value: Interval
    difference: Interval | None
    n: int
    unplaced: int


@dataclass(frozen=True)
class Comparison:
    """Several policies over the same seeds."""

    scenario: Scenario
    baseline: str
    runs: tuple[RunResult, ...]
    interrupted: bool = False

    @cached_property
    def by_policy(self) -> dict[str, list[RunResult]]:
        """Runs of each policy in order of seed; only seeds that every policy has finished."""
        done: dict[str, dict[int, RunResult]] = {p: {} for p in self.scenario.policies}
        for run in self.runs:
            done[run.policy][run.seed] = run
        paired = [s for s in self.scenario.seeds if all(s in runs for runs in done.values())]
        return {policy: [runs[s] for s in paired] for policy, runs in done.items()}

    @property
    def seeds(self) -> list[int]:
        """Seeds that every policy has finished."""
        return [run.seed for run in self.by_policy[self.baseline]]

    @property
    def nobody_waited(self) -> bool:
        """Had every task its place at once, under every policy?"""
        return all(r.metrics["waited"] == 0 and not r.counts["unplaced"] for r in self.runs)

    def table(self, *metrics: str) -> list[Line]:
        """Lines for these metrics (none: those of `COMPARED`), the baseline first.

        Raises:
            InputError: there is no such metric.
        """
        known = [metric.key for metric in METRICS]
        for metric in metrics:
            if metric not in known:
                raise InputError(f"there is no metric '{metric}'", did_you_mean(metric, known))
        if not self.seeds:
            return []
        order = sorted(self.by_policy, key=lambda policy: policy != self.baseline)
        return [self._line(metric, policy) for metric in metrics or COMPARED for policy in order]

    def _line(self, metric: str, policy: str) -> Line:
        runs = self.by_policy[policy]
        values = [run.metrics[metric] for run in runs]
        difference = None
        if policy != self.baseline:
            others = [run.metrics[metric] for run in self.by_policy[self.baseline]]
            difference = interval([v - o for v, o in zip(values, others, strict=True)])
        unplaced = sum(run.counts["unplaced"] for run in runs)
        return Line(metric, policy, interval(values), difference, len(values), unplaced)

    def plot(self, what: str, path: str | Path, width_inches: float = 3.3) -> None:
        """Draw `utilisation`, `waiting` or `imbalance` alone, in the file type of `path`.

        Raises:
            InputError: there is no such picture.
        """
        from sim.plots import PANELS, draw

        if what not in PANELS:
            raise InputError(f"there is no picture '{what}'", did_you_mean(what, PANELS))
        draw(self, (what,), Path(path), width_inches)

    def summary(self) -> dict[str, Any]:
        """All that summary.json holds."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "comparison",
            "scenario": self.scenario.name,
            "policies": list(self.scenario.policies),
            "baseline": self.baseline,
            "seeds": self.seeds,
            "interrupted": self.interrupted,
            "nobody_waited": self.nobody_waited,
            "table": [_as_json(line) for line in self.table(*(m.key for m in METRICS))],
            "runs": [run.summary() for run in self.runs],
        }


def _as_json(line: Line) -> dict[str, Any]:
    return {
        "metric": line.metric,
        "policy": line.policy,
        "mean": line.value.mean,
        "difference": None if line.difference is None else line.difference.mean,
        "difference_interval_95": _bounds(line.difference),
        "n": line.n,
        "unplaced": line.unplaced,
    }


def _bounds(found: Interval | None) -> Sequence[float] | None:
    return None if found is None or found.n < 2 else (found.low, found.high)
