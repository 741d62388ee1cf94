"""A job as users are shown it: its state in one word, from those of its tasks.

Pure; owns no facts.
"""

from __future__ import annotations

from collections.abc import Sequence

from cube.messages import Snapshot
from cube.task import Job, State, Task
from cube.views.shapes import JobView, TaskView
from cube.views.show import is_ready, natural, show_service, show_task, task_reason


def show_job(job: Job, tasks: Sequence[Task]) -> JobView:
    """A job; `tasks` are all that it has, of any version."""
    present = _present(job, tasks)
    of_service: dict[str, list[Task]] = {s.name: [] for s in job.spec.services}
    for task in present:
        of_service[task.service].append(task)
    return {
        "name": job.name,
        "state": job_state(job, tasks),
        "ready": _is_ready(job, tasks),
        "reason": _reason(job, present),
        "version": job.version,
        "revision": job.revision,
        "priority": job.spec.priority,
        "datacenters": list(job.spec.datacenters),
        "together": job.spec.together,
        "source": job.spec.source,
        "stopped": job.stopped,
        "halted": job.halted,
        "removing": job.removing,
        "services": [show_service(s, of_service[s.name]) for s in job.spec.services],
    }


def show_jobs(snapshot: Snapshot) -> list[JobView]:
    """All jobs, by name."""
    tasks: dict[str, list[Task]] = {job.name: [] for job in snapshot.jobs}
    for task in snapshot.tasks:
        tasks.setdefault(task.job, []).append(task)
    jobs = sorted(snapshot.jobs, key=lambda j: natural(j.name))
    return [show_job(job, tasks[job.name]) for job in jobs]


def find_job(snapshot: Snapshot, name: str) -> Job | None:
    """The job of that name."""
    return next((job for job in snapshot.jobs if job.name == name), None)


def find_task(snapshot: Snapshot, task_id: str) -> Task | None:
    """The newest task of that id."""
    return next((task for task in snapshot.tasks if task.id == task_id), None)


def show_tasks(snapshot: Snapshot, job: str | None = None) -> list[TaskView]:
    """All tasks, or those of one job, in the order of their names."""
    tasks = [t for t in snapshot.tasks if job is None or t.job == job]
    return [show_task(t) for t in sorted(tasks, key=lambda t: natural(t.id))]


def job_state(job: Job, tasks: Sequence[Task]) -> str:
    """One word for how the job is."""
    live = [t for t in tasks if not t.state.final]
    present = _present(job, tasks)
    if job.stopped:
        return "stopping" if live else "stopped"
    if job.halted:
        return "halted"
    if any(_is_outdated(job, t) for t in live):
        return "updating"
    failed = any(t.state is State.FAILED for t in present)
    if present and all(t.state.final for t in present):
        done = all(t.state is State.COMPLETED for t in present)
        return "failed" if failed else "completed" if done else "stopped"
    if failed:
        return "degraded"
    wanted = [t for t in present if t.state is not State.STOPPED]
    if present and all(map(is_ready, wanted)):
        return "running" if len(wanted) == len(present) else "degraded"
    if not present or any(t.state is State.PENDING for t in present):
        return "pending"
    return "starting"


def _present(job: Job, tasks: Sequence[Task]) -> list[Task]:
    """The tasks of the services and indexes that the newest version has."""
    return [t for t in tasks if _is_part(job, t)]


def _is_part(job: Job, task: Task) -> bool:
    spec = job.spec.service(task.service)
    if spec is None:
        return False
    return spec.kind.is_global or not task.index.isdecimal() or int(task.index) <= spec.instances


def _is_outdated(job: Job, task: Task) -> bool:
    """Is it still to be replaced or stopped by the roll-out?"""
    restarts = (task.uid, task.attempt) in job.restarting and task.state.placed
    return restarts or not _is_part(job, task) or task.spec != job.spec.service(task.service)


def _is_ready(job: Job, tasks: Sequence[Task]) -> bool:
    return job_state(job, tasks) in ("running", "completed")


def _reason(job: Job, tasks: Sequence[Task]) -> str:
    """What keeps it from being ready: the first of its tasks that says so."""
    if job.halted:
        return job.halted
    for task in sorted(tasks, key=lambda t: natural(t.id)):
        reason = task_reason(task)
        if not is_ready(task) and reason:
            return f"{task.id}: {reason}"
    return ""
