"""What users ask for: submit, stop, remove; and the loop that makes it so.

Owns jobs and their versions. Submitting compares what is wanted with what is there; the roll-out
then replaces changed instances one at a time. Placing is left to the rounds; changes to a job that
need no file are in `revising`.
"""

from __future__ import annotations

from collections.abc import Iterator

from cube.fleet import suits
from cube.manager.images import carried_over
from cube.manager.ledger import Ledger
from cube.manager.rollout import Rollout, is_ending
from cube.messages import Remove, Reply, Stop, Submit
from cube.spec import Demand, JobSpec, TaskSpec
from cube.task import Answer, Job, JobVersion, State, Task, TaskEvent
from cube.values import replace

EARLIER = 10  # versions of a job that are kept
WAIT_SECONDS = 0.25  # between two looks at a roll-out in which nothing happens

Instance = tuple[TaskSpec, str]  # a service and the index of one of its tasks


class Jobs:
    """All jobs."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rollout = Rollout(ledger)
        self._dirty: dict[str, None] = dict.fromkeys(ledger.jobs)  # looked at on the next step
        self._waiting: dict[str, None] = {}  # roll-outs for which only time has to pass
        self._waited = 0.0  # when those were last looked at

    # --- requests ---

    def submit(self, submit: Submit) -> Reply:
        """Make the job so."""
        new, old = submit.job, self._ledger.jobs.get(submit.job.name)
        ended = old is None or old.stopped or all(t.state.final for t in self._ledger.of(new.name))
        free = old is None or ended or old.adopted
        if old is not None and not free and old.spec.source != new.source:
            text = (
                f"the name {new.name} belongs to a job from {old.spec.source or 'another source'}"
            )
            return Reply(submit.request, "conflict", text)
        return self.make_so(submit.request, new, again=submit.again)

    def make_so(self, request: str, new: JobSpec, *, again: bool = False) -> Reply:
        """Make it the newest version of its job, unless the job is so already."""
        old = self._ledger.jobs.get(new.name)
        if old is not None and old.removing:
            return Reply(request, "conflict", f"{new.name} is being removed; try again")
        same = old is not None and replace(old.spec, source=new.source) == new
        lacking = list(self._lacking(old, new, again))
        settled = old is not None and not (old.halted or old.stopped or old.adopted)
        if old is not None and settled and same and not lacking:
            body = {"job": new.name, "version": old.version}
            return Reply(request, "unchanged", f"{new.name} is unchanged", body)
        return self._accept(request, new, old, lacking)

    def _accept(
        self, request: str, new: JobSpec, old: Job | None, lacking: list[Instance]
    ) -> Reply:
        ledger = self._ledger
        restarted = old is not None and old.stopped
        version = 1 if old is None else old.version + 1
        made = Job(new.name, new, version, 0, ledger.revision + 1)
        if old is not None:
            made = replace(
                made,
                earlier=_earlier(old, new),
                restarting=old.restarting,
                images=carried_over(old, new),
            )
        job = ledger.put_job(made)
        changes = {s.name: "created" for s in new.services}
        if old is not None:
            changes = _changes(old.spec, new, {spec.name for spec, _ in lacking})
        status = "created" if old is None or restarted else "changed"
        ledger.event("job.submitted", f"{job.name} version {version} {status}", job=job.name)
        self._make(job, lacking)
        for task in ledger.of(job.name):
            if task.state is State.PENDING:
                ledger.pending[task.id] = None  # its priority or datacenters may have changed
        self._dirty[job.name] = None
        body = {"job": job.name, "version": version, "changes": changes}
        return Reply(request, status, f"{job.name} version {version} {status}", body)

    def _lacking(self, old: Job | None, new: JobSpec, again: bool) -> Iterator[Instance]:
        """Tasks that are missing, are about to end, or have ended and are wanted once more."""
        stopped = old is not None and old.stopped
        for spec in new.services:
            before = None if old is None else old.spec.service(spec.name)
            for index in self._indexes(new, spec):
                task = self._ledger.tasks.get(f"{new.name}/{spec.name}/{index}")
                if (
                    task is None
                    or is_ending(task)
                    or (task.state.final and (stopped or _renews(task, spec, before, again)))
                ):
                    yield spec, index

    def _indexes(self, job: JobSpec, spec: TaskSpec) -> Iterator[str]:
        if spec.kind.is_global:
            for row, name in enumerate(self._ledger.fleet.names):
                if self._has_place(job, spec, row):
                    yield name
        else:
            yield from map(str, range(1, spec.instances + 1))

    def _has_place(self, job: JobSpec, spec: TaskSpec, row: int) -> bool:
        """Is this node to have an instance of a global service?"""
        info = self._ledger.fleet.info(row)
        away = info.name in self._ledger.draining or info.name in self._ledger.vacant
        return not away and suits(info, Demand.of(job, spec))

    def _make(self, job: Job, instances: list[Instance]) -> None:
        """Make these tasks; one that is on its way out turns back instead."""
        incarnation = self._ledger.next_incarnation() if instances else 0
        for spec, index in instances:
            task_id = f"{job.name}/{spec.name}/{index}"
            old = self._ledger.tasks.get(task_id)
            if old is not None and is_ending(old):
                self._ledger.move(
                    old, TaskEvent.REPLACE, then="pending", reason="", displaced=False
                )
                continue
            self._ledger.add(
                Task(
                    task_id,
                    incarnation,
                    job.name,
                    spec.name,
                    index,
                    job.version,
                    spec,
                    submitted=job.submitted,
                )
            )

    def stop(self, stop: Stop) -> Reply:
        """End a job, a service or one task."""
        name, _, rest = stop.target.partition("/")
        job, tasks = self._ledger.jobs.get(name), self.named(stop.target)
        if job is None or (rest and not tasks):
            return Reply(stop.request, "not-found", f"there is no {stop.target}")
        active = [t for t in tasks if not t.state.final]
        if not active and (rest or job.stopped):
            return Reply(stop.request, "unchanged", f"{stop.target} has ended already")
        if not rest:
            self._ledger.put_job(replace(job, stopped=True, halted=""))
        for task in active:
            stop_task(self._ledger, task)
        self._ledger.event("job.stopped", f"{stop.target} is to stop", job=name)
        body = {"target": stop.target, "tasks": [t.id for t in active]}
        return Reply(stop.request, "ok", f"{stop.target}: stopping {len(active)} tasks", body)

    def named(self, target: str) -> list[Task]:
        """The tasks of a job, a service (`job/service`) or that one task."""
        name, _, rest = target.partition("/")
        return [t for t in self._ledger.of(name) if not rest or t.service == rest or t.id == target]

    def adopt(self, spec: JobSpec, version: int) -> Job:
        """A job that a lost store knew, as its containers tell; what serves is made whole."""
        made = Job(spec.name, spec, version, 0, self._ledger.revision + 1, adopted=True)
        job = self._ledger.put_job(made)
        self._ledger.event("job.adopted", f"{job.name} is adopted", job=job.name)
        return job

    def complete(self, job: Job) -> None:
        """Make what an adopted job lacks; nobody knows which batch tasks had ended already."""
        lacking = self._lacking(None, job.spec, again=False)
        self._make(job, [(s, i) for s, i in lacking if not s.kind.is_batch])

    def look_at(self, job: str) -> None:
        """Have a job looked at now: what it should be has changed."""
        self._dirty[job] = None

    def remove(self, remove: Remove) -> Reply:
        """Forget a job that has ended."""
        job = self._ledger.jobs.get(remove.job)
        if job is None:
            return Reply(remove.request, "not-found", f"there is no job {remove.job}")
        active = [t for t in self._ledger.of(job.name) if not t.state.final]
        if active and not remove.force:
            text = f"{job.name} has {len(active)} tasks that have not ended; stop it first"
            return Reply(remove.request, "conflict", text)
        for task in active:
            stop_task(self._ledger, task)
        self._ledger.put_job(replace(job, stopped=True, removing=True))
        self._ledger.event("job.removed", f"{job.name} is removed", job=job.name)
        self._dirty[job.name] = None
        return Reply(remove.request, "ok", f"{job.name} is removed", {"job": job.name})

    # --- the loop ---

    def step(self) -> None:
        """Look at the jobs in which something happened, and at those that roll out."""
        look_at_waiting = self._ledger.now - self._waited >= WAIT_SECONDS
        if look_at_waiting:
            self._waited = self._ledger.now
        if not (self._ledger.moved or self._dirty or (look_at_waiting and self._waiting)):
            return
        looked_at: dict[str, None] = {**dict.fromkeys(self._ledger.moved), **self._dirty}
        if look_at_waiting:
            looked_at |= self._waiting
        for name in looked_at:
            job = self._ledger.jobs.get(name)
            anew = name in self._dirty or name in self._waiting
            self._dirty.pop(name, None)
            self._waiting.pop(name, None)
            if job is None:
                continue
            if job.removing:
                if all(t.state.final for t in self._ledger.of(name)):
                    self._ledger.forget_job(job)
                continue
            if job.stopped or not (anew or self._rollout.concerns(job, self._ledger.moved[name])):
                continue
            if self._rollout.step(job):
                self._waiting[name] = None

    def node_changed(self, node: str) -> None:
        """Give a node its instances of the global services: it joined, or offers something else."""
        row = self._ledger.fleet.row_of(node)
        if row is None:
            return
        for job in list(self._ledger.jobs.values()):
            if job.stopped or not any(s.kind.is_global for s in job.spec.services):
                continue
            lacking = [
                (spec, node)
                for spec in job.spec.services
                if spec.kind.is_global
                and self._may_come(f"{job.name}/{spec.name}/{node}")
                and self._has_place(job.spec, spec, row)
            ]
            self._make(job, lacking)
            self._dirty[job.name] = None  # it may have ceased to suit

    def _may_come(self, task_id: str) -> bool:
        """Was it never there, or did it leave only because its node had no place for it?"""
        task = self._ledger.tasks.get(task_id)
        return task is None or task.displaced


def stop_task(ledger: Ledger, task: Task, reason: str = "stopped by a user") -> None:
    """Have a task end for good."""
    ledger.move(task, TaskEvent.STOP, then="stopped", reason=reason, displaced=False)


def _renews(task: Task, spec: TaskSpec, before: TaskSpec | None, again: bool) -> bool:
    """Does submitting once more bring an ended task back?"""
    if spec.kind.is_batch:
        changed = before is None or not before.same_container(spec)
        return again or changed or task.state is State.STOPPED
    return True


def _earlier(old: Job, new: JobSpec) -> tuple[JobVersion, ...]:
    """What there was before the newest version, each once in a row."""
    if replace(old.spec, source=new.source) == new:
        return old.earlier
    return (JobVersion(old.version, old.spec, old.images), *old.earlier)[:EARLIER]


def _changes(old: JobSpec, new: JobSpec, renewed: set[str]) -> dict[str, str]:
    """What happens to each service."""
    changes = {}
    for spec in new.services:
        before = old.service(spec.name)
        if before is None:
            changes[spec.name] = "created"
        elif before != spec:
            changes[spec.name] = "changed"
        else:
            changes[spec.name] = "restarted" if spec.name in renewed else "unchanged"
    for spec in old.services:
        if new.service(spec.name) is None:
            changes[spec.name] = "removed"
    return changes


def record_answer(ledger: Ledger, reply: Reply) -> None:
    """Remember an answer, so that the same request gets it again: also one that changed nothing.

    A copy of the request that comes late would else be carried out after its user was told no.
    """
    answer = Answer(reply.request, ledger.next_revision(), reply.status, reply.text, reply.body)
    ledger.answer(answer)
