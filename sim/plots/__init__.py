"""Pictures, in one style: of a comparison, of a run's nodes over time, of a sweep.

Draws what results hold. Every picture's data go beside it, as CSV.
"""

from __future__ import annotations

from collections.abc import Sequence

from sim.plots.canvas import Picture, canvas, legend, looks
from sim.plots.nodes import draw_map, map_nodes
from sim.plots.over import draw_over
from sim.plots.panels import PANELS, Panel, Runs, Setting
from sim.results import RunResult
from sim.table import Table

__all__ = [
    "PANELS", "Panel", "Picture", "Runs", "Setting", "draw_map", "draw_over", "draw_panels",
    "map_nodes", "panel_tables",
]  # fmt: skip


def panel_tables(runs: Runs, names: Sequence[str]) -> dict[str, Table]:
    """What the named panels of a comparison draw."""
    setting = _setting(runs)
    return {name: PANELS[name].table(runs, setting) for name in names}


def draw_panels(
    runs: Runs, tables: dict[str, Table], width_inches: float, caption: str = ""
) -> Picture:
    """Draw panels side by side. One alone brings its data."""
    found, setting = looks(list(runs)), _setting(runs)
    with canvas(width_inches, len(tables), more_inches=0.75) as (figure, panels):
        for axes, (name, table) in zip(panels, tables.items(), strict=True):
            PANELS[name].draw(axes, table, found, setting)
        legend(figure, found)
        if caption:
            figure.suptitle(caption, fontsize=8, color="#555555")
    return Picture(figure, next(iter(tables.values())) if len(tables) == 1 else None)


def _setting(runs: Runs) -> Setting:
    every: list[RunResult] = [run for found in runs.values() for run in found]
    return Setting.of(every)
