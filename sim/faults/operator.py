"""The operator of a simulated cluster: what is said of its nodes, drains apart.

Asks as users do (`sim.faults.user`), and remembers what was answered for the checkers.
"""

from __future__ import annotations

from typing import Any

from cube.messages import MANAGER, DeclareLost, LabelNode, RemoveNode, Reply, worker_name
from cube.spec import Constraint, JobSpec, Kind, TaskSpec
from cube.task import NodeState
from sim.faults.user import User
from sim.faults.world import FaultyWorld

LABEL = ("picked", "yes")
PICKED = TaskSpec(
    "main", "image", Kind.GLOBAL, constraints=(Constraint("node.labels.picked", "==", "yes"),)
)


class Operator:
    """Whoever looks after the machines."""

    def __init__(self, world: FaultyWorld, user: User) -> None:
        self.labels: dict[str, dict[str, str]] = {}  # by node, as was told last
        self._world = world
        self._user = user

    def label(self, node: str) -> None:
        """Give a node the label that a global service asks for, or take it away."""
        if "picked" not in self._user.asked:
            self._user.submit_job(JobSpec("picked", (PICKED,)))

        def told(reply: Reply) -> None:
            if reply.status == "ok":
                self.labels[node] = reply.body["labels"]

        add, drop = ((), (LABEL[0],)) if self.labels.get(node) else ((LABEL,), ())
        self._ask(node, lambda r: LabelNode(r, node, "edge/user", add, drop), told)

    def tidy_up(self) -> None:
        """Say that silent nodes whose worker is dead are lost, and remove the lost ones."""
        if not self._world.alive(MANAGER):
            return
        for node in self._world.core(MANAGER).snapshot().nodes:
            if node.state is NodeState.LOST:
                self._remove(node.name)
            elif node.state is NodeState.SUSPECT and not self._world.alive(worker_name(node.name)):
                self.declare_lost(node.name)

    def declare_lost(self, node: str) -> None:
        """Say that a node is lost; the manager takes that only while it is silent."""
        self._ask(node, lambda r: DeclareLost(r, node, "edge/user"), lambda reply: None)

    def _remove(self, node: str) -> None:
        def told(reply: Reply) -> None:
            if reply.status in ("ok", "not-found"):
                self.labels.pop(node, None)
                self._user.drains.pop(node, None)

        self._ask(node, lambda r: RemoveNode(r, node, "edge/user"), told)

    def _ask(self, node: str, make: Any, told: Any) -> None:
        self._user.ask(f"node {node}", make, told)
