"""A metric over a parameter, by policy: what a sweep shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.errors import InputError
from sim.plots.canvas import Picture, canvas, legend, looks
from sim.table import Table


def draw_over(
    table: Table, parameter: str, metric: str, policies: Sequence[str], width_inches: float
) -> Picture:
    """Draw means with their 95 % intervals from rows of one metric.

    Other parameters of the sweep make more points at the same place, one for each of their values.

    Raises:
        InputError: the parameter's values are no numbers.
    """
    if table[parameter].dtype.kind not in "if":
        raise InputError(f"{parameter} has no numbers", "Put a parameter with numbers first.")
    found = looks(policies)
    repeated = len(table[parameter]) > len(set(table[parameter].tolist())) * len(found)
    with canvas(width_inches, ratio=0.62, more_inches=0.35) as (figure, [axes]):
        for place, (policy, look) in enumerate(found.items()):
            mine = table["policy"] == policy
            order = np.argsort(table[parameter][mine], kind="stable")
            x = table[parameter][mine][order].astype(float)
            mean, low, high = (table[name][mine][order] for name in
                               ("mean", "mean_low_95", "mean_high_95"))  # fmt: skip
            nudge = (place - (len(found) - 1) / 2) * 0.006 * (np.ptp(x) or 1)
            bars = np.nan_to_num(np.stack([mean - low, high - mean]))
            dash = "" if repeated else look.dash
            axes.errorbar(x + nudge, mean, bars, color=look.colour, linestyle=dash,
                          marker=look.marker, markersize=3.5, capsize=2, elinewidth=1)  # fmt: skip
        unit = next((u for u in table["unit"] if u), "")
        axes.set(xlabel=parameter, ylabel=f"{metric} ({unit})" if unit else metric)
        legend(figure, found)
    return Picture(figure, table)
