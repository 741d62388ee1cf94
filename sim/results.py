"""What a run gives back: figures, curves, the columns of its tasks.

Values only; `sim.files` writes them, `sim.plots` draws them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cube.policies import Policy, make_policy
from sim.arrivals import MICROS
from sim.errors import InputError
from sim.metrics import Curves, Metric
from sim.observation import NEVER, STATES, Observation
from sim.scenario import Scenario
from sim.schema import SCHEMA_VERSION, TASKS
from sim.settings import replay_command
from sim.table import NONE, Table

if TYPE_CHECKING:
    from sim.explaining import Explanation
    from sim.plots import Picture


@dataclass(frozen=True)
class RunResult:
    """One policy, one seed.

    `wait_seconds` is float64[tasks after the warm-up], unsorted; `observation` is None where only
    figures were kept. Equal `trace_hash`: the two runs were the same in every state and place.
    """

    scenario: Scenario  # of this run alone: one policy, one seed
    metrics: dict[str, float]  # by key; NaN: nothing to measure
    censored: dict[str, int]  # tasks that entered a figure as lower bounds; absent: none
    counts: dict[str, int]  # tasks, completed, failed, stopped, unplaced, unfinished
    placements: int
    messages: dict[str, int]
    trace_hash: str
    workload_digest: str
    virtual_seconds: float
    wall_seconds: float
    window_seconds: tuple[float, float]  # the figures are taken between these
    scarcest: str  # the resource that the load is offered to
    curves: Curves
    wait_seconds: NDArray[np.float64]
    decision_wall_seconds: float = 0.0  # of the scheduler's work for one placement or refusal
    own_metrics: tuple[Metric, ...] = ()  # the user's
    chosen: Policy | None = field(default=None, repr=False)  # as it was before the run
    observation: Observation | None = None

    @property
    def policy(self) -> str:
        """Its text, as given."""
        return self.scenario.policies[0]

    @property
    def seed(self) -> int:
        """Of workload and engines."""
        return self.scenario.seeds[0]

    @property
    def replay_command(self) -> str:
        """The command that does this run again, with the same `trace_hash`."""
        return replay_command(self.scenario)

    @property
    def tasks(self) -> Table:
        """A row for each task: the columns of `sim.schema.TASKS`.

        Raises:
            InputError: only the figures of this run were kept.
        """
        if self.observation is None:
            remedy = "Simulate it alone, with sim.run or replay_command."
            raise InputError("a comparison keeps no columns of tasks", remedy)
        return _tasks(self.observation)

    def explain(self, task: str) -> Explanation:
        """Why a task went where it went: what was decided of it, and each step of its way.

        Nothing was kept for it: the run is done again up to that task's end, which takes as long.

        Raises:
            InputError: there is no such task.
        """
        from sim.explaining import explain

        policy = make_policy(self.policy) if self.chosen is None else self.chosen
        return explain(self.scenario, policy, self.seed, task)

    def plot_nodes(
        self, path: str | Path = "", resource: str = "cpu", width_inches: float = 3.3
    ) -> Picture:
        """Draw how full each node is over time, by `cpu` or `memory`.

        With a `path` it is written, in the file type of its name, and its data beside it, as CSV.

        Raises:
            InputError: there is no such resource, or only the figures of this run were kept.
        """
        from sim.plots import map_nodes

        picture = map_nodes(self, resource, width_inches)
        if path:
            picture.save(path)
        return picture

    def without_observation(self) -> RunResult:
        """The same without the columns per task: small enough to keep many, or to send."""
        return replace(self, observation=None, chosen=None)

    def by(self, policy: Policy) -> RunResult:
        """The same, knowing the policy itself."""
        return replace(self, chosen=policy)

    def summary(self) -> dict[str, Any]:
        """All that summary.json holds."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "run",
            "scenario": self.scenario.name,
            "policy": self.policy,
            "seed": self.seed,
            "nodes": self.scenario.cluster.count,
            "load": self.scenario.workload.load,
            "scarcest_resource": self.scarcest,
            "counts": self.counts,
            "placements": self.placements,
            "messages": self.messages,
            "messages_total": sum(self.messages.values()),
            "metrics": finite(self.metrics),
            "censored": self.censored,
            "window_seconds": list(self.window_seconds),
            "virtual_seconds": self.virtual_seconds,
            "wall_seconds": self.wall_seconds,
            "decision_wall_seconds": self.decision_wall_seconds,
            "trace_hash": self.trace_hash,
            "workload_digest": self.workload_digest,
            "replay": self.replay_command,
        }


def finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """As JSON has them: None where there was nothing to measure."""
    return {key: None if math.isnan(value) else value for key, value in metrics.items()}


def _tasks(seen: Observation) -> Table:
    arrivals = seen.arrivals
    states = np.array([*(state.value for state in STATES), ""])
    names = np.array([*seen.node_names, ""])
    ended = seen.ended_micros != NEVER
    until = np.where(seen.placed_micros == NEVER, seen.end_micros, seen.placed_micros)
    cpu, memory, disk = arrivals.demand[:, :3].T
    return Table.of(TASKS, {
        "task": [arrivals.name(number) for number in range(len(arrivals))],
        "submitted_seconds": _seconds(arrivals.at_micros),
        "decided_seconds": _seconds(seen.decided_micros),
        "placed_seconds": _seconds(seen.placed_micros),
        "started_seconds": _seconds(seen.started_micros),
        "ended_seconds": _seconds(seen.ended_micros),
        "wait_seconds": _seconds(np.maximum(until - arrivals.at_micros, 0)),
        "run_seconds": _seconds(arrivals.run_micros),
        "state": states[seen.state],  # -1, never seen, is the empty one
        "exit_code": np.where(ended, arrivals.exit_code, NONE),
        "node": names[seen.row],
        "attempts": seen.attempts,
        "restarts": seen.restarts,
        "evictions": seen.evictions,
        "lost_seconds": _seconds(seen.lost_micros),
        "cpu_milli": cpu,
        "memory_mib": memory,
        "disk_mib": disk,
    })  # fmt: skip


def _seconds(micros: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(micros == NEVER, np.nan, micros / MICROS)
