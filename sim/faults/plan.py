"""Which faults strike when: drawn from the seed before the run begins.

Each kind has a stream of its own, so leaving one out, or a single fault, moves no other. That is
what lets a failing run be cut down to the few faults that matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from sim.faults.scenario import FaultScenario

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `id` names it for ever: `worker-crash.3` of that seed and scenario."""

    id: str
    kind: str
    at: float  # virtual seconds
    lasts: float  # seconds
    seed: str

    def random(self) -> Random:
        """Numbers for the choices that this fault has to make; always the same."""
        return Random(self.seed)


def draw_plan(scenario: FaultScenario, seed: int) -> list[Fault]:
    """All faults of a run, in the order in which they strike."""
    from sim.faults.kinds import KINDS

    faults = []
    for kind, rate in scenario.rates.items():
        draw = Random(f"{seed} faults {kind}")
        shortest, longest = (scenario.stretch * seconds for seconds in KINDS[kind].lasts)
        at, number = 0.0, 0
        while (at := at + draw.expovariate(rate / SECONDS_PER_HOUR)) < scenario.seconds:
            lasts = min(draw.uniform(shortest, longest), scenario.seconds - at)
            fault = f"{kind}.{number}"
            faults.append(Fault(fault, kind, at, lasts, f"{seed} {fault}"))
            number += 1
    return sorted(faults, key=lambda f: (f.at, f.id))
