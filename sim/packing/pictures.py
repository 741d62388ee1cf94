"""What policies leave room for, and how small a cell they need: curves and bars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from sim.packing.capacity import Compacted, percentile
from sim.packing.inflate import Inflated
from sim.plots.canvas import GREY, Picture, canvas, legend, looks
from sim.table import Column, Table

CURVES = (
    Column("policy", "", "str", "its text"),
    Column("demand", "%", "int64", "what arrived, of the capacity of the scarcest resource"),
    Column("allocated", "", "float64", "share of that capacity in use"),
    Column("crowded", "", "int64", "machines with more than 90 % of their CPU in use"),
    Column("fullest", "", "float64", "largest share of any machine's CPU in use"),
)
BARS = (
    Column("policy", "", "str", "its text"),
    Column("high", "%", "float64", "machines that suffice, of the cell: 90th percentile of seeds"),
    Column("least", "%", "float64", "the least of any seed"),
    Column("most", "%", "float64", "the most of any seed"),
)


def draw_inflation(curves: Sequence[Inflated], width_inches: float = 6.0) -> Picture:
    """Draw what is allocated, and how many machines are crowded, over the demand that arrived."""
    found = looks([curve.policy for curve in curves])
    with canvas(width_inches, 2, more_inches=0.35) as (figure, [left, right]):
        for curve in curves:
            look = found[curve.policy]
            demand = np.arange(len(curve.allocated))
            for axes, y in ((left, 100 * curve.allocated), (right, curve.crowded)):
                axes.plot(demand, y, color=look.colour, linestyle=look.dash)
        left.plot([0, 100], [0, 100], color=GREY, linewidth=0.6, zorder=0)
        resource = curves[0].resource
        left.set(xlabel=f"demand for {resource} (%)", ylabel=f"{resource} allocated (%)")
        right.set(xlabel=f"demand for {resource} (%)", ylabel="machines above 90 % CPU")
        legend(figure, found)
    return Picture(figure, _curves(curves))


def draw_compaction(cells: Iterable[Compacted], width_inches: float = 4.5) -> Picture:
    """Draw the 90th percentile of the machines that suffice, by policy, with least and most."""
    by_policy: dict[str, list[Compacted]] = {}
    for cell in cells:
        by_policy.setdefault(cell.policy, []).append(cell)
    bars = {policy: percentile(group) for policy, group in by_policy.items()}
    found = looks(list(bars))  # each policy's colour is that of other pictures in this order
    names = sorted(bars, key=lambda policy: bars[policy][0])
    high, least, most = (100 * np.array([bars[name][i] for name in names]) for i in range(3))
    with canvas(width_inches, ratio=0.12 + 0.09 * len(names)) as (figure, [axes]):
        colours = [found[name].colour for name in names]
        axes.barh(names, high, color=colours, height=0.6, xerr=[high - least, most - high],
                  error_kw={"ecolor": GREY, "elinewidth": 1, "capsize": 2})  # fmt: skip
        axes.invert_yaxis()
        axes.set(xlabel="machines that suffice (% of the cell)")
    values = {"policy": names, "high": high, "least": least, "most": most}
    return Picture(figure, Table.of(BARS, values))


def _curves(curves: Sequence[Inflated]) -> Table:
    length = len(curves[0].allocated)
    return Table.of(
        CURVES,
        {
            "policy": [curve.policy for curve in curves for _ in range(length)],
            "demand": np.tile(np.arange(length), len(curves)),
            "allocated": np.concatenate([curve.allocated for curve in curves]),
            "crowded": np.concatenate([curve.crowded for curve in curves]),
            "fullest": np.concatenate([curve.fullest for curve in curves]),
        },
    )
