"""A copy of the fleet to try things on, with the books that placement needs beside it.

Owns nothing that lasts: it is built from a `Snapshot`, changed by trial placements, thrown away.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from cube.fleet import Fleet
from cube.manager.ledger import volume_name
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
        self._lost = {n.name for n in snapshot.nodes if n.state is NodeState.LOST}
        self._present: defaultdict[str, Counter[int]] = defaultdict(Counter)
        for task in snapshot.tasks:
            self._count(task, 1)

    def give_back(self, task: Task) -> None:
        """A task that is placed leaves its node."""
        row = self._row(task)
        if row is not None:
            self.placer.fleet.give(row, self._demand_of(task))
            self._count(task, -1)

    def data_away(self, job: str, spec: TaskSpec) -> str:
        """Why a task whose data is on one node cannot be placed there now; else empty."""
        node = self._data_node(job, spec)
        if node is None or (node not in self._lost and self.placer.fleet.row_of(node) is not None):
            return ""
        names = ", ".join(volume_name(job, m.kind, m.source) for m in spec.pinning_mounts)
        where = f"{node}, lost" if node in self._lost else f"{node}, which is not in the cluster"
        return f"volume {names} is on {where}"

    def demand(self, job: JobSpec, spec: TaskSpec, index: str) -> Demand:
        """What placing an instance of `spec` asks for, its data's node included."""
        node = index if spec.kind.is_global else self._data_node(job.name, spec)
        return Demand.of(job, spec, node)

    def present(self, demand: Demand) -> tuple[tuple[int, int], ...]:
        """(row, instances of the demand's service there)."""
        counts = self._present[demand.service] if demand.service else Counter[int]()
        return tuple(sorted((row, count) for row, count in counts.items() if count > 0))

    def place(self, task_id: str, job: JobSpec, spec: TaskSpec, demand: Demand) -> Decision:
        """Decide one task and take what it needs."""
        question = Question(demand, (task_id,), self.present(demand))
        (decision,) = self.placer.place((question,), (0,))
        if decision.row is not None:
            if demand.service:
                self._present[demand.service][decision.row] += 1
            name = self.placer.fleet.info(decision.row).name
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

    def _data_node(self, job: str, spec: TaskSpec) -> str | None:
        names = (volume_name(job, m.kind, m.source) for m in spec.pinning_mounts)
        return next((self._volumes[name] for name in names if name in self._volumes), None)
