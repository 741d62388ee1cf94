"""One task of a run: what was decided of it and each step of its way.

A run keeps no decisions: it is decided by its scenario, so it is done again up to the task's end,
with somebody looking on who changes nothing.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from cube.messages import MANAGER, Effect, Save
from cube.policies import Policy
from cube.task import Decision, State, Task
from cube.views.show import decision_text, task_reason
from sim.arrivals import Arrivals
from sim.errors import InputError
from sim.faults.story import Story
from sim.scenario import Scenario
from sim.simulation import Simulation


@dataclass(frozen=True, slots=True)
class Step:
    """A change of the task's state, or of why it waits."""

    seconds: float  # virtual
    state: str
    text: str


@dataclass(frozen=True)
class Explanation:
    """A task's way through the cluster; printed as such."""

    task: str
    steps: tuple[Step, ...]
    decisions: tuple[Decision, ...]  # the last one placed it, or says why it waits
    messages: tuple[str, ...] = field(repr=False)  # that concern it, one line each

    def __str__(self) -> str:
        lines = [self.task]
        lines += [f"{step.seconds:12.6f} s  {step.state:<10} {step.text}" for step in self.steps]
        for decision in self.decisions[-1:]:
            rows = [(decision.node or "nowhere", decision.score), *decision.runners_up]
            if decision.node:
                lines += ["score of each node that came near:"]
                lines += [f"  {score:12.6g}  {node}" for node, score in rows]
        return "\n".join(lines)


class _Looker:
    """Notes what happens to one task (`sim.world.Observer`), and says when it has ended."""

    def __init__(self, task: str, simulation: Simulation) -> None:
        self.task = task
        self.simulation = simulation
        self.story = Story()
        self.steps: list[Step] = []
        self.decisions: list[Decision] = []

    def __call__(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        self.story.note(now, actor, message)
        if actor != MANAGER:
            return
        for effect in effects:
            if isinstance(effect, Save):
                self.story.note(now, actor, effect)
                for record in effect.records:
                    if type(record) is Task and record.id == self.task:
                        self._see(record, now)

    def _see(self, task: Task, now: float) -> None:
        decision, text = task.decision, task_reason(task)
        if decision is not None and (not self.decisions or decision is not self.decisions[-1]):
            self.decisions.append(decision)
        if task.state is State.SCHEDULED and decision is not None:
            text = decision_text(decision)
        elif task.node and not text:
            text = f"on {task.node}"
        if not self.steps or (task.state.value, text) != (
            self.steps[-1].state,
            self.steps[-1].text,
        ):
            self.steps.append(Step(now, task.state.value, text))
        if task.state.final:
            self.simulation.end()


def explain(scenario: Scenario, policy: Policy, seed: int, task: str) -> Explanation:
    """Do the run of that policy and seed again and follow `task` (JOB/SERVICE/INDEX).

    Raises:
        InputError: there is no such task.
    """
    arrivals = scenario.workload.draw(scenario.cluster, seed)
    _check(task, arrivals)
    simulation = Simulation(scenario, copy.deepcopy(policy), arrivals, seed)
    looker = _Looker(task, simulation)
    simulation.world.observe(looker)
    simulation.run()
    told = tuple(looker.story.of(f"{task}@", last=1000))
    return Explanation(task, tuple(looker.steps), tuple(looker.decisions), told)


def _check(task: str, arrivals: Arrivals) -> None:
    names = {arrivals.name(number) for number in range(len(arrivals))}
    if task not in names:
        first, last = arrivals.name(0), arrivals.name(len(arrivals) - 1)
        raise InputError(f"there is no task '{task}'", f"They are {first} to {last}.")
