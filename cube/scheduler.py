"""The Scheduler core: Place -> Placed.

Owns its policy and a cached copy of the fleet, which the manager's rows keep true. It never knows
what a task is for, and nothing is lost when it is rebuilt: it asks for the fleet again.
"""

from __future__ import annotations

from typing import Any

from cube.fleet import Fleet
from cube.messages import MANAGER, Effect, NeedFleet, Place, Placed, Send
from cube.placement import Placer
from cube.policies import Policy


class Scheduler:
    """Decides where tasks go."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._base = 0  # the fleet revision that our copy stands at
        self._placer = Placer(Fleet(), policy)

    def receive(self, message: Any, now: float) -> list[Effect]:
        """Answer one round; anything else needs no answer."""
        match message:
            case Place(base=base) if base not in (0, self._base):
                return [Send(MANAGER, NeedFleet(message.round))]
            case Place():
                self._learn(message)
                decisions = self._placer.place(message.questions, message.order, message.fifo)
                return [Send(MANAGER, Placed(message.round, decisions))]
            case _:
                return []

    def birth(self) -> dict[str, Any]:
        """What it was made from: a recording begins with it."""
        return {"policy": str(self._policy)}

    def _learn(self, place: Place) -> None:
        """Make our copy equal to the manager's; our takes of the last round were provisional."""
        if place.base == 0:
            self._placer = Placer(Fleet(), self._policy)
        for row in place.rows:
            self._placer.fleet.set_row(row)
        self._base = place.revision
