"""What a sweep gives back: figures over a grid of parameters, and comparisons at each point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim import files
from sim.comparison import chosen_metrics, figure_columns
from sim.grid import CellResult, Point
from sim.metrics import METRICS, Metric
from sim.paired import Lines, paired
from sim.scenario import Scenario, written
from sim.schema import COMPARISON, FIGURES, SCHEMA_VERSION
from sim.settings import inline
from sim.table import Column, Table

if TYPE_CHECKING:
    from sim.plots import Picture

_UNITS = {"seconds": "s", "milli": "milli-cores", "mib": "MiB"}  # by the end of a name


@dataclass(frozen=True)
class Surface:
    """All finished cells of a sweep."""

    scenario: Scenario
    parameters: tuple[str, ...]  # paths, in the order of the grid
    results: tuple[CellResult, ...]
    cells: int  # of the whole sweep
    worked: int  # that this call had to work
    interrupted: bool = False
    own_metrics: tuple[Metric, ...] = ()

    @property
    def complete(self) -> bool:
        """Is every cell there?"""
        return len(self.results) == self.cells

    @property
    def points(self) -> list[Point]:
        """Of the grid, in its order."""
        return list({inline(dict(result.point)): result.point for result in self.results}.values())

    def at(self, point: Point, *metrics: str) -> Lines:
        """The policies compared at one point; no metrics: the usual ones, and your own.

        Raises:
            InputError: there is no such metric.
        """
        by_policy: dict[str, dict[int, CellResult]] = {p: {} for p in self.scenario.policies}
        for result in self.results:
            if result.point == point:
                by_policy[result.policy][result.seed] = result
        seeds = [s for s in self.scenario.seeds if all(s in runs for runs in by_policy.values())]
        runs = {policy: [found[s] for s in seeds] for policy, found in by_policy.items()}
        chosen = chosen_metrics(metrics, self.own_metrics)
        return paired(runs, self.scenario.baseline, chosen) if seeds else Lines()

    def table(self, *metrics: str) -> Table:
        """A row for each point, metric and policy: parameters, then `sim.schema.COMPARISON`.

        Raises:
            InputError: there is no such metric.
        """
        tables = [(point, self.at(point, *metrics).to_table()) for point in self.points]
        points = [point for point, table in tables for _ in range(table.height)]
        names = (column.name for column in COMPARISON)
        columns = {name: [cell for _, t in tables for cell in t[name]] for name in names}
        return self._with_parameters(points, COMPARISON, columns)

    @property
    def figures(self) -> Table:
        """A row for each cell and metric: parameters, then `sim.schema.FIGURES`."""
        metrics = (*METRICS, *self.own_metrics)
        points = [result.point for result in self.results for _ in metrics]
        return self._with_parameters(points, FIGURES, figure_columns(self.results, metrics))

    def plot(self, metric: str, path: str | Path = "", width_inches: float = 3.3) -> Picture:
        """Draw a metric over the first parameter.

        With a `path` it is written, in the file type of its name, and its data beside it, as CSV.

        Raises:
            InputError: there is no such metric, or the first parameter has no numbers.
        """
        from sim.plots import draw_over

        table = self.table(metric)
        policies = self.scenario.policies
        picture = draw_over(table, self.parameters[0], metric, policies, width_inches)
        if path:
            picture.save(path)
        return picture

    def write(self, out: Path) -> None:
        """comparison.csv, figures.csv, scenario.toml, env.json, summary.json."""
        every = [metric.key for metric in (*METRICS, *self.own_metrics)]
        files.put(out / "comparison.csv", self.table(*every).csv())
        files.put(out / "figures.csv", self.figures.csv())
        files.put(out / "scenario.toml", written(self.scenario).encode())
        files.put(out / "env.json", files.as_json(files.environment()))
        files.put(out / "summary.json", files.as_json(self.summary()))

    def summary(self) -> dict[str, Any]:
        """All that summary.json holds."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "sweep",
            "scenario": self.scenario.name,
            "parameters": list(self.parameters),
            "points": [dict(point) for point in self.points],
            "policies": list(self.scenario.policies),
            "baseline": self.scenario.baseline,
            "seeds": list(self.scenario.seeds),
            "cells": self.cells,
        }

    def _with_parameters(
        self, points: Sequence[Point], columns: Sequence[Column], values: dict[str, Any]
    ) -> Table:
        named = {path: [dict(point)[path] for point in points] for path in self.parameters}
        head = [_column(path, cells) for path, cells in named.items()]
        told = {c.name: _told(c, named[c.name]) for c in head}
        return Table.of([*head, *columns], {**told, **values})


def _column(path: str, cells: Sequence[Any]) -> Column:
    """A parameter as a column: whole numbers, numbers, or text."""
    kinds = {type(cell) for cell in cells}
    unit = _UNITS.get(path.rpartition("_")[2], "")
    text = "a parameter of the sweep"
    if kinds == {int}:
        return Column(path, unit, "int64", text)
    return Column(path, unit, "float64" if kinds <= {int, float} else "str", text)


def _told(column: Column, cells: Sequence[Any]) -> list[Any]:
    if column.dtype != "str":
        return list(cells)
    return [cell if isinstance(cell, str) else inline(cell) for cell in cells]
