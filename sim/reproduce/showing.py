"""A reproduction of the FGD paper for people and programs: table, JSON, CSV, picture.

Computes nothing but means over seeds.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sim.files import as_json, environment, put
from sim.plots.canvas import GREY, Picture, canvas, looks
from sim.reproduce.fgd import ARRIVED_PERCENT, Line, Result, source

SCHEMA_VERSION = 1
FROM_PERCENT = 60  # where the picture begins: below this everything is placed


def table(result: Result) -> list[str]:
    """One line for each policy."""
    lines = [
        f"GPU allocation in % at {ARRIVED_PERCENT} % arrived; {result.nodes:,} nodes with "
        f"{result.gpus:,} GPUs, {result.pods:,} pods ({result.variant})",
        f"{'policy':<12} {'mean':>6} {'sd':>5} {'n':>3} {'published':>14} {'difference':>11} "
        f"{'allowed':>8} {'':<7} {'longest run':>11}",
    ]
    return lines + [_line(line) for line in result.lines()]


def _line(line: Line) -> str:
    published = difference = allowed = verdict = ""
    if line.published is not None:
        published = f"{line.published.mean:.2f} ± {line.published.deviation:.2f}"
        difference = f"{line.mean - line.published.mean:+.2f}"
        allowed = f"±{line.published.tolerance:.2f}"
        verdict = "within" if line.within else "OUTSIDE"
    return (
        f"{line.policy:<12} {line.mean:6.2f} {line.deviation:5.2f} {line.n:>3} {published:>14} "
        f"{difference:>11} {allowed:>8} {verdict:<7} {line.seconds:>9.1f} s"
    )


def write(result: Result, out: Path) -> None:
    """summary.json, table.csv, curves.csv, allocation.png, env.json."""
    head = ("policy", "mean", "deviation", "n", "published_mean", "published_deviation",
            "tolerance", "within", "seconds")  # fmt: skip
    put(out / "table.csv", _csv(head, (_row(line) for line in result.lines())))
    rows = (
        (run.policy, run.seed, percent, f"{value:.4f}")
        for run in result.runs
        for percent, value in enumerate(run.allocated)
    )
    put(out / "curves.csv", _csv(("policy", "seed", "arrived_percent", "allocated_percent"), rows))
    draw(result).save(out / "allocation.png")
    put(out / "env.json", as_json(environment()))
    put(out / "summary.json", as_json(_summary(result)))  # last: with it the folder is complete


def _row(line: Line) -> tuple[Any, ...]:
    known = line.published
    there = ("", "", "") if known is None else (known.mean, known.deviation, known.tolerance)
    deviation = "" if math.isnan(line.deviation) else line.deviation
    within = "" if line.within is None else line.within
    return (line.policy, line.mean, deviation, line.n, *there, within, line.seconds)


def _summary(result: Result) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "reproduce fgd",
        "variant": result.variant,
        "nodes": result.nodes,
        "gpus": result.gpus,
        "pods": result.pods,
        "published": source()["source"],
        "figure": source()["figure"],
        "policies": [
            {
                "policy": line.policy,
                "mean": line.mean,
                "deviation": None if math.isnan(line.deviation) else line.deviation,
                "n": line.n,
                "published": None if line.published is None else line.published._asdict(),
                "within": line.within,
            }
            for line in result.lines()
        ],
        "runs": [
            {
                "policy": run.policy,
                "seed": run.seed,
                "allocated_percent": float(run.allocated[ARRIVED_PERCENT]),
                "placed": run.placed,
                "unplaced": run.unplaced,
                "seconds": run.seconds,
            }
            for run in result.runs
        ],
    }


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue().encode()


def draw(result: Result) -> Picture:
    """Allocation against demand, mean of the seeds, shaded from least to most."""
    arrived = np.arange(ARRIVED_PERCENT + 1)
    lines = result.lines()
    found = looks([line.policy for line in lines])
    with canvas(4.6, ratio=0.7) as (figure, (axes,)):
        axes.plot(arrived, arrived, color=GREY, linewidth=0.9, linestyle=":")
        for line in lines:
            look = found[line.policy]
            curves = np.array([r.allocated for r in result.runs if r.policy == line.policy])
            mean, low, high = curves.mean(axis=0), curves.min(axis=0), curves.max(axis=0)
            axes.plot(arrived, mean, color=look.colour, linestyle=look.dash, label=line.policy)
            axes.fill_between(arrived, low, high, color=look.colour, alpha=0.15, linewidth=0)
            if line.published is not None:
                axes.errorbar(
                    [ARRIVED_PERCENT], [line.published.mean], yerr=[line.published.tolerance],
                    color=look.colour, marker="D", markersize=3.5, capsize=2,
                )  # fmt: skip
        axes.set_xlim(FROM_PERCENT, ARRIVED_PERCENT + 2)
        axes.set_ylim(FROM_PERCENT, 100)
        axes.set_xlabel("GPUs that arrived (% of capacity)")
        axes.set_ylabel("GPUs allocated (%)")
        axes.set_title(f"GPU allocation, {result.variant}")
        axes.legend(loc="lower right", title="diamonds: published")
    return Picture(figure)
