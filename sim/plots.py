"""Pictures of a comparison: utilisation over time, waiting times, load imbalance.

Draws what `Comparison` holds and computes nothing of its own beyond means and shares. Colours are
Okabe and Ito's (distinct also for the colour-blind); policies differ in dash and marker too, so
that the pictures survive black and white.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.comparison import Comparison
from sim.metrics import CPU, MEMORY, WAITED_SECONDS
from sim.results import RunResult
from sim.statistics import interval

STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "cube",
}
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
_MARKERS = "osD^vPX"
DRAIN_SHOWN = 1.5  # of the arrival time: what comes later is the last tasks running out
PANEL_RATIO = 0.8  # height of a panel to its width


class _Look(NamedTuple):
    colour: str
    dash: Any
    marker: str


def draw(result: Comparison, panels: Sequence[str], path: Path, width_inches: float) -> None:
    """Draw the named panels side by side; the file's type follows its name."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    looks = _looks(result.scenario.policies)
    with rc_context(STYLE):
        height = width_inches / len(panels) * PANEL_RATIO + 0.75
        figure = Figure(figsize=(width_inches, height), layout="constrained")
        FigureCanvasAgg(figure)
        row = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, panel in zip(row, panels, strict=True):
            PANELS[panel](axes, result, looks)
        _legend(figure, looks)
        if len(panels) > 1:
            figure.suptitle(_caption(result), fontsize=8, color="#555555")
        figure.savefig(path, dpi=200)


def _looks(policies: Sequence[str]) -> dict[str, _Look]:
    looks = map(_Look, cycle(_COLOURS), cycle(_DASHES), cycle(_MARKERS))
    return {policy: next(looks) for policy in policies}


def _legend(figure: Any, looks: dict[str, _Look]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=look.colour, linestyle=look.dash, marker=look.marker, markersize=4)
        for look in looks.values()
    ]
    columns = max(1, min(len(looks), int(figure.get_figwidth() / 1.6)))
    figure.legend(handles, list(looks), loc="outside lower center", ncols=columns, handlelength=3)


def _caption(result: Comparison) -> str:
    scenario, n = result.scenario, len(result.seeds)
    seeds = "one seed"
    if n > 1:
        seeds = f"{n} seeds (shaded: least to most; whiskers: 95 % interval of the mean)"
    return (
        f"{scenario.cluster.count:,} nodes, {scenario.workload.tasks:,} tasks, "
        f"offered load {scenario.workload.load:g}; {seeds}"
    )


def _utilisation(axes: Any, result: Comparison, looks: dict[str, _Look]) -> None:
    """Share of the scarcest resource that is reserved, over time."""
    resource = _resource(result)
    _over_time(axes, result, looks, lambda run: run.curves.utilisation[:, resource] * 100)
    load = result.scenario.workload.load * 100
    axes.axhline(load, color="#888888", linewidth=0.9, linestyle=":")
    axes.annotate(
        "offered",
        (1, load),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="bottom",
        color="#666666",
    )
    axes.set(title="Utilisation over time", ylabel=f"{_NAMES[resource]} reserved (%)")
    axes.set_ylim(0, max(100.0, load) * 1.04)


def _imbalance(axes: Any, result: Comparison, looks: dict[str, _Look]) -> None:
    """Coefficient of variation over nodes by policy: every seed, the mean and its interval."""
    resource = _resource(result)
    key = "imbalance.cpu" if resource == CPU else "imbalance.memory"
    for place, (policy, runs) in enumerate(result.by_policy.items()):
        look = looks[policy]
        values = [run.metrics[key] for run in runs]
        found = interval(values)
        axes.bar(place, found.mean, 0.62, color=look.colour, alpha=0.22, edgecolor=look.colour)
        if found.n > 1:
            half = found.high - found.mean
            axes.errorbar(place, found.mean, half, color=look.colour, capsize=5, elinewidth=1.6)
        spread = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(1)
        axes.plot(place + spread, values, look.marker, color=look.colour, markersize=3.5, alpha=0.8)
        axes.annotate(
            f"{found.mean:.3f}",
            (place, max(found.mean, found.high if found.n > 1 else 0, *values)),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
        )
    axes.set(title="Load imbalance by policy", ylabel=f"CoV of the nodes' {_NAMES[resource]}")
    axes.set_xticks(range(len(looks)), list(looks), rotation=20 if len(looks) > 3 else 0)
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.14)
    axes.set_ylim(bottom=0)


def _waiting(axes: Any, result: Comparison, looks: dict[str, _Look]) -> None:
    """Share of tasks that wait longer than x, both axes logarithmic."""
    axes.set(title="Waiting time", xlabel="x (s)", ylabel="tasks that wait longer than x (%)")
    if result.nobody_waited:
        axes.set(xticks=[], yticks=[])
        text = "no task waited under any policy:\nraise --load"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center")
        return
    least, calm = 100.0, []
    for policy, runs in result.by_policy.items():
        waits = np.sort(np.concatenate([run.wait_seconds for run in runs]))
        least = min(least, 100 / len(waits))
        x, share = _exceeding(waits)
        if waits[-1] <= WAITED_SECONDS:
            calm.append(policy)
            continue
        look = looks[policy]
        axes.plot(
            x,
            share * 100,
            color=look.colour,
            linestyle=look.dash,
            marker=look.marker,
            markersize=3.5,
            markevery=0.12,
            drawstyle="steps-post",
        )
    longest = max(float(run.wait_seconds.max()) for run in result.runs)
    axes.set(xscale="log", yscale="log")
    axes.set_xlim(WAITED_SECONDS, max(10.0, longest * 1.2))
    axes.set_ylim(least * 0.8, None)
    if calm:
        text = f"nobody waited: {', '.join(calm)}"
        axes.text(0.03, 0.03, text, transform=axes.transAxes, color="#666666")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter("")


def _exceeding(waits: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of sorted `waits`: 200 times, and the share of waits above each."""
    longest = max(float(waits[-1]), WAITED_SECONDS * 1.01)
    x = np.geomspace(WAITED_SECONDS, longest, 200)
    above = len(waits) - np.searchsorted(waits, x, side="right")
    return x, np.where(above > 0, above, np.nan) / len(waits)


def _over_time(
    axes: Any,
    result: Comparison,
    looks: dict[str, _Look],
    curve: Callable[[RunResult], NDArray[np.float64]],
) -> None:
    """The mean over seeds with a band from least to most."""
    runs = [run for found in result.by_policy.values() for run in found]
    seconds = np.linspace(0, max(run.curves.seconds[-1] for run in runs), 240)
    for policy, found in result.by_policy.items():
        look = looks[policy]
        values = np.stack([np.interp(seconds, r.curves.seconds, curve(r), right=0) for r in found])
        low, high = values.min(axis=0), values.max(axis=0)
        axes.fill_between(seconds, low, high, color=look.colour, alpha=0.15, linewidth=0)
        axes.plot(seconds, values.mean(axis=0), color=look.colour, linestyle=look.dash)
    first = float(np.mean([run.window_seconds[0] for run in runs]))
    last = float(np.mean([run.window_seconds[1] for run in runs]))
    axes.axvspan(first, last, color="#000000", alpha=0.04, linewidth=0)
    axes.annotate(
        "measured",
        ((first + last) / 2, 0.02),
        xycoords=("data", "axes fraction"),
        ha="center",
        color="#666666",
    )
    axes.set(xlabel="virtual time (s)", xlim=(0, min(seconds[-1], last * DRAIN_SHOWN)))


def _resource(result: Comparison) -> int:
    return MEMORY if result.runs[0].scarcest == "memory_mib" else CPU


_NAMES = {CPU: "CPU", MEMORY: "memory"}
PANELS: dict[str, Callable[[Any, Comparison, dict[str, _Look]], None]] = {
    "utilisation": _utilisation,
    "waiting": _waiting,
    "imbalance": _imbalance,
}
