"""Panels that compare policies: utilisation over time, waiting times, load imbalance.

A panel is two functions: one makes the table that is drawn, the other draws it. Nothing is
computed beyond means, shares and their intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.metrics import CPU, MEMORY, WAITED_SECONDS
from sim.plots.canvas import GREY, Look
from sim.results import RunResult
from sim.statistics import interval
from sim.table import Column, Table

DRAIN_SHOWN = 1.5  # of the arrival time: what comes later is the last tasks running out
_POINTS = 200  # of a curve of waiting times
_POLICY = Column("policy", "", "str", "as given, with its parameters")
_NAMES = {CPU: "CPU", MEMORY: "memory"}

Runs = Mapping[str, Sequence[RunResult]]  # by policy, in order of seed


@dataclass(frozen=True)
class Setting:
    """What a panel must know besides its table."""

    resource: int  # column of a demand: the one that the load is offered to
    load: float | None  # offered
    window_seconds: tuple[float, float]  # mean over runs: figures are taken between

    @classmethod
    def of(cls, runs: Sequence[RunResult]) -> Setting:
        """That of a comparison."""
        first, last = np.mean([run.window_seconds for run in runs], axis=0).tolist()
        resource = MEMORY if runs[0].scarcest == "memory_mib" else CPU
        return cls(resource, runs[0].scenario.workload.load, (first, last))

    @property
    def name(self) -> str:
        """Of the resource, for people."""
        return _NAMES[self.resource]


@dataclass(frozen=True)
class Panel:
    """One kind of picture."""

    columns: tuple[Column, ...]
    data: Callable[[Runs, Setting], Mapping[str, Any]]
    draw: Callable[[Any, Table, Mapping[str, Look], Setting], None]

    def table(self, runs: Runs, setting: Setting) -> Table:
        """What is drawn."""
        return Table.of(self.columns, self.data(runs, setting))


def rows_of(table: Table, policy: str) -> dict[str, NDArray[Any]]:
    """The cells of one policy, by column."""
    mine = table["policy"] == policy
    return {name: array[mine] for name, array in table.items()}


# --- utilisation over time ---------------------------------------------------------------


def _utilisation_data(runs: Runs, setting: Setting) -> dict[str, Any]:
    """The mean over seeds, the least and the most, at 240 times."""
    every = [run for found in runs.values() for run in found]
    seconds = np.linspace(0, max(run.curves.seconds[-1] for run in every), 240)
    stacks = [
        np.stack([np.interp(seconds, run.curves.seconds,
                            run.curves.utilisation[:, setting.resource], right=0) for run in found])
        for found in runs.values()
    ]  # fmt: skip
    return {
        "policy": np.repeat(list(runs), len(seconds)),
        "seconds": np.tile(seconds, len(stacks)),
        "mean": np.concatenate([stack.mean(axis=0) for stack in stacks]),
        "least": np.concatenate([stack.min(axis=0) for stack in stacks]),
        "most": np.concatenate([stack.max(axis=0) for stack in stacks]),
    }


def _draw_utilisation(axes: Any, table: Table, looks: Mapping[str, Look], setting: Setting) -> None:
    """A line for each policy, with a band from the least to the most of any seed."""
    for policy, look in looks.items():
        mine = rows_of(table, policy)
        low, high = mine["least"] * 100, mine["most"] * 100
        axes.fill_between(mine["seconds"], low, high, color=look.colour, alpha=0.15, linewidth=0)
        axes.plot(mine["seconds"], mine["mean"] * 100, color=look.colour, linestyle=look.dash)
    top = 100.0
    if setting.load is not None:
        top = max(top, setting.load * 100)
        axes.axhline(setting.load * 100, color="#888888", linewidth=0.9, linestyle=":")
        axes.annotate("offered", (1, setting.load * 100), xycoords=("axes fraction", "data"),
                      ha="right", va="bottom", color=GREY)  # fmt: skip
    first, last = setting.window_seconds
    axes.axvspan(first, last, color="#000000", alpha=0.04, linewidth=0)
    axes.annotate("measured", ((first + last) / 2, 0.02), xycoords=("data", "axes fraction"),
                  ha="center", color=GREY)  # fmt: skip
    axes.set(
        title="Utilisation over time",
        xlabel="virtual time (s)",
        xlim=(0, min(table["seconds"][-1], last * DRAIN_SHOWN)),
        ylabel=f"{setting.name} reserved (%)",
        ylim=(0, top * 1.04),
    )


# --- waiting times -----------------------------------------------------------------------


def _waiting_data(runs: Runs, setting: Setting) -> dict[str, Any]:
    """The share of the tasks of all seeds that wait longer than each of 200 times."""
    policies, seconds, shares = [], [], []
    for policy, found in runs.items():
        waits = np.sort(np.concatenate([run.wait_seconds for run in found]))
        longest = max(float(waits[-1]), WAITED_SECONDS * 1.01)
        x = np.geomspace(WAITED_SECONDS, longest, _POINTS)
        above = len(waits) - np.searchsorted(waits, x, side="right")
        policies += [policy] * _POINTS
        seconds.append(x)
        shares.append(above / len(waits))
    return {
        "policy": policies,
        "seconds": np.concatenate(seconds),
        "share": np.concatenate(shares),
    }


def _draw_waiting(axes: Any, table: Table, looks: Mapping[str, Look], setting: Setting) -> None:
    """Share of tasks that wait longer than x, both axes logarithmic."""
    axes.set(title="Waiting time", xlabel="x (s)", ylabel="tasks that wait longer than x (%)")
    some = table["share"] > 0
    if not some.any():
        axes.set(xticks=[], yticks=[])
        text = "no task waited under any policy:\nraise --load"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center")
        return
    calm = []
    for policy, look in looks.items():
        mine = rows_of(table, policy)
        share = np.where(mine["share"] > 0, mine["share"], np.nan) * 100
        if np.isnan(share).all():
            calm.append(policy)
            continue
        axes.plot(mine["seconds"], share, color=look.colour, linestyle=look.dash,
                  marker=look.marker, markersize=3.5, markevery=0.12, drawstyle="steps-post",
                  )  # fmt: skip
    axes.set(xscale="log", yscale="log")
    axes.set_xlim(WAITED_SECONDS, max(10.0, float(table["seconds"].max()) * 1.2))
    axes.set_ylim(float(table["share"][some].min()) * 80, None)
    if calm:
        text = f"nobody waited: {', '.join(calm)}"
        axes.text(0.03, 0.03, text, transform=axes.transAxes, color=GREY)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter("")


# --- imbalance ---------------------------------------------------------------------------


def _imbalance_data(runs: Runs, setting: Setting) -> dict[str, Any]:
    """The figure of every run."""
    key = "imbalance.cpu" if setting.resource == CPU else "imbalance.memory"
    every = [(policy, run) for policy, found in runs.items() for run in found]
    return {
        "policy": [policy for policy, _ in every],
        "seed": [run.seed for _, run in every],
        "imbalance": [run.metrics[key] for _, run in every],
    }


def _draw_imbalance(axes: Any, table: Table, looks: Mapping[str, Look], setting: Setting) -> None:
    """Coefficient of variation over nodes by policy: every seed, the mean and its interval."""
    for place, (policy, look) in enumerate(looks.items()):
        values = rows_of(table, policy)["imbalance"].tolist()
        found = interval(values)
        axes.bar(place, found.mean, 0.62, color=look.colour, alpha=0.22, edgecolor=look.colour)
        if found.n > 1:
            half = found.high - found.mean
            axes.errorbar(place, found.mean, half, color=look.colour, capsize=5, elinewidth=1.6)
        spread = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(1)
        axes.plot(place + spread, values, look.marker, color=look.colour, markersize=3.5, alpha=0.8)
        top = max(found.mean, found.high if found.n > 1 else 0, *values)
        axes.annotate(f"{found.mean:.3f}", (place, top), xytext=(0, 6),
                      textcoords="offset points", ha="center")  # fmt: skip
    axes.set(title="Load imbalance by policy", ylabel=f"CoV of the nodes' {setting.name}")
    axes.set_xticks(range(len(looks)), list(looks), rotation=20 if len(looks) > 3 else 0)
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.14)
    axes.set_ylim(bottom=0)


_SHARE = "of the capacity that is reserved"
PANELS: dict[str, Panel] = {
    "utilisation": Panel(
        (
            _POLICY,
            Column("seconds", "s", "float64", "virtual time"),
            Column("mean", "", "float64", f"share {_SHARE}, mean over seeds"),
            Column("least", "", "float64", f"share {_SHARE}, in any seed"),
            Column("most", "", "float64", f"share {_SHARE}, in any seed"),
        ),
        _utilisation_data,
        _draw_utilisation,
    ),
    "waiting": Panel(
        (
            _POLICY,
            Column("seconds", "s", "float64", "waiting time"),
            Column("share", "", "float64", "of the tasks of all seeds that wait longer"),
        ),
        _waiting_data,
        _draw_waiting,
    ),
    "imbalance": Panel(
        (
            _POLICY,
            Column("seed", "", "int64", "of the run"),
            Column("imbalance", "", "float64", "time-weighted coefficient of variation"),
        ),
        _imbalance_data,
        _draw_imbalance,
    ),
}
