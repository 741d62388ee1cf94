"""What decisions cost on this machine: the production scheduler with a stop-watch.

The only place of a run that looks at real time; virtual time does not know of it.
"""

from __future__ import annotations

import time
from typing import Any

from cube.messages import Effect, Place
from cube.policies import Policy
from cube.scheduler import Scheduler


class TimedScheduler(Scheduler):
    """Counts its decisions and the seconds that they take."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.decisions = 0
        self.seconds = 0.0

    def receive(self, message: Any, now: float) -> list[Effect]:
        """Answer as ever, and look at the clock before and after."""
        began = time.perf_counter()
        effects = super().receive(message, now)
        self.seconds += time.perf_counter() - began
        if type(message) is Place:
            self.decisions += len(message.order)
        return effects

    @property
    def seconds_each(self) -> float:
        """Wall seconds for one decision; 0 before the first."""
        return self.seconds / max(self.decisions, 1)
