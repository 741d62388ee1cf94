"""Checkers of what the manager writes down: before it speaks of it, whole, and nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cube.messages import MANAGER, Assign, Effect, Snapshot, Wanted
from cube.task import Record, Task
from sim.faults.checker import Broken, Checker
from sim.faults.world import machine_of

if TYPE_CHECKING:
    from sim.faults.ordeal import Ordeal

REPLAY_EVERY = 10  # full checks between two replays of the store


class SavedFirst(Checker):
    """A worker is told to run nothing that was not saved before: where, and in which attempt."""

    actors = "worker/"

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        self._placed: set[tuple[str, int, str | None]] = set()
        self._latest: dict[str, tuple[Wanted, ...]] = {}  # by worker: what it was told last

    def saved(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, Task) and record.state.placed:
                self._placed.add((record.uid, record.attempt, record.node))

    def handled(self, actor: str, message: Any, now: float, effects: list[Effect]) -> None:
        if not isinstance(message, Assign) or self._latest.get(actor) is message.tasks:
            return
        self._latest[actor] = message.tasks
        for wanted in message.tasks:
            told = (wanted.uid, wanted.attempt, machine_of(actor))
            if wanted.run and told not in self._placed:
                text = f"{actor} is to run {wanted.uid} a{wanted.attempt}, which nobody saved"
                raise Broken("saved first", text, wanted.uid)


class ReplayIsTrue(Checker):
    """A manager that is built from the store knows all that the living one knows."""

    def __init__(self, ordeal: Ordeal) -> None:
        super().__init__(ordeal)
        self._looks = 0

    def full(self, now: float, known: Snapshot | None) -> None:
        world, store = self.ordeal.world, self.ordeal.store
        self._looks += 1
        if self._looks % REPLAY_EVERY or known is None:
            return
        if store.failing or not world.is_saved(MANAGER):
            return
        again = self.ordeal.make_manager().snapshot()
        for what in ("epoch", "revision", "jobs", "tasks", "volumes"):
            here, there = getattr(known, what), getattr(again, what)
            if isinstance(here, tuple):
                here, there = set(here), set(there)
            if here != there:
                raise Broken("replaying the store gives the same", f"other {what}: {there}")
        marks = store.content.node_marks.values()
        draining = {mark.node for mark in marks if mark.draining}
        for node in known.nodes:
            if node.draining is not (node.name in draining):
                raise Broken("replaying the store gives the same", "other drains", node.name)


class PortsAreSingle(Checker):
    """No two tasks hold the same port of one node."""

    def full(self, now: float, known: Snapshot | None) -> None:
        if known is None:
            return
        held: dict[tuple[str | None, int, str], str] = {}
        for task in known.tasks:
            for port in task.spec.ports if task.state.placed else ():
                if port.host is None:
                    continue
                other = held.setdefault((task.node, port.host, port.protocol), task.uid)
                if other != task.uid:
                    text = f"{other} and {task.uid} hold port {port.host} of {task.node}"
                    raise Broken("no over-commitment", text, task.uid)
