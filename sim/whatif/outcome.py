"""What comes of a trial: values only, for programs as JSON. `showing` has them for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from cube.views.show import show_time

SETTLED, WAITS, UNSETTLED = 0, 3, 4  # exit codes, which are those of `cube` itself


@dataclass(frozen=True, slots=True)
class Place:
    """A task that runs where it did not run before, or was started anew where it ran.

    `before` None: it had no place. `seconds` is when it was up, from the changes on; `down_seconds`
    how long it had not run by then, None if it did not run before or does not run yet.
    """

    task: str
    before: str | None
    after: str
    seconds: float | None
    down_seconds: float | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task without a place. `before`: the node that it was on; `new`: it did not wait before."""

    task: str
    before: str | None
    reason: str
    new: bool


@dataclass(frozen=True, slots=True)
class Use:
    """What tasks hold of a node."""

    tasks: int
    cpu_milli: int
    memory_mib: int
    disk_mib: int
    gpu_milli: int


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node before and after; `before` None: it is new."""

    node: str
    state_before: str
    state_after: str
    capacity: Use  # its `tasks` are not counted
    before: Use | None
    after: Use


@dataclass(frozen=True, slots=True)
class Fates:
    """Tasks that have, or had, a place; by name."""

    moves: list[Place] = field(default_factory=list)
    restarts: list[Place] = field(default_factory=list)
    started: list[Place] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)  # (task, node)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All of it."""

    cluster: str
    taken: float  # when the snapshot was
    changes: list[str]
    settled: bool
    settle_seconds: float  # until the last thing happened
    fates: Fates
    waiting: list[Waiting]
    blocked: list[tuple[str, str]]  # (node that is to be empty, why it is not)
    nodes: list[NodeChange]
    note: str  # why the manager is not itself

    @property
    def exit_code(self) -> int:
        """0: all is well; 3: a task waits that did not, or a node does not empty; 4: no rest."""
        if not self.settled:
            return UNSETTLED
        return WAITS if self.blocked or any(w.new for w in self.waiting) else SETTLED

    def as_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        body = {**asdict(self), "taken": show_time(self.taken)}
        fates = body.pop("fates")
        fates["ended"] = [{"task": task, "node": node} for task, node in self.fates.ended]
        body["blocked"] = [{"node": node, "reason": why} for node, why in self.blocked]
        return {"exit_code": self.exit_code, **body, **fates}
