"""The tasks that a drain moves at the same time: placed together, and waited for together.

Owns the order of a drain's moves: how long each task takes to stop, or its replacement to start,
does not decide where the others go. Is kept in memory only and holds nothing up for long, so that a
restarted manager, which knows of no wave, does nothing wrong.
"""

from __future__ import annotations

from cube.manager.ledger import Ledger
from cube.manager.rollout import is_ending, is_up
from cube.marks import mark
from cube.task import State, Task

TOGETHER_SECONDS = 2.0  # so long at most a task that has stopped waits for those that still stop
WAVE_SECONDS = 15.0  # so long at most the next wave waits until all of this one are up


class Wave:
    """At most one instance of every service, unless a deadline has passed."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._tasks: dict[str, None] = {}
        self._leaving: dict[str, None] = {}  # those of them that have yet to stop
        self._held: dict[str, None] = {}  # have stopped, and are not in the queue yet
        self._held_until = 0.0
        self._ends = 0.0

    def begin(self) -> None:
        """The next one; what was held of the one before is not forgotten."""
        self._tasks.clear()
        self._ends = self._ledger.now + WAVE_SECONDS

    def add(self, task: Task) -> None:
        """It has been told to stop, and is to be placed elsewhere."""
        self._tasks[task.id] = None
        self._leaving[task.id] = None

    def awaited(self) -> Task | None:
        """Who has to come up before the next wave begins."""
        if self._ledger.now >= self._ends:
            return None
        tasks = filter(None, map(self._ledger.tasks.get, self._tasks))
        return next(filter(self._is_on_its_way, tasks), None)

    def _is_on_its_way(self, task: Task) -> bool:
        if task.spec.kind.is_batch:  # its place is enough
            return task.state in (State.STOPPING, State.PENDING) and not is_ending(task)
        return not is_up(task, self._ledger.now) and not is_ending(task)

    def gather(self) -> None:
        """Keep those that have become pending out of the queue until all can enter it at once."""
        for task_id in list(self._leaving):
            task = self._ledger.tasks.get(task_id)
            if task is None or task.state is not State.STOPPING:
                del self._leaving[task_id]
                if task_id in self._ledger.pending:
                    self._hold(task_id)
        if self._leaving and self._ledger.now < self._held_until:
            for task_id in self._held:
                self._ledger.pending.pop(task_id, None)
        elif self._held:
            self._ledger.pending.update(self._held)
            self._held.clear()

    def _hold(self, task_id: str) -> None:
        if not self._held:
            self._held_until = self._ledger.now + TOGETHER_SECONDS
        else:
            mark("drain-gathered")
        self._held[task_id] = None
