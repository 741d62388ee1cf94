"""What a comparison gives back: runs of several policies over the same seeds.

Values only; `sim.files` writes them, `sim.plots` draws them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.errors import InputError, did_you_mean
from sim.metrics import METRICS, Metric
from sim.paired import Lines, paired
from sim.results import RunResult
from sim.scenario import Scenario
from sim.schema import FIGURES, SCHEMA_VERSION
from sim.table import Table

if TYPE_CHECKING:
    from sim.plots import Picture

COMPARED = (  # what a comparison's table shows; every metric is in its file
    "wait_seconds.mean",
    "wait_seconds.p95",
    "waited",
    "bounded_slowdown.mean",
    "utilisation.cpu",
    "imbalance.cpu",
    "imbalance.memory",
    "fragmentation.cpu",
    "makespan_seconds",
)


def chosen_metrics(
    keys: Sequence[str], own: Iterable[Metric], default: Sequence[str] = COMPARED
) -> list[Metric]:
    """The metrics of those keys; none: those of `default`, and the user's own.

    Raises:
        InputError: there is no such metric.
    """
    mine = list(own)
    known = {metric.key: metric for metric in (*METRICS, *mine)}
    for key in keys:
        if key not in known:
            raise InputError(f"there is no metric '{key}'", did_you_mean(key, known))
    return [known[key] for key in keys or (*default, *(metric.key for metric in mine))]


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
    def own_metrics(self) -> tuple[Metric, ...]:
        """The user's."""
        return self.runs[0].own_metrics if self.runs else ()

    @property
    def nobody_waited(self) -> bool:
        """Had every task its place at once, under every policy?"""
        return all(r.metrics["waited"] == 0 and not r.counts["unplaced"] for r in self.runs)

    def table(self, *metrics: str) -> Lines:
        """Lines for these metrics (none: those of `COMPARED`, and your own), the baseline first.

        Raises:
            InputError: there is no such metric.
        """
        chosen = chosen_metrics(metrics, self.own_metrics)
        return paired(self.by_policy, self.baseline, chosen) if self.seeds else Lines()

    @cached_property
    def everything(self) -> Lines:
        """Lines for every metric."""
        return self.table(*(m.key for m in (*METRICS, *self.own_metrics)))

    @property
    def figures(self) -> Table:
        """A row for each run and metric: the columns of `sim.schema.FIGURES`."""
        order = sorted(self.runs, key=lambda run: (run.seed, run.policy))
        return Table.of(FIGURES, figure_columns(order, (*METRICS, *self.own_metrics)))

    def plot(self, what: str, path: str | Path = "", width_inches: float = 3.3) -> Picture:
        """Draw `utilisation`, `waiting` or `imbalance`.

        With a `path` it is written, in the file type of its name, and its data beside it, as CSV.

        Raises:
            InputError: there is no such picture, or no such file type.
        """
        from sim.plots import PANELS, draw_panels, panel_tables

        if what not in PANELS:
            raise InputError(f"there is no picture '{what}'", did_you_mean(what, PANELS))
        picture = draw_panels(self.by_policy, panel_tables(self.by_policy, [what]), width_inches)
        if path:
            picture.save(path)
        return picture

    @property
    def caption(self) -> str:
        """What was simulated, in a line."""
        n, seeds = len(self.seeds), "one seed"
        if n > 1:
            seeds = f"{n} seeds (shaded: least to most; whiskers: 95 % interval of the mean)"
        return f"{self.scenario.told}; {seeds}"

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
            "table": table_json(self.everything),
            "runs": [run.summary() for run in self.runs],
        }


def figure_columns(runs: Sequence[Any], metrics: Sequence[Metric]) -> dict[str, list[Any]]:
    """The columns of `FIGURES`: every metric of every run, run by run."""
    pairs = [(run, metric) for run in runs for metric in metrics]
    return {
        "policy": [run.policy for run, _ in pairs],
        "seed": [run.seed for run, _ in pairs],
        "metric": [metric.key for _, metric in pairs],
        "unit": [metric.unit for _, metric in pairs],
        "value": [run.metrics[metric.key] for run, metric in pairs],
        "censored": [run.censored.get(metric.key, 0) for run, metric in pairs],
    }


def table_json(lines: Lines) -> list[dict[str, Any]]:
    """The rows of a comparison's table as objects; null where a cell is empty."""
    table = lines.to_table()
    return [dict(zip(table, row, strict=True)) for row in table.rows()]
