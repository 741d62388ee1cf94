"""The lease: how long tasks with `on_disconnect: stop` may run while no manager answers.

Owns when it ends and whether anything here must not outlive it (rule 7 of the protocol). Stopping
is done by the worker.
"""

from __future__ import annotations

from collections.abc import Iterable

from cube.messages import Phase
from cube.worker.reports import FOREVER
from cube.worker.runs import Held

LEASE_SECONDS = 10.0  # until a manager grants another
NEVER = float("-inf")


class Lease:
    """Runs from the sending of the newest report that was answered."""

    def __init__(self) -> None:
        self.seconds = LEASE_SECONDS
        self._since = NEVER
        self._watched = False  # is anything here that must not outlive it?

    @property
    def until(self) -> float:
        """When tasks that may not outlive it are stopped."""
        return self._since + self.seconds if self._watched else FOREVER

    def is_over(self, now: float) -> bool:
        """May tasks that must not outlive it run no longer, nor begin to?"""
        return now >= self._since + self.seconds

    def begin(self, now: float) -> None:
        """What runs is known. Until a first answer comes, it has one lease from now on.

        If one has come already, that holds: it may be about to end, or over.
        """
        if self._since == NEVER:
            self._since = now

    def renew(self, sent: float) -> None:
        """A report that was sent then has been answered."""
        self._since = max(self._since, sent)

    def watch(self, held: Iterable[Held]) -> None:
        """Look at what is here."""
        self._watched = any(map(_is_bound, held))

    def watch_also(self, held: Held) -> None:
        """This one has begun to run."""
        self._watched = self._watched or _is_bound(held)

    def end(self, held: Iterable[Held]) -> list[Held]:
        """It is over: marks what must stop now, and returns it."""
        self._watched = False
        bound = [h for h in held if _is_bound(h)]
        for one in bound:
            one.fenced = True
        return bound


def _is_bound(held: Held) -> bool:
    return held.on_disconnect == "stop" and held.phase is not Phase.ENDED and not held.fenced
