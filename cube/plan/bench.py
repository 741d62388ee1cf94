"""A copy of the fleet to try things on, with the books that placement needs beside it.

Owns nothing that lasts: it is built from a `Snapshot`, changed by trial placements, thrown away.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

from cube.fleet import Fleet
from cube.manager.ledger import volume_name
from cube.manager.together import is_apart, most_of
from cube.messages import Question, Snapshot
from cube.placement import Placer
from cube.policies import Policy
from cube.spec import Demand, JobSpec, TaskSpec
from cube.task import Decision, NodeState, Task


class Bench:
    """What would be placed where, under one policy."""

    def __init__(self, snapshot: Snapshot, policy: Policy) -> None:
        self.placer = Placer(Fleet(), policy)
        for row in snapshot.rows:
            self.placer.fleet.set_row(row)
        self._jobs = {job.name: job.spec for job in snapshot.jobs}
        self._volumes = dict(snapshot.volumes)
        self._draining = {n.name for n in snapshot.nodes if n.draining}
        self._homes: defaultdict[str, dict[str, str]] = defaultdict(dict)  # job -> task -> node
        self._lost = {n.name for n in snapshot.nodes if n.state is NodeState.LOST}
        self._present: defaultdict[str, Counter[int]] = defaultdict(Counter)
        for task in snapshot.tasks:
            self._count(task, 1)
            if task.node is not None and task.state.placed and not is_apart(task):
                self._homes[task.job][task.id] = task.node

    def give_back(self, task: Task) -> None:
        """A task that is placed leaves its node."""
        row = self._row(task)
        if row is not None:
            self.placer.fleet.give(row, self._demand_of(task))
            self._count(task, -1)
            self._homes[task.job].pop(task.id, None)

    def data_away(self, job: JobSpec, spec: TaskSpec) -> str:
        """Why a task whose data is on one node cannot be placed there now; else empty."""
        places = self._data_nodes(job, spec)
        node = next(iter(places.values()), None)
        if node is None or (node not in self._lost and self.placer.fleet.row_of(node) is not None):
            return ""
        names = ", ".join(places)
        where = f"{node}, lost" if node in self._lost else f"{node}, which is not in the cluster"
        return f"volume {names} is on {where}"

    def demand(self, job: JobSpec, spec: TaskSpec, index: str) -> Demand:
        """What placing an instance of `spec` asks for, the node of its data or job included."""
        node = index if spec.kind.is_global else None
        node = node or next(iter(self._data_nodes(job, spec).values()), None)
        if node is None and job.together:
            node = most_of(self._homes[job.name].values(), self._draining)
        return Demand.of(job, spec, node)

    def present(self, demand: Demand) -> tuple[tuple[int, int], ...]:
        """(row, instances of the demand's service there)."""
        counts = self._present[demand.service] if demand.service else Counter[int]()
        return tuple(sorted((row, count) for row, count in counts.items() if count > 0))

    def place(self, task_id: str, job: JobSpec, spec: TaskSpec, whole: Demand) -> Decision:
        """Decide the task of that id and take what it needs.

        `whole` is what all of its job needs, for one that is kept together and has no node yet.
        """
        demand = self.demand(job, spec, task_id.rpartition("/")[2])
        if not demand.together or demand.node is not None:
            return self._take(task_id, job, spec, demand)
        found = replace(self.placer.decide(whole, uid=task_id), whole=True)
        if found.node is None:
            return found
        decision = self._take(task_id, job, spec, demand.pinned(found.node))
        return decision if decision.node is None else found

    def _take(self, task_id: str, job: JobSpec, spec: TaskSpec, demand: Demand) -> Decision:
        question = Question(demand, (task_id,), self.present(demand))
        (decision,) = self.placer.place((question,), (0,))
        if decision.row is not None:
            if demand.service:
                self._present[demand.service][decision.row] += 1
            name = self.placer.fleet.info(decision.row).name
            if not spec.kind.is_global:
                self._homes[job.name][task_id] = name
            for mount in spec.pinning_mounts:
                volume = volume_name(job.name, mount.kind, mount.source)
                self._volumes.setdefault(volume, name)
        return decision

    def _row(self, task: Task) -> int | None:
        if task.node is None or not task.state.placed:
            return None
        return self.placer.fleet.row_of(task.node)

    def _count(self, task: Task, by: int) -> None:
        row, demand = self._row(task), self._demand_of(task)
        if row is not None and demand.service:
            self._present[demand.service][row] += by

    def _demand_of(self, task: Task) -> Demand:
        job = self._jobs.get(task.job, JobSpec(task.job, (task.spec,)))
        return Demand.of(job, task.spec)

    def _data_nodes(self, job: JobSpec, spec: TaskSpec) -> dict[str, str]:
        """Where its data is, by volume; in a job that is kept together, that of all its services.

        Tasks of global services have data of their own on every node; nothing ties them.
        """
        if spec.kind.is_global:
            return {}
        specs = [spec]
        if job.together:
            specs += [s for s in job.services if not s.kind.is_global and s.name != spec.name]
        mounts = (m for s in specs for m in s.pinning_mounts)
        names = (volume_name(job.name, m.kind, m.source) for m in mounts)
        return {name: self._volumes[name] for name in names if name in self._volumes}
