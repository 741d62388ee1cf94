"""One run of an experiment: the unit that is simulated, in whatever process."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from pathlib import Path

from cube.policies import Policy
from sim import files
from sim.arrivals import MICROS
from sim.metrics import Measure, Window, counts, curves, measure
from sim.results import RunResult
from sim.scenario import Scenario
from sim.simulation import Progress, Simulation


@dataclass(frozen=True)
class Piece:
    """One policy with one seed; goes to another process whole."""

    scenario: Scenario
    policy: Policy
    seed: int
    measures: tuple[Measure, ...] = ()  # the user's own
    out: Path | None = None

    def work(self, progress: Progress | None = None) -> RunResult:
        """Simulate, write the run to `out`, and keep the figures only."""
        result = self.whole(progress)
        if self.out is not None:
            files.write_run(result, self.out)
        return result.without_observation()

    def whole(self, progress: Progress | None = None) -> RunResult:
        """Simulate, and keep the columns of every task too.

        Raises:
            InputError: the workload does not go with the cluster, or a metric failed.
            PolicyFailed: the policy raised or gave nonsense.
        """
        scenario = self.scenario.but(policies=(str(self.policy),), seeds=(self.seed,), baseline="")
        workload = scenario.workload
        arrivals = workload.draw(scenario.cluster, self.seed)
        policy = copy.deepcopy(self.policy)
        simulation = Simulation(scenario, policy, arrivals, self.seed, progress)
        began = time.perf_counter()
        seen = simulation.run()
        wall_seconds = time.perf_counter() - began
        messages = simulation.messages
        window = Window(seen, scenario.warm_up, sum(messages.values()))
        figures = measure(window, self.measures)
        first, last = window.micros
        return RunResult(
            scenario=scenario,
            metrics={key: figure.value for key, figure in figures.items()},
            censored={key: figure.censored for key, figure in figures.items() if figure.censored},
            counts=counts(seen),
            placements=simulation.recorder.placements,
            messages=messages,
            trace_hash=simulation.trace_hash(),
            workload_digest=arrivals.digest,
            virtual_seconds=seen.end_micros / MICROS,
            wall_seconds=wall_seconds,
            window_seconds=(first / MICROS, last / MICROS),
            scarcest=workload.rate(scenario.cluster)[1],
            curves=curves(window),
            wait_seconds=window.wait_seconds,
            decision_wall_seconds=simulation.decision_seconds,
            own_metrics=tuple(found.metric for found in self.measures),
            chosen=self.policy,
            observation=seen,
        )
