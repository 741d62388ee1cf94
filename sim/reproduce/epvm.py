"""E-PVM against round robin under contention, after Amir et al., IEEE TPDS 11(7), 2000.

Runs the scenarios of `sim.reproduce.assumed` under every policy through the whole control plane,
and sums up. What is assumed and what is known: docs/reproductions.md. Nothing here is fitted to
the published figures.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cube.fleet import Fleet
from cube.policies import Policy, make_policy, policy
from cube.spec import Demand
from sim.reproduce.assumed import OVERCOMMIT, Assumptions, assumptions, draw
from sim.simulation import Progress, Simulation
from sim.statistics import Interval, interval
from sim.workers import work_all

PUBLISHED = {"round-robin": 14.08, "differential": 10.7, "epvm": 9.6}
JUDGED = ("round-robin", "epvm-paper", "epvm")  # in the published order, worst first
ALL = ("round-robin", "differential", "epvm-paper", "epvm")
CUT = 0.25  # the least by which E-PVM must be below round robin


@policy(row_local=True)
def differential(
    fleet: Fleet, task: Demand, rows: NDArray[np.intp], *, machines: int = 2
) -> NDArray[np.float64]:
    """Where a job of infinitesimal size would cost least: the slope of E-PVM's cost.

    Infinitesimal means the same small share of the mean machine's CPU and memory. Source: the
    authors' slides, where the slope stands in for sizes that nobody knows in advance.
    """
    base = math.log(machines) * OVERCOMMIT
    total = np.zeros(len(rows))
    for used, size in (
        (fleet.cpu_used_milli, fleet.cpu_milli),
        (fleet.memory_used_mib, fleet.memory_mib),
    ):
        there = size[rows]
        powers = [math.exp(base * u) for u in (used[rows] / there).tolist()]
        total = total + np.array(powers) / (there / size.mean())
    return total


def policies(machines: int) -> dict[str, Policy]:
    """By short name, for a cluster of so many machines: full is what they have, not offer."""
    n = max(2, machines)
    texts = {
        "round-robin": make_policy("round-robin"),
        "differential": make_policy(differential(machines=n)),
        "epvm-paper": make_policy(f"epvm-paper(overcommit={OVERCOMMIT})"),
        "epvm": make_policy(f"epvm(base={float(n) ** OVERCOMMIT!r})"),
    }
    assert tuple(texts) == ALL
    return texts


@dataclass(frozen=True)
class Line:
    """One scenario: what was drawn, and the mean slowdown under each policy."""

    number: int
    values: dict[str, float]
    slowdown: dict[str, float]
    digest: str


def work(number: int, assumed: Assumptions) -> Line:
    """Run one scenario under every policy."""
    drawn = draw(assumed, number)
    slowdown = {}
    for name, tried in policies(drawn.scenario.cluster.count).items():
        seen = Simulation(drawn.scenario, tried, drawn.arrivals, number).run()
        assert seen.final.all(), f"scenario {number} under {name} has no end"
        held = seen.ended_micros - drawn.arrivals.at_micros
        slowdown[name] = float((held / drawn.arrivals.run_micros).mean())
    return Line(number, drawn.values, slowdown, drawn.arrivals.digest)


@dataclass(frozen=True)
class Result:
    """All scenarios."""

    lines: tuple[Line, ...]
    interrupted: bool = False

    def mean(self, name: str) -> Interval:
        """Mean slowdown over scenarios."""
        return interval([line.slowdown[name] for line in self.lines])

    def share(self, name: str) -> float:
        """The mean slowdown as a share of round robin's."""
        return self.mean(name).mean / self.mean("round-robin").mean

    def median(self, name: str) -> float:
        """Of the scenarios' mean slowdowns."""
        return float(np.median([line.slowdown[name] for line in self.lines]))

    @property
    def cut(self) -> Interval:
        """1 - E-PVM / round robin of the means; the interval by the delta method."""
        robin = np.array([line.slowdown["round-robin"] for line in self.lines])
        epvm = np.array([line.slowdown["epvm"] for line in self.lines])
        ratio = float(epvm.mean() / robin.mean())
        spread = interval(((epvm - ratio * robin) / robin.mean()).tolist())
        half = (spread.high - spread.low) / 2
        return Interval(1 - ratio, 1 - ratio - half, 1 - ratio + half, len(self.lines))

    @property
    def order_holds(self) -> bool:
        """Are the means in the published order?"""
        means = [self.mean(name).mean for name in JUDGED]
        return means == sorted(means, reverse=True)

    def failing(self) -> dict[str, float]:
        """The share of scenarios in which each part of the published result does not show."""
        found = [tuple(line.slowdown[name] for name in JUDGED) for line in self.lines]
        parts = {
            "round robin is not the worst": [robin <= max(a, b) for robin, a, b in found],
            "E-PVM is not the best": [epvm >= min(a, b) for a, b, epvm in found],
            "the order does not hold": [not a > b > c for a, b, c in found],
            f"E-PVM is less than {CUT:.0%} below round robin": [
                epvm > (1 - CUT) * robin for robin, _, epvm in found
            ],
        }
        return {part: sum(fails) / len(found) for part, fails in parts.items()}


def reproduce(scenarios: int, processes: int = 1, progress: Progress = lambda done: None) -> Result:
    """Run scenarios 1 to `scenarios`; `progress` is told how many are done.

    At Ctrl-C the finished ones are returned with `interrupted` set.

    Raises:
        KeyboardInterrupt: fewer than two were finished.
    """
    lines: list[Line] = []
    interrupted = False
    try:
        with closing(_lines(scenarios, processes)) as finished:
            for line in finished:
                lines.append(line)
                progress(len(lines))
    except KeyboardInterrupt:
        if len(lines) < 2:
            raise
        interrupted = True
    return Result(tuple(sorted(lines, key=lambda line: line.number)), interrupted)


def _lines(scenarios: int, processes: int) -> Generator[Line, None, None]:
    assumed = assumptions()
    runs = (partial(work, number, assumed) for number in range(1, scenarios + 1))
    yield from work_all(runs, processes=processes)
