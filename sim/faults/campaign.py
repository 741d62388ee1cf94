"""Many runs: scenarios times seeds, side by side, and what they showed together.

Owns the sums. A run depends on its scenario and seed only, so the order in which
runs end does not matter.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cube.marks import MARKS
from sim.faults.ordeal import Outcome, run_seed
from sim.faults.scenario import FaultScenario
from sim.workers import work_all

SECONDS_PER_YEAR = 365.25 * 86_400
ENOUGH_SEEDS = 1000  # from so many on, a mark that is hardly ever hit fails the campaign
LEAST_SHARE = 0.01  # of the seeds, in whose runs every mark must be hit


@dataclass(slots=True)
class Campaign:
    """The sums over all runs so far."""

    asked: int = 0  # runs that there are to be
    runs: int = 0
    broken: list[Outcome] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    seeds: set[int] = field(default_factory=set)
    marked: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    # by mark, the seeds with which any scenario hit it
    checks: int = 0
    tasks: int = 0
    node_years: float = 0.0
    virtual_seconds: float = 0.0
    work_seconds: float = 0.0  # of processor time, over all processes
    unfenced_seconds: float = 0.0
    longest_settle_seconds: float = 0.0
    by_scenario: Counter[str] = field(default_factory=Counter)
    taken_over: set[tuple[str, int]] = field(default_factory=set)  # done by an earlier campaign
    began: float = field(default_factory=time.perf_counter)

    def add(self, outcome: Outcome) -> None:
        """Take in one run."""
        self.runs += 1
        self.by_scenario[outcome.scenario] += 1
        if outcome.broken:
            self.broken.append(outcome)
        self.faults.update(outcome.faults)
        self.seeds.add(outcome.seed)
        for mark in outcome.marks:
            self.marked[mark].add(outcome.seed)
        self.checks += outcome.checks
        self.tasks += outcome.tasks
        self.node_years += outcome.node_seconds / SECONDS_PER_YEAR
        self.virtual_seconds += outcome.virtual_seconds
        self.work_seconds += outcome.wall_seconds
        self.unfenced_seconds += outcome.unfenced_seconds
        self.longest_settle_seconds = max(self.longest_settle_seconds, outcome.settle_seconds)

    def take_over(self, outcome: Outcome) -> None:
        """Take in one run that an earlier campaign has finished."""
        self.taken_over.add((outcome.scenario, outcome.seed))
        self.add(outcome)

    @property
    def unmarked(self) -> list[str]:
        """Branches of the protocol that the runs of too few seeds have gone through."""
        least = max(1.0, LEAST_SHARE * len(self.seeds))
        return [mark for mark in MARKS if len(self.marked[mark]) < least]

    @property
    def failed(self) -> bool:
        """Was a promise broken, or is one that was hardly put to the test?"""
        return bool(self.broken) or (len(self.seeds) >= ENOUGH_SEEDS and bool(self.unmarked))

    def summary(self) -> dict[str, Any]:
        """As plain values, for a file."""
        return {
            "schema_version": 1,
            "asked": self.asked,
            "runs": self.runs,
            "taken_over": len(self.taken_over),
            "wall_seconds": time.perf_counter() - self.began,  # of the others
            "seeds": len(self.seeds),
            "scenarios": dict(sorted(self.by_scenario.items())),
            "broken": [{"replay": o.replay, "broken": o.broken} for o in self.broken],
            "virtual_node_years": self.node_years,
            "virtual_seconds": self.virtual_seconds,
            "work_seconds": self.work_seconds,
            "times_real_time": self.virtual_seconds / max(self.work_seconds, 1e-9),
            "faults": dict(sorted(self.faults.items())),
            "checks": self.checks,
            "tasks": self.tasks,
            "unfenced_seconds": self.unfenced_seconds,
            "longest_settle_seconds": self.longest_settle_seconds,
            "marks": {mark: len(self.marked[mark]) for mark in MARKS},
        }


def run_all(
    scenarios: Sequence[FaultScenario],
    seeds: Iterable[int],
    processes: int = 1,
    done: Collection[tuple[str, int]] = (),
) -> Generator[Outcome]:
    """Outcomes of all runs, as they end; `done` names by scenario and seed what is left out."""
    runs = (
        partial(run_seed, scenario, seed)
        for seed in seeds
        for scenario in scenarios
        if (scenario.name, seed) not in done
    )
    yield from work_all(runs, processes=processes)


def shrink(scenario: FaultScenario, outcome: Outcome) -> list[str]:
    """The fewest faults found with which the same promise still breaks, by leaving out halves."""
    promise = outcome.broken.partition(":")[0]

    def breaks(faults: list[str]) -> bool:
        again = run_seed(scenario, outcome.seed, only=faults)
        return again.broken.partition(":")[0] == promise

    kept, size = list(outcome.plan), max(1, len(outcome.plan) // 2)
    while True:
        start = 0
        while start < len(kept):
            fewer = kept[:start] + kept[start + size :]
            if breaks(fewer):
                kept = fewer
            else:
                start += size
        if size == 1:
            return kept
        size //= 2
