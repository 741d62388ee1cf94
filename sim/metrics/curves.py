"""A run over time, for pictures and files: the cluster's curves and every node's level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.arrivals import MICROS
from sim.metrics.balance import imbalance, utilisation
from sim.metrics.steps import Floats, Ints, amounts
from sim.metrics.window import Window
from sim.observation import Observation

GRID = 240  # intervals of time that pictures and nodes.npz show
CPU, MEMORY = 0, 1  # columns of a demand


@dataclass(frozen=True)
class Curves:
    """Time-weighted means in `GRID` equal intervals from 0 to the end of the run.

    `seconds` are the intervals' middles, float64[GRID]; the others float64[GRID, 2]: CPU, memory.
    """

    seconds: Floats
    utilisation: Floats
    imbalance: Floats


def curves(window: Window) -> Curves:
    """Utilisation and imbalance of CPU and memory over the whole run."""
    edges = _grid(window.seen)
    return Curves(
        (edges[:-1] + edges[1:]) / 2 / MICROS,
        np.stack([utilisation(window, r).means(edges) for r in (CPU, MEMORY)], axis=1),
        np.stack([imbalance(window, r).means(edges) for r in (CPU, MEMORY)], axis=1),
    )


def _grid(seen: Observation) -> Ints:
    return np.linspace(0, max(seen.end_micros, 1), GRID + 1).astype(np.int64)


def node_levels(seen: Observation) -> tuple[Floats, dict[str, NDArray[np.int64]]]:
    """Seconds float64[GRID + 1], and int64[GRID + 1, nodes] of what each node holds then."""
    edges = _grid(seen)
    at = np.searchsorted(edges, seen.change_micros)  # visible from the next grid point on
    shape = (len(edges), len(seen.node_names))
    levels = {}
    for name, changes in (
        ("cpu_milli", amounts(seen, CPU)),
        ("memory_mib", amounts(seen, MEMORY)),
        ("tasks", seen.change_sign),
    ):
        steps = np.zeros(shape, dtype=np.int64)
        inside = at < len(edges)
        np.add.at(steps, (at[inside], seen.change_row[inside]), changes[inside])
        levels[name] = np.cumsum(steps, axis=0)
    return edges / MICROS, levels
