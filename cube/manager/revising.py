"""Changes to a job that need no file: other numbers of instances, an earlier version, a restart.

Each becomes a version or a wish of the job; `jobs` and `rollout` make it so, as after a submit.
"""

from __future__ import annotations

from cube.manager.jobs import Jobs
from cube.manager.ledger import Ledger
from cube.manager.rollout import is_ending
from cube.messages import Reply, Restart, Rollback, Scale
from cube.spec import TaskSpec
from cube.task import Job, JobVersion
from cube.values import replace


class Revising:
    """Takes these requests."""

    def __init__(self, ledger: Ledger, jobs: Jobs) -> None:
        self._ledger = ledger
        self._jobs = jobs

    def scale(self, scale: Scale) -> Reply:
        """Change how many instances services have."""
        job = self._ledger.jobs.get(scale.job)
        if job is None:
            return Reply(scale.request, "not-found", f"there is no job {scale.job}")
        if job.stopped:
            return Reply(scale.request, "conflict", f"{job.name} is stopped; submit it again")
        counts = dict(scale.counts)
        for name in counts:
            spec = job.spec.service(name)
            if spec is None:
                return Reply(scale.request, "not-found", f"{job.name} has no service {name}")
            if spec.kind.is_global:
                text = f"{job.name}/{name} is global: it has one instance on every node that fits"
                return Reply(scale.request, "refused", text)
        services = tuple(_sized(s, counts) for s in job.spec.services)
        return self._jobs.make_so(scale.request, replace(job.spec, services=services))

    def rollback(self, rollback: Rollback) -> Reply:
        """Make the job what it was."""
        job = self._ledger.jobs.get(rollback.job)
        if job is None:
            return Reply(rollback.request, "not-found", f"there is no job {rollback.job}")
        found = _earlier(job, rollback.version)
        if found is None:
            known = ", ".join(str(v.version) for v in job.earlier) or "none"
            what = f"version {rollback.version}" if rollback.version else "earlier version"
            text = f"no {what} of {job.name} is kept that differs from it; kept: {known}"
            return Reply(rollback.request, "not-found", text)
        reply = self._jobs.make_so(rollback.request, found.spec)
        if reply.body is None:
            return reply  # it is not possible now
        text = f"{reply.text}: as version {found.version}"
        return replace(reply, text=text, body={**reply.body, "as": found.version})

    def restart(self, restart: Restart) -> Reply:
        """Have everything that is placed made anew, one instance of the job at a time."""
        name = restart.target.partition("/")[0]
        job, tasks = self._ledger.jobs.get(name), self._jobs.named(restart.target)
        if job is None or not (tasks or restart.target == name):
            return Reply(restart.request, "not-found", f"there is no {restart.target}")
        placed = [t for t in tasks if t.state.placed and not is_ending(t)]
        if not placed:
            text = f"nothing of {restart.target} runs, so nothing is restarted"
            return Reply(restart.request, "unchanged", text)
        wishes = dict.fromkeys((*job.restarting, *((t.uid, t.attempt) for t in placed)))
        self._ledger.put_job(replace(job, restarting=tuple(wishes), halted=""))
        count = "1 task" if len(placed) == 1 else f"{len(placed)} tasks"
        text = f"{restart.target}: restarting {count}, one after the other"
        self._ledger.event("job.restarting", text, job=name)
        self._jobs.look_at(name)
        body = {"target": restart.target, "tasks": [t.id for t in placed]}
        return Reply(restart.request, "ok", text, body)


def _sized(spec: TaskSpec, counts: dict[str, int]) -> TaskSpec:
    return replace(spec, instances=counts.get(spec.name, spec.instances))


def _earlier(job: Job, version: int) -> JobVersion | None:
    """That version, or without a number the newest that differs from the present one."""
    if version:
        return next((v for v in job.earlier if v.version == version), None)
    return next((v for v in job.earlier if v.spec != job.spec), None)
