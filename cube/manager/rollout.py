"""Brings a job's tasks to its newest version, one changed instance at a time.

Level-triggered: each step looks at what is there and does at most one thing that stops a container.
It halts at the first replaced instance that does not come up; a new submit starts it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cube.fleet import suits
from cube.manager.ledger import Ledger
from cube.marks import mark
from cube.messages import Phase
from cube.spec import Demand, TaskSpec
from cube.task import Job, State, Task, TaskEvent
from cube.values import replace

SETTLE_SECONDS = 2.0  # a task without a health check has come up once it ran for so long


class Rollout:
    """Compares wanted with placed."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._wished: frozenset[tuple[str, int]] = frozenset()  # restarts of the job at hand

    def concerns(self, job: Job, moved: Iterable[str]) -> bool:
        """Is one of these tasks, which changed, not as the job wants it? The rest was looked at."""
        tasks = [t for t in map(self._ledger.tasks.get, moved) if t is not None]
        return any(
            t.spec is not job.spec.service(t.service) for t in tasks if not t.state.final
        ) or any(self._unwanted(job, tasks))

    def step(self, job: Job) -> bool:
        """Do what can be done now. Says whether the job needs another look later."""
        self._wished = frozenset(job.restarting)
        tasks = [t for t in self._ledger.of(job.name) if not t.state.final]
        self._drop_unwanted(job, tasks)
        differing = [t for t in tasks if t.spec is not job.spec.service(t.service)]
        if not differing and not self._wished:
            return False
        self._adjust(job, differing)
        outdated = [t for t in (tasks if self._wished else differing) if self._is_outdated(job, t)]
        for task in outdated:
            if task.state is State.PENDING:
                self._renew(job, task)
        outdated = [self._ledger.tasks[t.id] for t in outdated if t.state is not State.PENDING]
        if job.restarting and not any(map(self._restarts, outdated)):
            job = self._ledger.put_job(replace(job, restarting=()))
        if not outdated or job.halted:
            return False
        if any(t.state is State.STOPPING for t in outdated):
            return True  # one is on its way
        broken = [t for t in outdated if self._restarts(t) and self._is_down(t)]
        if broken:  # to restart it takes nothing away
            self._replace(job, broken[0])
            return True
        return self._go_on(job, outdated[0])

    def _go_on(self, job: Job, outdated: Task) -> bool:
        """Replace the next one if all that it waits for is up. Says as `step`."""
        tasks = [t for t in self._ledger.of(job.name) if not t.state.final]
        down = [t for t in tasks if self._is_awaited(job, t, outdated) and self._is_down(t)]
        failed = [t for t in down if self._waits(t)]
        if not self._restarts(outdated):
            replaced = [t for t in tasks if self._was_replaced(job, t) and not self._is_away(t)]
            failed += [t for t in replaced if _fails(t)]
            down += [t for t in replaced if self._is_down(t)]
        if failed:
            self._halt(job, failed[0])
            return False
        if not down:
            self._replace(job, outdated)
        return True

    def _drop_unwanted(self, job: Job, tasks: list[Task]) -> None:
        """Stop tasks of services or indexes that the job no longer has."""
        for task in self._unwanted(job, tasks):
            spec = job.spec.service(task.service)
            away = spec is not None and spec.kind.is_global and task.spec.kind.is_global
            why = "no longer part of the job"
            if away and task.index in self._ledger.draining:
                why = f"{task.index} is draining"
            elif away and task.index in self._ledger.vacant:
                why = f"{task.index} was removed"
            self._ledger.move(task, TaskEvent.STOP, then="stopped", reason=why, displaced=away)

    def _unwanted(self, job: Job, tasks: Iterable[Task]) -> Iterator[Task]:
        """Those that the job has no place for and that nobody has stopped yet."""
        demands = {s.name: Demand.of(job.spec, s) for s in job.spec.services if s.kind.is_global}
        for task in tasks:
            spec = job.spec.service(task.service)
            if task.state.final or is_ending(task):
                continue
            if spec is None or not self._has_place(spec, demands.get(task.service), task):
                yield task

    def _has_place(self, spec: TaskSpec, demand: Demand | None, task: Task) -> bool:
        """Has the service an instance like this: in number, or on a node that it asks for?

        `demand` is that of a global service.
        """
        if task.spec.kind.is_global is not spec.kind.is_global:
            return False  # its index means something else now
        if demand is None:
            return int(task.index) <= spec.instances
        if task.index in self._ledger.draining or task.index in self._ledger.vacant:
            return False
        fleet = self._ledger.fleet
        row = fleet.row_of(task.index)
        return row is None or suits(fleet.info(row), demand)

    def _is_outdated(self, job: Job, task: Task) -> bool:
        spec = job.spec.service(task.service)
        current = self._ledger.tasks[task.id]
        if spec is None or current.state.final:
            return False
        return not current.spec.same_container(spec) or self._restarts(current)

    def _restarts(self, task: Task) -> bool:
        """Is this very attempt to be ended by a restart that a user asked for?"""
        wished = bool(self._wished) and (task.uid, task.attempt) in self._wished
        return wished and task.state.placed

    def _is_down(self, task: Task) -> bool:
        return not is_up(task, self._ledger.now)

    def _adjust(self, job: Job, tasks: list[Task]) -> None:
        """Let running tasks have what a new version changes around their containers."""
        for task in tasks:
            task = self._ledger.tasks[task.id]
            spec = job.spec.service(task.service)
            if spec is None or task.spec == spec or not task.spec.same_container(spec):
                continue
            self._ledger.amend(task, spec=spec)
            if task.node is not None:
                self._ledger.touched[task.node] = None

    def _was_replaced(self, job: Job, task: Task) -> bool:
        """Was this task made or changed by the newest version?"""
        return task.version == job.version and task.spec == job.spec.service(task.service)

    def _is_awaited(self, job: Job, task: Task, outdated: Task) -> bool:
        """Is it another instance of that service, and needs no new container?

        An earlier version made it, and it may be down for another reason: a drain, a lost node.
        """
        alike = task.service == outdated.service and not self._is_outdated(job, task)
        return alike and not is_ending(task) and not self._is_away(task)

    def _waits(self, task: Task) -> bool:
        """Is it down because it failed, and not for want of a node or on its way to one?"""
        return task.retry_at is not None or task.not_before > self._ledger.now

    def _is_away(self, task: Task) -> bool:
        """Is it tied to a node that takes no tasks? The others do not wait for it."""
        return task.spec.kind.is_global and not self._ledger.is_open(task.index)

    def _renew(self, job: Job, task: Task) -> None:
        """A task that is not on any node takes its new spec at once."""
        spec = job.spec.service(task.service)
        assert spec is not None
        self._ledger.move(
            task,
            TaskEvent.REPLACE,
            spec=spec,
            version=job.version,
            not_before=0.0,
            reschedules=0,
            failures=(),
            lost_on="",
        )
        self._ledger.pending[task.id] = None

    def _replace(self, job: Job, task: Task) -> None:
        """Stop first; it is pending with its new spec once it has stopped."""
        why = f"replaced by version {job.version}"
        if self._restarts(task):
            why = "restarted by a user"
        moved = self._ledger.move(task, TaskEvent.REPLACE, then="pending", reason=why)
        self._ledger.task_event("task.replacing", f"{task.id} is {why}", moved)

    def _halt(self, job: Job, task: Task) -> None:
        mark("rollout-halted")
        why = f"{task.id} did not come up in version {job.version}: {task.reason}"
        self._ledger.put_job(replace(job, halted=why))
        self._ledger.event("job.halted", f"{job.name} halted: {why}", job=job.name, task=task.id)


def is_up(task: Task, now: float) -> bool:
    """Does it do its work, or has it ended: may the next one be stopped?"""
    if task.state is not State.RUNNING or task.phase != Phase.RUNNING:
        return task.state.final
    if task.spec.kind.is_batch:
        return True
    if task.spec.has_health:
        return task.healthy is True
    return now - task.since >= SETTLE_SECONDS


def is_ending(task: Task) -> bool:
    """Is it being stopped for good?"""
    return task.state is State.STOPPING and task.then == "stopped"


def _fails(task: Task) -> bool:
    """Has it ended on its own since it was replaced?"""
    return task.state is State.FAILED or bool(task.failures) or task.reschedules > 0
