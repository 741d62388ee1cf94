"""Policies compared with a baseline, seed by seed.

The seed is the unit of replication, and every policy met the same tasks for a seed: what differs
is the policy. Works on figures alone, wherever they come from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any, Protocol

from sim.metrics import Metric
from sim.schema import COMPARISON
from sim.statistics import Interval, bootstrap, holm, interval
from sim.table import Table

LEAST_SEEDS = 10  # fewer replications give intervals that are hardly worth having


class Measured(Protocol):
    """A run's figures."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """By the key of the metric; NaN where there was nothing to measure."""

    @property
    def censored(self) -> Mapping[str, int]:
        """Lower bounds in each figure; absent: none."""


@dataclass(frozen=True, slots=True)
class Line:
    """One policy and one metric over all seeds that every policy has finished.

    `difference` is policy minus baseline, paired by seed; None for the baseline itself. Its `p` is
    adjusted after Holm over the policies. `censored` counts tasks, over all seeds, that entered
    as lower bounds because the run's end cut them off.
    """

    metric: Metric
    policy: str
    value: Interval
    difference: Interval | None
    n: int
    censored: int


class Lines(list[Line]):
    """Lines of a comparison; printed as a table."""

    def to_table(self) -> Table:
        """The columns of `sim.schema.COMPARISON`."""
        return Table.of(COMPARISON, _columns([_values(line) for line in self]))

    def __str__(self) -> str:
        return "\n".join(blocks(self))

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def paired(
    runs: Mapping[str, Sequence[Measured]], baseline: str, metrics: Sequence[Metric]
) -> Lines:
    """Compare every policy with the baseline.

    Args:
        runs: of each policy, one for each seed, in the same order of seeds.
        baseline: one of the policies; it comes first.
        metrics: what is compared.
    """
    order = sorted(runs, key=lambda policy: policy != baseline)
    lines = Lines()
    for metric in metrics:
        found = [_line(metric, policy, runs[policy], runs[baseline], policy == baseline)
                 for policy in order]  # fmt: skip
        lines.extend(_adjusted(found))
    return lines


def _line(
    metric: Metric, policy: str, runs: Sequence[Measured], base: Sequence[Measured], alone: bool
) -> Line:
    key = metric.key
    pairs = [
        (mine.metrics[key], other.metrics[key])
        for mine, other in zip(runs, base, strict=True)
        if not math.isnan(mine.metrics[key]) and not math.isnan(other.metrics[key])
    ]
    value = _interval(metric, [mine for mine, _ in pairs], f"{key} of a policy")
    difference = None
    if not alone:
        difference = _interval(metric, [mine - other for mine, other in pairs], f"{key} difference")
    censored = sum(run.censored.get(key, 0) for run in runs)
    return Line(metric, policy, value, difference, len(pairs), censored)


def _interval(metric: Metric, values: list[float], stream: str) -> Interval:
    return bootstrap(values, stream) if metric.is_quantile else interval(values)


def _adjusted(lines: list[Line]) -> list[Line]:
    p_values = holm([line.difference.p if line.difference else math.nan for line in lines])
    return [
        replace(line, difference=line.difference and replace(line.difference, p=p))
        for line, p in zip(lines, p_values, strict=True)
    ]


def _values(line: Line) -> tuple[Any, ...]:
    nothing = Interval(math.nan, math.nan, math.nan, 0)
    difference = line.difference or nothing
    return (
        line.metric.key, line.metric.unit, line.policy,
        line.value.mean, line.value.low, line.value.high,
        difference.mean, difference.low, difference.high, difference.p,
        line.n, line.censored,
    )  # fmt: skip


def _columns(rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    columns = zip(*rows, strict=True) if rows else [()] * len(COMPARISON)
    return dict(zip((column.name for column in COMPARISON), columns, strict=True))


def blocks(lines: Sequence[Line]) -> list[str]:
    """As text, one block for each metric; whole lines, whatever the terminal's width."""
    wide = max((len(line.policy) for line in lines), default=0)
    head = (
        f"{'mean':>11} {'difference':>12} {'95 % interval':>25} {'p':>7} {'n':>4} {'censored':>9}"
    )
    text: list[str] = []
    shown: Metric | None = None
    for line in lines:
        if line.metric != shown:
            shown = line.metric
            unit = f" ({shown.unit})" if shown.unit else ""
            text.append(f"\n{shown.key}: {shown.text}{unit}; {shown.better} is better")
            text.append(f"  {'':<{wide}} {head}")
        text.append(f"  {line.policy:<{wide}} {_row(line)}")
    return text


def _row(line: Line) -> str:
    difference, between, p = "", "baseline", ""
    if line.difference is not None:
        found = line.difference
        difference, between = number(found.mean, True), "-"
        if found.n > 1:
            between = f"[{number(found.low, True)}, {number(found.high, True)}]"
            p = f"{found.p:.4f}" if found.p >= 1e-4 else "<0.0001"
    return (
        f"{number(line.value.mean):>11} {difference:>12} {between:>25} {p:>7} {line.n:>4} "
        f"{line.censored:>9,}"
    )


def number(value: float, signed: bool = False) -> str:
    """A figure for people: about five digits, `-` for what is not there."""
    if math.isnan(value):
        return "-"
    digits = 4 if abs(value) < 10 else 1
    return f"{value:+,.{digits}f}" if signed else f"{value:,.{digits}f}"
