"""What becomes of containers that the store never knew, once an operator has decided.

Removing leaves them to the next word to their nodes. Adopting makes them tasks again: of the job
that the store knows by that name, or of one that is put together from what the containers tell.
Nothing is adopted that would make a task run twice, revive one that has ended, or over-commit.
"""

from __future__ import annotations

from cube.manager.entry import Entry
from cube.manager.jobs import Jobs, stop_task
from cube.manager.ledger import Ledger
from cube.manager.nodes import Nodes
from cube.marks import mark
from cube.messages import Fact, Phase, Recover, Reply
from cube.spec import JobSpec, TaskSpec
from cube.task import Job, NodeState, State, Task, TaskEvent, TaskName
from cube.values import replace

Chosen = tuple[Entry, Fact]


class Recovery:
    """Does what an operator decides."""

    def __init__(self, ledger: Ledger, nodes: Nodes, jobs: Jobs) -> None:
        self._ledger = ledger
        self._nodes = nodes
        self._jobs = jobs

    def recover(self, recover: Recover) -> Reply:
        """Remove or adopt those that are chosen; all if none are."""
        chosen = [
            (entry, fact)
            for entry in self._nodes.entries.values()
            for fact in entry.unknown.values()
            if not recover.which or (entry.name, fact.uid) in recover.which
        ]
        if recover.action == "adopt":
            return self._adopt_all(recover, chosen)
        for entry, fact in chosen:
            self._nodes.strangers.discard(entry, (fact.uid, fact.attempt))
        body = {"decided": len(chosen), "left": []}
        return Reply(recover.request, "ok", f"removing {_count(chosen)}", body)

    def _adopt_all(self, recover: Recover, chosen: list[Chosen]) -> Reply:
        new = self._put_together(chosen)
        adopted: list[Chosen] = []
        left: list[dict[str, str]] = []
        for entry, fact in chosen:
            why = self._obstacle(entry, fact)
            if why:
                mark("unknown-left")
                left.append({"task": fact.uid.partition("@")[0], "node": entry.name, "why": why})
            else:
                self._adopt(entry, fact)
                adopted.append((entry, fact))
        for job in new:
            self._jobs.complete(job)
        text = f"adopted {_count(adopted)}"
        text += f"; {len(left)} cannot be" if left else ""
        return Reply(recover.request, "ok", text, {"decided": len(adopted), "left": left})

    def _put_together(self, chosen: list[Chosen]) -> list[Job]:
        """Jobs that the store does not know, as the newest containers of each service tell."""
        specs: dict[str, dict[str, TaskSpec]] = {}
        versions: dict[str, int] = {}
        for _, fact in sorted(chosen, key=lambda s: s[1].version):
            name = TaskName.parse(fact.uid)
            spec = fact.spec
            if spec is None or fact.phase is Phase.ENDED or name.job in self._ledger.jobs:
                continue
            services = specs.setdefault(name.job, {})
            if not spec.kind.is_global and not spec.kind.is_batch:
                before = services.get(name.service)
                known = 0 if before is None else before.instances
                spec = replace(spec, instances=max(known, int(name.index)))
            services[name.service] = spec
            versions[name.job] = fact.version
        return [
            self._jobs.adopt(JobSpec(job, tuple(services.values())), versions[job])
            for job, services in specs.items()
        ]

    def _obstacle(self, entry: Entry, fact: Fact) -> str:
        """Why a container cannot be a task of its job; empty: it can."""
        name = TaskName.parse(fact.uid)
        if fact.phase is Phase.ENDED:
            return "it has ended"
        if entry.state is NodeState.LOST:
            return f"{entry.name} is lost"  # nobody would miss the task there
        if fact.spec is None:
            return (
                "its worker has not told what it was made from: ask again after its next report; "
                "if it stays so, its engine does not know"
            )
        job = self._ledger.jobs[name.job]
        if job.stopped:
            return f"{job.name} is stopped"
        spec = job.spec.service(name.service)
        if spec is None or not _has_place(spec, fact.spec, name, entry.name):
            return f"{job.name} has no such instance any more"
        old = self._ledger.tasks.get(_id(name))
        if old is not None and old.state.placed:
            return f"{old.id} runs on {old.node} meanwhile"
        if old is not None and old.state.final and old.uid == fact.uid:
            return "the store knows that it was to end"
        if old is not None and old.uid == fact.uid and old.attempt > fact.attempt:
            return f"{old.id} was placed anew meanwhile"
        demand = self._ledger.demand(self._as_task(job, fact))
        if demand.together and demand.node not in (None, entry.name):
            return f"{job.name} is kept together, on {demand.node}"
        if not self._nodes.strangers.leaves_room(entry, fact, demand):
            return f"{entry.name} has no room for it"
        return ""

    def _as_task(self, job: Job, fact: Fact) -> Task:
        name, spec = TaskName.parse(fact.uid), job.spec.service(TaskName.parse(fact.uid).service)
        assert fact.spec is not None
        assert spec is not None
        same = fact.spec.same_container(spec)
        return Task(
            _id(name),
            name.incarnation,
            job.name,
            name.service,
            name.index,
            job.version if same else min(fact.version, job.version),
            spec if same else fact.spec,
            submitted=job.submitted,
        )

    def _adopt(self, entry: Entry, fact: Fact) -> None:
        """Make it a task that was placed there; what it does is told by the next report."""
        mark("unknown-adopted")
        task = self._as_task(self._ledger.jobs[TaskName.parse(fact.uid).job], fact)
        old = self._ledger.tasks.get(task.id)
        self._nodes.strangers.settled(entry, (fact.uid, fact.attempt))
        if old is not None and old.uid == task.uid:
            task = self._ledger.amend(old, version=task.version, spec=task.spec)
        else:
            if old is not None and old.state is State.PENDING:
                stop_task(self._ledger, old, "its container was adopted")
            task = self._ledger.add(task)
        placed = self._ledger.move(
            task,
            TaskEvent.PLACED,
            node=entry.name,
            attempt=fact.attempt,
            restart=fact.restart,
            phase=-1,
            not_before=0.0,
            reason="",
            decision=None,
            gpus=fact.gpus,
        )
        self._ledger.pin_data(placed)
        text = f"{placed.id} on {entry.name} is adopted"
        self._ledger.task_event("task.adopted", text, placed)


def _id(name: TaskName) -> str:
    return f"{name.job}/{name.service}/{name.index}"


def _has_place(spec: TaskSpec, made_from: TaskSpec, name: TaskName, node: str) -> bool:
    """Does the service want that instance, as far as the node that it is on may tell?"""
    if spec.kind.is_global or made_from.kind.is_global:
        return spec.kind.is_global and made_from.kind.is_global and name.index == node
    return int(name.index) <= spec.instances


def _count(chosen: list[Chosen]) -> str:
    return "1 unknown container" if len(chosen) == 1 else f"{len(chosen)} unknown containers"
