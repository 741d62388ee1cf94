"""What is measured of a run, exactly. Definitions with formulas: docs/simulation.md.

Everything is derived from an `Observation` after the run. What nodes hold is a step function of
time, integrated exactly; nothing is sampled at intervals.
"""

import numpy as np

from cube.task import State
from sim.metrics.balance import imbalance, utilisation
from sim.metrics.catalogue import MEASURES, METRICS, check_keys, measure
from sim.metrics.curves import CPU, GRID, MEMORY, Curves, curves, node_levels
from sim.metrics.metric import Figure, Measure, Metric, make_measure, metric
from sim.metrics.packing import WAITED_SECONDS
from sim.metrics.window import Window
from sim.observation import NEVER, STATES, Observation

__all__ = [
    "CPU", "GRID", "MEASURES", "MEMORY", "METRICS", "WAITED_SECONDS", "Curves", "Figure", "Measure",
    "Metric", "Window", "check_keys", "counts", "curves", "imbalance", "make_measure", "measure",
    "metric", "node_levels", "utilisation",
]  # fmt: skip


def counts(seen: Observation) -> dict[str, int]:
    """How the tasks ended: tasks, one entry per final state, unplaced, unfinished."""
    states = np.bincount(seen.state[seen.state != NEVER], minlength=len(STATES)).tolist()
    ended = {s.value: states[i] for i, s in enumerate(STATES) if s.final}
    unplaced = int((seen.placed_micros == NEVER).sum())
    unfinished = int((~seen.final).sum())
    assert State.COMPLETED.value in ended
    return {"tasks": len(seen.arrivals), **ended, "unplaced": unplaced, "unfinished": unfinished}
