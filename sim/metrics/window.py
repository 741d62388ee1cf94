"""One run, seen through the time in which figures are taken.

Owns the cut: the warm-up goes by arrival time. A censored value is one that the end of the run cut
off: it enters as a lower bound, and is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sim.arrivals import MICROS
from sim.metrics.steps import Steps, level_before, levels_total, over_nodes
from sim.observation import NEVER, Observation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Window:
    """A run and the part of it that counts: from the warm-up's end to the last arrival.

    `seen` has the columns of every task; those of this class are about the tasks that arrived in
    the window, in order of arrival: shape (arrived,).

    Args:
        seen: the run.
        warm_up: share of the arrival time that is left out.
        messages: how many were delivered between actors in the whole run.
    """

    seen: Observation
    warm_up: float = 0.0
    messages: int = 0

    @cached_property
    def micros(self) -> tuple[int, int]:
        """Virtual microseconds between which figures are taken."""
        last = int(min(self.seen.arrivals.at_micros[-1], self.seen.end_micros))
        return min(round(last * self.warm_up), max(last - 1, 0)), max(last, 1)

    @cached_property
    def arrived(self) -> Mask:
        """Bool[all tasks]: which arrived in the window."""
        return np.asarray(self.seen.arrivals.at_micros >= self.micros[0])

    @cached_property
    def wait_seconds(self) -> Floats:
        """Submit to first placement; a task never placed has waited at least until the end."""
        return self._since_submit(self.seen.placed_micros)

    @cached_property
    def response_seconds(self) -> Floats:
        """Submit to end; a task that has not ended took at least until the end of the run."""
        return self._since_submit(self.seen.ended_micros)

    @cached_property
    def decision_seconds(self) -> Floats:
        """Submit to the scheduler's first word on the task, were it only that it fits nowhere."""
        return self._since_submit(self.seen.decided_micros)

    @cached_property
    def run_seconds(self) -> Floats:
        """How long each task truly runs, alone on a node."""
        return np.asarray(self.seen.arrivals.run_micros[self.arrived] / MICROS)

    def unknown(self, micros: Ints) -> int:
        """How many tasks of the window have never come to what `micros` (int64[all tasks]) tells.

        So many values of a figure are lower bounds.
        """
        return int((micros[self.arrived] == NEVER).sum())

    def mean(self, steps: Steps) -> float:
        """The time-weighted mean of a step function."""
        return float(steps.means(np.array(self.micros, dtype=np.int64))[0])

    def over_nodes(self, value: Callable[[Ints, Ints], Floats]) -> Steps:
        """Sum over nodes of `value(used, capacity)`, exactly; both are int64[n, resources]."""
        return over_nodes(self.seen, self.before, value)

    def used(self, resource: int) -> Steps:
        """What all tasks together reserve of a resource, in its unit."""
        return levels_total(self.seen, resource)

    @cached_property
    def before(self) -> Ints:
        """Int64[changes, resources]: what each change's row held just before it."""
        return level_before(self.seen)

    def _since_submit(self, micros: Ints) -> Floats:
        return since_submit(self.seen, micros)[self.arrived]


def since_submit(seen: Observation, micros: Ints) -> Floats:
    """Float64[tasks] of seconds from submit to `micros`; what never came lasts until the end."""
    until = np.where(micros == NEVER, seen.end_micros, micros)
    return np.asarray(np.maximum(until - seen.arrivals.at_micros, 0) / MICROS)
