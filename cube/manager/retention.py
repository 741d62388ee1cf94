"""Forgets jobs that ended long ago, so that neither the books nor the memory fill up.

Whole jobs go, never single tasks of one that lives: its batch tasks that were done would be
missing, and be run again. A job has ended when a user stopped it, or when it has batch tasks alone;
either way its last task must have ended `KEPT_SECONDS` ago.
"""

from __future__ import annotations

from cube.manager.ledger import Ledger
from cube.task import Job

KEPT_SECONDS = 30 * 86400.0
LOOK_SECONDS = 3600.0


class Retention:
    """Looks once an hour."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._looked: float | None = None

    def step(self) -> None:
        """Forget what has been over for long enough, if it is time to look."""
        ledger = self._ledger
        if self._looked is None:
            self._looked = ledger.now
        if ledger.now - self._looked < LOOK_SECONDS:
            return
        self._looked = ledger.now
        for job in list(ledger.jobs.values()):
            if self._is_over(job):
                for task in ledger.of(job.name):
                    ledger.let_go(task)
                text = f"{job.name} ended long ago and is forgotten"
                ledger.event("job.forgotten", text, job=job.name)
                ledger.forget_job(job)

    def _is_over(self, job: Job) -> bool:
        tasks = self._ledger.of(job.name)
        ends = job.stopped or all(spec.kind.is_batch for spec in job.spec.services)
        before = self._ledger.now - KEPT_SECONDS
        return ends and bool(tasks) and all(t.state.final and t.since < before for t in tasks)
