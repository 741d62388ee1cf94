"""`reproduce epvm` for people and programs: a table, JSON, and a line per scenario as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from sim.files import as_json, environment, put
from sim.reproduce.epvm import ALL, CUT, PUBLISHED, Result


def table(result: Result) -> list[str]:
    """Mean slowdowns with intervals, and how often each part of the published result fails."""
    lines = [
        f"Mean slowdown over {len(result.lines):,} scenarios (sim/reproduce/epvm.toml)",
        f"{'policy':<13} {'mean':>8} {'95 % interval':>19} {'median':>8} {'of r. robin':>11} "
        f"{'published':>10}",
    ]
    for name in ALL:
        mean = result.mean(name)
        known = f"{PUBLISHED[name]:10.2f}" if name in PUBLISHED else ""
        between = f"{mean.low:.2f} to {mean.high:.2f}"
        lines.append(
            f"{name:<13} {mean.mean:8.2f} {between:>19} {result.median(name):8.2f} "
            f"{result.share(name):11.2f} {known}"
        )
    cut = result.cut
    lines.append(
        f"E-PVM is {cut.mean:.1%} below round robin ({cut.low:.1%} to {cut.high:.1%}; published "
        f"{1 - PUBLISHED['epvm'] / PUBLISHED['round-robin']:.1%}): "
        + ("at least" if cut.mean >= CUT else "NOT")
        + " a quarter. The published order of the means "
        + ("holds." if result.order_holds else "DOES NOT HOLD.")
    )
    lines += [f"{share:6.1%} of scenarios: {part}" for part, share in result.failing().items()]
    return lines


def write(result: Result, out: Path) -> None:
    """scenarios.csv, env.json, summary.json (the last: with it the folder is complete)."""
    values = sorted(result.lines[0].values)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["scenario", *values, *ALL, "digest"])
    for line in result.lines:
        drawn = [line.values[name] for name in values]
        rows.writerow([line.number, *drawn, *(line.slowdown[n] for n in ALL), line.digest])
    put(out / "scenarios.csv", text.getvalue().encode())
    put(out / "env.json", as_json(environment()))
    put(out / "summary.json", as_json(summary(result)))


def summary(result: Result) -> dict[str, Any]:
    """What `table` says, as data."""
    means = {name: result.mean(name) for name in ALL}
    return {
        "schema_version": 1,
        "kind": "reproduce epvm",
        "scenarios": len(result.lines),
        "policies": [
            {
                "policy": name,
                "mean": mean.mean,
                "low_95": mean.low,
                "high_95": mean.high,
                "median": result.median(name),
                "published": PUBLISHED.get(name),
            }
            for name, mean in means.items()
        ],
        "cut": {"mean": result.cut.mean, "low_95": result.cut.low, "high_95": result.cut.high},
        "order_holds": result.order_holds,
        "failing": result.failing(),
    }
