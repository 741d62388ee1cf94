"""A checker of restart budgets, which counts the failures that the engines have seen.

Entered in `sim.faults.checkers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cube.messages import Effect, Exited, Phase, Run, RunDue, Send, worker_name
from sim.faults.checker import Broken, Checker
from sim.faults.engine import Reboot
from sim.faults.world import machine_of

if TYPE_CHECKING:
    from sim.faults.ordeal import Ordeal


class Budgets(Checker):
    """No attempt is restarted more often than its policy allows."""

    actors = "engine/"

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        # By node, uid and attempt: which run failed when.
        self._failures: dict[tuple[str, str, int], list[tuple[int, float]]] = {}

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        node = machine_of(actor)
        for effect in effects:
            if isinstance(message, RunDue) and isinstance(effect, Send):
                self._ended(effect.message, now, node)
        if isinstance(message, Run) and message.key.restart:
            self._restarted(message, now, node)
        if isinstance(message, Reboot) and message.wiped:
            self._wiped(node)

    def _ended(self, ended: Any, now: float, node: str) -> None:
        if isinstance(ended, Exited) and not ended.interrupted and ended.exit_code == 1:
            uid, attempt, restart = ended.key
            self._failures.setdefault((node, uid, attempt), []).append((restart, now))

    def _wiped(self, node: str) -> None:
        """With the labels goes all that was not in the books."""
        for (where, uid, attempt), failures in self._failures.items():
            task = self.ordeal.store.content.tasks.get(uid)
            if where != node:
                continue
            seen = (-1, -1)
            if task is not None and task.attempt == attempt:
                seen = (task.restart, task.phase)
            failures[:] = [(r, at) for r, at in failures if (r, Phase.ENDED) <= seen]

    def _restarted(self, run: Run, now: float, node: str) -> None:
        policy = run.spec.restart
        if policy.attempts is None:
            return
        since = now - policy.interval_seconds * 0.97  # by a clock that may run wrong
        failures = self._failures.get((node, *run.key[:2]), [])
        lately = sum(at > since for _, at in failures)
        # What a worker learnt and nobody else heard dies with it: one failure per crash.
        # What only a lost store knew is forgotten with it.
        forgotten = self.ordeal.deaths[worker_name(node)]
        forgotten += self.ordeal.outcome.faults["store-lost"] * (policy.attempts + 1)
        forgotten += self.ordeal.outcome.faults["store-old"] * (policy.attempts + 1)
        if lately > policy.attempts + forgotten:
            raise Broken("budgets", f"{run.key} starts after {lately} failures", run.key.uid)
