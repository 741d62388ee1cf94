"""A checker of leases, which keeps its own account of what was sent and answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cube.messages import Assign, Effect, Listed, Report, Run, Send, Wake
from cube.worker.lease import LEASE_SECONDS
from sim.faults.checker import Broken, Checker

if TYPE_CHECKING:
    from sim.faults.ordeal import Ordeal


class LeaseHolds(Checker):
    """No worker orders a run of a `stop` task when its lease is over."""

    actors = "worker/"

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        self._sent: dict[str, dict[tuple[int, int], float]] = {}  # by worker: (life, seq)
        self._since: dict[str, float | None] = {}  # None: its engine has not listed yet
        self._seconds: dict[str, float] = {}

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        if isinstance(message, Wake):
            self._sent[actor], self._since[actor] = {}, None
            self._seconds[actor] = LEASE_SECONDS
        elif isinstance(message, Listed) and self._since[actor] is None:
            self._since[actor] = now
        elif isinstance(message, Assign):
            self._renewed(actor, message)
        for effect in effects:
            match effect:
                case Send(message=Report() as report):
                    self._sent[actor][report.life, report.seq] = now
                case Send(message=Run() as run) if run.spec.on_disconnect == "stop":
                    self._ordered(actor, run, now)
                case _:
                    pass

    def _renewed(self, actor: str, assign: Assign) -> None:
        sent, since = self._sent[actor].get(assign.answers), self._since[actor]
        if sent is not None:
            self._seconds[actor] = max(self._seconds[actor], assign.lease)
            self._since[actor] = sent if since is None else max(since, sent)

    def _ordered(self, actor: str, run: Run, now: float) -> None:
        since = self._since[actor]
        most = self._seconds[actor] * (1 + 2 * self.ordeal.scenario.drift)
        if since is None or now - since > most:
            raise Broken("the lease holds", f"{actor} starts {run.key} too late", run.key.uid)
