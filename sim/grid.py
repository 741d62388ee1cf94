"""The cells of a sweep: every point of a grid, under every policy, with every seed.

A cell's result is one file that appears whole or not at all. It holds the fingerprint of all that
it depends on, so whoever finds it can tell whether it still stands.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cube.policies import Policy
from sim.errors import InputError
from sim.files import as_json, put, slugs
from sim.fingerprint import fingerprint
from sim.metrics import Measure
from sim.piece import Piece
from sim.results import RunResult, finite
from sim.scenario import Scenario
from sim.schema import SCHEMA_VERSION
from sim.settings import APART, changed, inline

CELLS = "cells"  # the folder, within that of the sweep
MOST_CELLS = 1_000_000

Point = tuple[tuple[str, Any], ...]  # values by path, in the order of the grid


@dataclass(frozen=True)
class Cell:
    """One run of a sweep, and what is needed to do it."""

    point: Point
    piece: Piece
    place: Path  # of its file, within the folder of the sweep
    fingerprint: str

    @property
    def policy(self) -> str:
        """Its text."""
        return str(self.piece.policy)

    @property
    def seed(self) -> int:
        """Of everything that is drawn."""
        return self.piece.seed


@dataclass(frozen=True)
class CellResult:
    """The figures of one cell (`sim.paired.Measured`)."""

    point: Point
    policy: str
    seed: int
    metrics: dict[str, float]
    censored: dict[str, int]
    counts: dict[str, int]
    trace_hash: str
    workload_digest: str


def cells_of(
    scenario: Scenario,
    grid: Mapping[str, Sequence[Any]],
    policies: Sequence[Policy],
    measures: tuple[Measure, ...],
) -> list[Cell]:
    """Every cell, seed by seed, so that pairs are complete early.

    Raises:
        InputError: there is no such parameter, a value makes no sense, or there are too many cells.
    """
    points = _points(grid)
    count = len(points) * len(policies) * len(scenario.seeds)
    if count > MOST_CELLS:
        raise InputError(f"{count:,} cells are too many", f"Ask for at most {MOST_CELLS:,}.")
    scenarios = {point: changed(scenario, dict(point)) for point in points}
    names = slugs(str(policy) for policy in policies)
    return [
        _cell(scenarios[point], point, policy, seed, measures, names[str(policy)])
        for seed in scenario.seeds
        for point in points
        for policy in policies
    ]


def _points(grid: Mapping[str, Sequence[Any]]) -> list[Point]:
    for path, values in grid.items():
        if path in APART:
            raise InputError(f"{path} is no parameter", f"Every cell has its own of the {path}.")
        told = [inline(value) for value in values]
        if len(set(told)) < len(told) or not told:
            what = "a value twice" if told else "no value"
            raise InputError(f"{path} has {what}", "Name each value once.")
    combined = itertools.product(*grid.values())
    return [tuple(zip(grid, values, strict=True)) for values in combined]


def _cell(
    scenario: Scenario,
    point: Point,
    policy: Policy,
    seed: int,
    measures: tuple[Measure, ...],
    slug: str,
) -> Cell:
    alone = scenario.but(policies=(str(policy),), seeds=(seed,), baseline="")
    where = ",".join(f"{path}={_for_a_name(value)}" for path, value in point) or "scenario"
    place = Path(CELLS) / where / slug / f"seed-{seed}.json"
    return Cell(point, Piece(alone, policy, seed, measures), place, fingerprint(
        alone, policy, measures
    ))  # fmt: skip


def _for_a_name(value: Any) -> str:
    text = value if isinstance(value, str) else inline(value)
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", text).strip("-")[:80]


def write_cell(out: Path, cell: Cell, result: RunResult) -> CellResult:
    """Put its figures into its file. Equal runs write equal bytes: nothing of it is wall time."""
    place = out / cell.place
    place.parent.mkdir(parents=True, exist_ok=True)
    values = {
        "schema_version": SCHEMA_VERSION,
        "kind": "cell",
        "fingerprint": cell.fingerprint,
        "parameters": dict(cell.point),
        "policy": cell.policy,
        "seed": cell.seed,
        "metrics": finite(result.metrics),
        "censored": result.censored,
        "counts": result.counts,
        "placements": result.placements,
        "messages": result.messages,
        "window_seconds": list(result.window_seconds),
        "virtual_seconds": result.virtual_seconds,
        "trace_hash": result.trace_hash,
        "workload_digest": result.workload_digest,
    }
    put(place, as_json(values))
    return _result(cell, values)


def read_cell(out: Path, cell: Cell) -> CellResult | None:
    """What its file holds; None if there is none that can be read.

    Raises:
        Stale: it was made by other source, versions, inputs, or from another scenario.
    """
    try:
        values = json.loads((out / cell.place).read_bytes())
        found = _result(cell, values)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if values["schema_version"] != SCHEMA_VERSION or values["fingerprint"] != cell.fingerprint:
        raise Stale(str(cell.place))
    return found


class Stale(Exception):
    """A result that no longer stands."""


def _result(cell: Cell, values: Mapping[str, Any]) -> CellResult:
    metrics = {k: math.nan if v is None else float(v) for k, v in values["metrics"].items()}
    return CellResult(
        cell.point, cell.policy, cell.seed, metrics, values["censored"], values["counts"],
        values["trace_hash"], values["workload_digest"],
    )  # fmt: skip
