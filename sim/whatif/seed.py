"""A simulated world that stands where a snapshot was taken: its manager restarted, its nodes there.

The manager gets what its store would give it. Nodes join in the order of their rows, each with the
containers that the snapshot says it runs; those that were silent are heard once and never again, so
that they hold their rows. Until all this is so there is no scheduler: nothing can be placed.
"""

from __future__ import annotations

from collections import defaultdict

import simpy

from cube.actor import Keeper
from cube.manager import Manager, ManagerOptions
from cube.manager.entry import grants
from cube.manager.ledger import STRANGERS
from cube.manager.nodes import SUSPECT_INTERVALS
from cube.manager.rounds import ROUND_SECONDS
from cube.messages import (
    MANAGER,
    SCHEDULER,
    DeclareLost,
    Fact,
    NodeInfo,
    NodeRow,
    RemoveNode,
    Report,
    Snapshot,
    engine_name,
    worker_name,
)
from cube.policies import Policy
from cube.scheduler import Scheduler
from cube.snapshot import State
from cube.task import Node, NodeMark, NodeState, Saved, Task, Volume
from cube.worker import Worker
from sim.whatif.engine import Durations, StandIn
from sim.world import SimWorld

JOIN_SECONDS = 0.002  # one node after the other: a message there and back
TICKS_SECONDS = 2.0  # until the manager, which looks once a second, has noticed something


class Seed:
    """Builds the world; `world` is then at the moment of the snapshot."""

    def __init__(self, state: State, policy: Policy, keeper: Keeper) -> None:
        self.snapshot = snapshot = state.snapshot
        interval = grants(len(snapshot.rows), snapshot.reports_per_second).interval
        self._durations = Durations(state.times)
        self._uses = {use.uid: use for node in snapshot.nodes for use in node.usage}
        self._nodes = {node.name: node for node in snapshot.nodes}
        silence = SUSPECT_INTERVALS * interval + TICKS_SECONDS
        settling = ROUND_SECONDS + TICKS_SECONDS  # a round that nobody heard is asked again
        lead = JOIN_SECONDS * (len(snapshot.rows) + 1) + silence + settling
        start = max(0.0, snapshot.now - lead)  # before 0 there is no time: 0 means long ago
        self.world = SimWorld(simpy.Environment(initial_time=start))
        self._start_manager(policy, keeper)
        self._join_all()
        self._pass(silence)
        self._say_who_is_gone()
        self.world.run(until=start + lead - settling)
        self.world.start_core(SCHEDULER, lambda life: Scheduler(policy))
        self.world.run(until=start + lead)

    def add(self, info: NodeInfo) -> None:
        """A node joins that was not there."""
        self._start(StandIn(info, self._durations, self._uses))

    def fail(self, node: str) -> None:
        """A machine dies; if it was silent already there is nothing to lose."""
        if is_heard(self._nodes[node]):
            self.world.stop_actor(worker_name(node))
            self.world.stop_actor(engine_name(node))

    def _start_manager(self, policy: Policy, keeper: Keeper) -> None:
        snapshot = self.snapshot
        saved = as_saved(snapshot)
        options = ManagerOptions(str(policy), snapshot.reports_per_second, 0, snapshot.queue)
        self.world.start_core(
            MANAGER, lambda life: Manager(snapshot.cluster, saved, options), keeper
        )

    def _join_all(self) -> None:
        tasks: defaultdict[str, list[Task]] = defaultdict(list)
        strangers: defaultdict[str, list[Fact]] = defaultdict(list)
        for task in sorted(self.snapshot.tasks, key=_came):
            if task.state.placed and task.node is not None:
                tasks[task.node].append(task)
        for name, fact in self.snapshot.unknown:
            strangers[name].append(fact)
        for row in self.snapshot.rows:
            name, node = row.info.name, self._nodes.get(row.info.name)
            if node is None or not is_heard(node):
                self._be_heard_once(row)
                continue
            engine = StandIn(row.info, self._durations, self._uses, node)
            for task in tasks[name]:
                engine.hold_task(task)
            for fact in strangers[name]:
                engine.hold_stranger(fact)
            self._start(engine)

    def _start(self, engine: StandIn) -> None:
        node, cluster = engine.info.name, self.snapshot.cluster
        self.world.start_core(engine_name(node), lambda life: engine)
        self.world.start_core(worker_name(node), lambda life: Worker(node, cluster))
        self._pass(JOIN_SECONDS)

    def _be_heard_once(self, row: NodeRow) -> None:
        """Its row is there again; as its engine does not answer, nothing follows for its tasks."""
        cluster, now = self.snapshot.cluster, self.world.now()
        said = Report(
            row.info.name, cluster, 1, 1, now, True, None, (), row.info, engine_error="silent"
        )
        self.world.send(MANAGER, said)
        self._pass(JOIN_SECONDS)

    def _say_who_is_gone(self) -> None:
        """Lost nodes are lost, and removed ones removed, as they were."""
        for row in self.snapshot.rows:
            name, node = row.info.name, self._nodes.get(row.info.name)
            if node is None:
                self.world.send(MANAGER, RemoveNode(f"seed {name}", name))
            elif node.state is NodeState.LOST:
                self.world.send(MANAGER, DeclareLost(f"seed {name}", name))

    def _pass(self, seconds: float) -> None:
        self.world.run(until=self.world.now() + seconds)


def _came(task: Task) -> tuple[float, int, int, str]:
    """The order in which tasks came to their nodes, as far as it can be told: they stop in it."""
    return (task.since, task.submitted, int(task.index) if task.index.isdecimal() else 0, task.id)


def is_heard(node: Node) -> bool:
    """Does the node report? One that has missed reports is taken to stay silent."""
    return node.state is NodeState.ALIVE


def as_saved(snapshot: Snapshot) -> Saved:
    """What the store of that manager would give back."""
    newest = max((task.incarnation for task in snapshot.tasks), default=0)
    meta = {
        "cluster": snapshot.cluster,
        "epoch": str(snapshot.epoch),
        "revision": str(snapshot.revision),
        "incarnation": str(newest),
        "spans": f"0-{newest}",  # whatever is not said to be strange is known
    }
    strangers: defaultdict[str, list[str]] = defaultdict(list)
    for node, fact in snapshot.unknown:
        strangers[node].append(f"{fact.uid} {fact.attempt}")
    meta |= {STRANGERS + node: "\n".join(lines) for node, lines in strangers.items()}
    marks = {
        node.name: NodeMark(node.name, True, snapshot.revision, deadline=node.deadline)
        for node in snapshot.nodes
        if node.draining
    }
    return Saved(
        meta,
        {job.name: job for job in snapshot.jobs},
        {task.uid: task for task in snapshot.tasks},
        {name: Volume(name, node, snapshot.revision) for name, node in snapshot.volumes},
        {},
        marks,
    )
