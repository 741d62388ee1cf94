"""What is measured of a run, exactly. Definitions with formulas: docs/simulation.md.

Everything is derived from an `Observation` after the run. Utilisation and imbalance are step
functions of time, integrated exactly; nothing is sampled at intervals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cube.task import State
from sim.arrivals import MICROS
from sim.observation import NEVER, STATES, Observation

Floats = NDArray[np.float64]

WAITED_SECONDS = 0.1  # less is the control plane's own latency: it has not waited for room
GRID = 240  # intervals of time that pictures and nodes.npz show
CPU, MEMORY = 0, 1  # columns of a demand


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a run: its key, its unit, what it says, and which way is better."""

    key: str
    unit: str
    text: str
    better: str = "lower"


METRICS = (
    Metric("wait_seconds.mean", "s", "mean waiting time"),
    Metric("wait_seconds.p50", "s", "median waiting time"),
    Metric("wait_seconds.p95", "s", "95th percentile of waiting time"),
    Metric("wait_seconds.p99", "s", "99th percentile of waiting time"),
    Metric("wait_seconds.max", "s", "longest waiting time"),
    Metric("waited", "tasks", f"tasks that waited more than {WAITED_SECONDS} s for room"),
    Metric("utilisation.cpu", "", "time-weighted CPU reserved / capacity", "higher"),
    Metric("utilisation.memory", "", "time-weighted memory reserved / capacity", "higher"),
    Metric("imbalance.cpu", "", "time-weighted coefficient of variation of nodes' CPU"),
    Metric("imbalance.memory", "", "time-weighted coefficient of variation of nodes' memory"),
    Metric("makespan_seconds", "s", "first arrival to last end"),
    Metric("messages_per_task", "", "messages between actors for each task"),
)


@dataclass(frozen=True)
class Steps:
    """A function of time that is constant between changes: `values[i]` from `micros[i]` on."""

    micros: NDArray[np.int64]
    values: Floats

    def integral(self, edges: NDArray[np.int64]) -> Floats:
        """Float64[len(edges)] of the integral from the first change to each edge, in value·µs."""
        areas = np.diff(self.micros) * self.values[:-1]
        until = np.concatenate(([0.0], np.cumsum(areas)))
        at = np.maximum(np.searchsorted(self.micros, edges, side="right") - 1, 0)
        beyond = np.maximum(edges - self.micros[at], 0)
        return np.asarray(until[at] + beyond * self.values[at])

    def means(self, edges: NDArray[np.int64]) -> Floats:
        """Float64[len(edges) - 1] of time-weighted means between neighbouring edges."""
        widths = np.maximum(np.diff(edges), 1)
        return np.asarray(np.diff(self.integral(edges)) / widths)


@dataclass(frozen=True)
class Curves:
    """Time-weighted means in `GRID` equal intervals from 0 to the end of the run.

    `seconds` are the intervals' middles, float64[GRID]; the others float64[GRID, 2]: CPU, memory.
    """

    seconds: Floats
    utilisation: Floats
    imbalance: Floats


def utilisation(seen: Observation, resource: int) -> Steps:
    """Reserved share of the cluster's capacity: sum of used / sum of capacity."""
    used = np.cumsum(_amounts(seen, resource))
    return _steps(seen, used / seen.capacity[:, resource].sum())


def imbalance(seen: Observation, resource: int) -> Steps:
    """Coefficient of variation over nodes: deviation / mean of u_i = used_i / capacity_i.

    Population deviation; 0 while nothing is reserved. Nodes that lack the resource are left out.
    """
    capacity = seen.capacity[:, resource]
    has = capacity > 0
    amounts = _amounts(seen, resource)
    shares = amounts / np.where(has, capacity, 1)[seen.change_row]
    before = _level_before(seen.change_row, amounts) / np.where(has, capacity, 1)[seen.change_row]
    nodes = has.sum()
    mean = np.cumsum(shares) / nodes
    square = np.cumsum((before + shares) ** 2 - before**2) / nodes
    deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
    used = np.cumsum(amounts) > 0
    return _steps(seen, np.where(used, deviation / np.where(used, mean, 1.0), 0.0))


def _amounts(seen: Observation, resource: int) -> NDArray[np.int64]:
    return np.asarray(seen.arrivals.demand[seen.change_task, resource] * seen.change_sign)


def _level_before(rows: NDArray[np.int64], amounts: NDArray[np.int64]) -> NDArray[np.int64]:
    """What each change's row held just before it."""
    order = np.argsort(rows, kind="stable")
    sums = np.cumsum(amounts[order]) - amounts[order]
    firsts = np.flatnonzero(np.diff(rows[order], prepend=-1))
    lengths = np.diff(np.append(firsts, len(rows)))
    before = np.empty(len(rows), dtype=np.int64)
    before[order] = sums - np.repeat(sums[firsts], lengths)
    return before


def _steps(seen: Observation, values: Floats) -> Steps:
    """Start at 0; of changes at the same time the last one counts, since steps have no width."""
    start = np.zeros(1, dtype=np.int64)
    return Steps(np.concatenate((start, seen.change_micros)), np.concatenate(([0.0], values)))


def curves(seen: Observation) -> Curves:
    """Utilisation and imbalance of CPU and memory over the whole run."""
    edges = _grid(seen)
    return Curves(
        (edges[:-1] + edges[1:]) / 2 / MICROS,
        np.stack([utilisation(seen, r).means(edges) for r in (CPU, MEMORY)], axis=1),
        np.stack([imbalance(seen, r).means(edges) for r in (CPU, MEMORY)], axis=1),
    )


def _grid(seen: Observation) -> NDArray[np.int64]:
    return np.linspace(0, max(seen.end_micros, 1), GRID + 1).astype(np.int64)


def node_levels(seen: Observation) -> tuple[Floats, dict[str, NDArray[np.int64]]]:
    """Seconds float64[GRID + 1], and int64[GRID + 1, nodes] of what each node holds then."""
    edges = _grid(seen)
    at = np.searchsorted(edges, seen.change_micros)  # visible from the next grid point on
    shape = (len(edges), len(seen.node_names))
    levels = {}
    for name, amounts in (
        ("cpu_milli", _amounts(seen, CPU)),
        ("memory_mib", _amounts(seen, MEMORY)),
        ("tasks", seen.change_sign),
    ):
        steps = np.zeros(shape, dtype=np.int64)
        inside = at < len(edges)
        np.add.at(steps, (at[inside], seen.change_row[inside]), amounts[inside])
        levels[name] = np.cumsum(steps, axis=0)
    return edges / MICROS, levels


def waits(seen: Observation) -> Floats:
    """Float64[tasks] of seconds from submit to first placement.

    A task that was never placed has waited at least until the end: a censored lower bound.
    """
    until = np.where(seen.placed_micros == NEVER, seen.end_micros, seen.placed_micros)
    return np.asarray(np.maximum(until - seen.arrivals.at_micros, 0) / MICROS)


def window(seen: Observation, warm_up: float) -> tuple[int, int]:
    """Microseconds between which figures are taken: the arrivals, less the warm-up's share."""
    last = int(min(seen.arrivals.at_micros[-1], seen.end_micros))
    return min(round(last * warm_up), max(last - 1, 0)), max(last, 1)


def measure(seen: Observation, warm_up: float, messages: int) -> dict[str, float]:
    """Every figure of `METRICS` by its key."""
    first, last = window(seen, warm_up)
    wait = waits(seen)[seen.arrivals.at_micros >= first]
    p50, p95, p99 = np.quantile(wait, (0.5, 0.95, 0.99)).tolist()
    between = np.array([first, last], dtype=np.int64)
    ends = np.where(seen.final, seen.ended_micros, seen.end_micros)
    return {
        "wait_seconds.mean": float(wait.mean()),
        "wait_seconds.p50": p50,
        "wait_seconds.p95": p95,
        "wait_seconds.p99": p99,
        "wait_seconds.max": float(wait.max()),
        "waited": int((wait > WAITED_SECONDS).sum()),
        "utilisation.cpu": float(utilisation(seen, CPU).means(between)[0]),
        "utilisation.memory": float(utilisation(seen, MEMORY).means(between)[0]),
        "imbalance.cpu": float(imbalance(seen, CPU).means(between)[0]),
        "imbalance.memory": float(imbalance(seen, MEMORY).means(between)[0]),
        "makespan_seconds": float((ends.max() - seen.arrivals.at_micros[0]) / MICROS),
        "messages_per_task": messages / len(seen.arrivals),
    }


def counts(seen: Observation) -> dict[str, int]:
    """How the tasks ended: tasks, one entry per final state, unplaced, unfinished."""
    states = np.bincount(seen.state[seen.state != NEVER], minlength=len(STATES)).tolist()
    ended = {s.value: states[i] for i, s in enumerate(STATES) if s.final}
    unplaced = int((seen.placed_micros == NEVER).sum())
    unfinished = int((~seen.final).sum())
    assert State.COMPLETED.value in ended
    return {"tasks": len(seen.arrivals), **ended, "unplaced": unplaced, "unfinished": unfinished}
