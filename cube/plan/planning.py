"""What submitting a job would do: which services change, and where each policy would put the tasks.

Pure: it looks at a `Snapshot` and changes nothing. Which tasks a submit makes or replaces follows
the manager's rules (`cube.manager.jobs`, `cube.manager.rollout`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cube.fleet import suits
from cube.messages import Snapshot
from cube.plan.bench import Bench
from cube.plan.changes import diff, diff_job
from cube.policies import Policy
from cube.spec import Demand, JobSpec, TaskSpec
from cube.task import Job, State, Task
from cube.views import PlacementView, PlanView, PolicyPlan, ServiceChange
from cube.views.jobs import find_job
from cube.views.show import decision_text, natural, show_decision


@dataclass(frozen=True, slots=True)
class _Wish:
    """A task that the submit makes, or replaces."""

    id: str
    index: str
    spec: TaskSpec
    replaces: Task | None = None  # it stops first, and gives back what it holds


def plan(
    snapshot: Snapshot, job: JobSpec, policies: Sequence[Policy], *, again: bool = False
) -> PlanView:
    """What submitting `job` would do now, and under each of `policies`."""
    old = find_job(snapshot, job.name)
    tasks = [t for t in snapshot.tasks if t.job == job.name]
    wishes = list(_wishes(snapshot, old, job, tasks, again))
    conflict = _conflict(old, job, tasks)
    services = _services(old, job, wishes)
    fields = diff_job(None if old is None else old.spec, job)
    changed = bool(fields) or any(s["change"] != "unchanged" for s in services)
    has_changes = changed or (old is not None and bool(old.halted))
    plans = [] if conflict else [_under(p, snapshot, job, tasks, wishes) for p in policies]
    return {
        "job": job.name,
        "version": 0 if old is None else old.version,
        "has_changes": has_changes and not conflict,
        "text": conflict or _text(old, job, has_changes),
        "conflict": conflict,
        "fields": fields,
        "services": services,
        "policies": plans,
    }


def _text(old: Job | None, job: JobSpec, has_changes: bool) -> str:
    if old is None:
        return f"{job.name} would be created"
    if not has_changes:
        return f"{job.name} is unchanged"
    return f"{job.name} would become version {old.version + 1}"


def _conflict(old: Job | None, job: JobSpec, tasks: Sequence[Task]) -> str:
    """Why the manager would refuse it."""
    if old is None:
        return ""
    if old.removing:
        return f"{job.name} is being removed; try again"
    ended = old.stopped or all(t.state.final for t in tasks)
    if not ended and old.spec.source != job.source:
        return f"the name {job.name} belongs to a job from {old.spec.source or 'another source'}"
    return ""


def _services(old: Job | None, job: JobSpec, wishes: Sequence[_Wish]) -> list[ServiceChange]:
    """The difference of the specs; equal services whose ended tasks run again are `restarted`."""
    changes = diff(None if old is None else old.spec, job)
    renewed = {w.spec.name for w in wishes if w.replaces is None}
    for change in changes:
        if change["change"] == "unchanged" and change["service"] in renewed:
            change["change"] = "restarted"
    return changes


def _wishes(
    snapshot: Snapshot, old: Job | None, job: JobSpec, tasks: Sequence[Task], again: bool
) -> Iterator[_Wish]:
    """New tasks in queue order, then the replaced ones in the order of the roll-out."""
    known = {t.id: t for t in tasks}
    new: list[_Wish] = []
    for spec in job.services:
        for index in _indexes(snapshot, job, spec):
            name = f"{job.name}/{spec.name}/{index}"
            task = known.get(name)
            ends = task is not None and task.state is State.STOPPING and task.then == "stopped"
            if task is None or ends or (task.state.final and _renews(old, task, spec, again)):
                new.append(_Wish(name, index, spec))
    yield from sorted(new, key=lambda w: (int(w.index) if w.index.isdecimal() else 0, w.id))
    for task in tasks:
        wanted = job.service(task.service)
        made = any(wish.id == task.id for wish in new)
        if wanted is not None and not made and _is_outdated(task, wanted):
            yield _Wish(task.id, task.index, wanted, task)


def _indexes(snapshot: Snapshot, job: JobSpec, spec: TaskSpec) -> list[str]:
    if spec.kind.is_global:
        demand = Demand.of(job, spec)
        return [row.info.name for row in snapshot.rows if suits(row.info, demand)]
    return [str(i) for i in range(1, spec.instances + 1)]


def _renews(old: Job | None, task: Task, spec: TaskSpec, again: bool) -> bool:
    """Does submitting once more bring an ended task back?"""
    if old is None or old.stopped or again or not spec.kind.is_batch:
        return True
    before = old.spec.service(spec.name)
    changed = before is None or not before.same_container(spec)
    return changed or task.state is State.STOPPED


def _is_outdated(task: Task, wanted: TaskSpec) -> bool:
    if task.state.final or _is_surplus(task, wanted):
        return False
    return not task.spec.same_container(wanted)


def _is_surplus(task: Task, wanted: TaskSpec) -> bool:
    if wanted.kind.is_global:
        return False
    return not task.index.isdecimal() or int(task.index) > wanted.instances


def _leavers(job: JobSpec, tasks: Sequence[Task]) -> Iterator[Task]:
    """Tasks that the new version has no place for; they stop at once."""
    for task in tasks:
        wanted = job.service(task.service)
        if task.state.placed and (wanted is None or _is_surplus(task, wanted)):
            yield task


def _under(
    policy: Policy,
    snapshot: Snapshot,
    job: JobSpec,
    tasks: Sequence[Task],
    wishes: Sequence[_Wish],
) -> PolicyPlan:
    """Where the wished tasks go under one policy."""
    bench = Bench(snapshot, policy)
    for task in _leavers(job, tasks):
        bench.give_back(task)
    whole = _whole(job, tasks, wishes)
    placements = [_place(bench, job, wish, whole) for wish in wishes]
    errors = [p["decision"]["error"] for p in placements if p["decision"] is not None]
    placed = sum(p["node"] is not None for p in placements)
    return {
        "policy": str(policy),
        "placed": placed,
        "pending": len(placements) - placed,
        "placements": sorted(placements, key=lambda p: natural(p["task"])),
        "error": next(filter(None, errors), ""),
    }


def _whole(job: JobSpec, tasks: Sequence[Task], wishes: Sequence[_Wish]) -> Demand:
    """What all tasks of the new version need together, but for those that have ended for good."""
    made = {wish.id for wish in wishes}
    over = {t.id for t in tasks if t.state.final and t.id not in made}
    parts = []
    for spec in job.services:
        numbers = range(0 if spec.kind.is_global else spec.instances)
        ids = (f"{job.name}/{spec.name}/{number + 1}" for number in numbers)
        parts += [Demand.of(job, spec) for task_id in ids if task_id not in over]
    return Demand.of_whole(job, parts)


def _place(bench: Bench, job: JobSpec, wish: _Wish, whole: Demand) -> PlacementView:
    if wish.replaces is not None:
        bench.give_back(wish.replaces)
    away = bench.data_away(job, wish.spec)
    if away:
        return {"task": wish.id, "node": None, "decision": None, "reason": away}
    decision = bench.place(wish.id, job, wish.spec, whole)
    reason = "" if decision.node is not None else decision_text(decision)
    return {
        "task": wish.id,
        "node": decision.node,
        "decision": show_decision(decision),
        "reason": reason,
    }
