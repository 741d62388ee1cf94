"""Hot paths to be repeated N times: `gate.py` counts what one repetition costs.

    python benchmarks/operations.py NAME N

Everything is the same in every run of one N, and what is made beforehand does not depend on N.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from placement import ROUND, Bench

from cube import codec
from cube.messages import Fact, Generation, Phase, Report
from cube.policies import make_policy
from sim.scenario import Scenario
from sim.simulation import Simulation


def _calibration(n: int) -> None:
    """What no change of ours makes faster: attributes, dictionaries, a bare argmin."""
    scores = np.random.default_rng(1).random(1000)
    seen: dict[int, float] = {}
    for i in range(n):
        at = int(scores.argmin())
        scores[at] += 1.0
        seen[at] = seen.get(at, 0.0) + i
        for k in range(20):
            seen[k] = seen.get(k, 0.0) + 1.0


def _place(nodes: int) -> Callable[[int], None]:
    def placements(n: int) -> None:
        bench = Bench(nodes, "epvm")
        bench.play(*bench.round())
        for _ in range(n // ROUND):
            bench.play(*bench.round())

    return placements


def _tasks(n: int) -> None:
    """Whole lives of tasks, through manager, scheduler, workers and engines in virtual time."""
    scenario = Scenario()
    short = scenario.workload.durations.but(mean_seconds=10.0, limit_seconds=60.0)
    workload = scenario.workload.but(tasks=n, durations=short)
    cluster = scenario.cluster.but(groups=(scenario.cluster.groups[0].but(count=50),))
    seldom = scenario.control.but(
        reports_per_second=0.5
    )  # so that tasks cost, not waiting for them
    scenario = scenario.but(cluster=cluster, workload=workload, control=seldom)
    arrivals = workload.draw(cluster, 1)
    Simulation(scenario, make_policy("epvm"), arrivals, 1).run()


def _reports(n: int) -> None:
    """A report of ten tasks, written for the wire and read again."""
    facts = tuple(Fact(f"shop/web/{i}@1", 1, 0, Phase.RUNNING) for i in range(10))
    report = Report("node-1", "c0ffee", 1, 1, 0.0, True, Generation("c0ffee", 1, 1), facts, None)
    for _ in range(n):
        assert codec.loads(codec.dumps(report)) == report


OPERATIONS: dict[str, tuple[Callable[[int], None], int]] = {
    "calibration": (_calibration, 1000),
    "placement, 1,000 nodes": (_place(1_000), 300),
    "placement, 10,000 nodes": (_place(10_000), 300),
    "task, 50 nodes": (_tasks, 150),
    "report on the wire": (_reports, 50),
}
"""What is measured, and how often the smaller of two runs repeats it."""


if __name__ == "__main__":
    OPERATIONS[sys.argv[1]][0](int(sys.argv[2]))
