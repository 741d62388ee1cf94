"""What a run showed, as columns. `Recorder` fills them while the run goes on.

The recorder sits where a live manager has its store: every record that the manager makes durable
passes it, and it keeps the little that the metrics need. It also folds each change into the trace
hash. It influences nothing.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cube.messages import Phase
from cube.task import State, Task
from sim.arrivals import MICROS, Arrivals

Ints = NDArray[np.int64]
NEVER = -1
STATES = tuple(State)
_PLACE_IN_STATES = {state: i for i, state in enumerate(STATES)}
_RUNNING = int(Phase.RUNNING)


@dataclass(frozen=True)
class Observation:
    """One run. Columns per task are int64[tasks]; times are virtual microseconds, -1: never.

    A change is a task that takes (sign +1) or frees (-1) its reservation on a row, in order of
    time: from the manager's placement until the manager learns of the end.
    """

    arrivals: Arrivals
    node_names: tuple[str, ...]
    capacity: Ints  # [nodes, 3]
    state: Ints  # index into STATES
    placed_micros: Ints  # first placement
    started_micros: Ints  # latest start
    ended_micros: Ints  # came into a final state
    row: Ints  # latest placement
    attempts: Ints
    decided_micros: Ints  # first decision of the scheduler, were it only that it fits nowhere
    restarts: Ints  # runs anew on the same node
    evictions: Ints  # times that it lost its place before it had ended for good
    lost_micros: Ints  # time of runs that ended without ending the task
    change_micros: Ints  # [changes]
    change_row: Ints
    change_task: Ints
    change_sign: Ints
    end_micros: int  # when the run was over

    @property
    def final(self) -> NDArray[np.bool_]:
        """Bool[tasks]: which tasks ended for good."""
        return np.asarray(self.ended_micros != NEVER)


class Recorder:
    """A manager's store that keeps columns instead of records."""

    def __init__(
        self,
        arrivals: Arrivals,
        node_names: Iterable[str],
        now: Callable[[], float],
        on_final: Callable[[int], None],
        on_policy_error: Callable[[str], None],
    ) -> None:
        self.final = 0  # tasks in a final state
        self.held = 0  # tasks that hold a reservation
        self.placements = 0
        self._arrivals = arrivals
        self._names = tuple(node_names)
        self._rows = {name: row for row, name in enumerate(self._names)}
        self._now = now
        self._on_final = on_final
        self._on_policy_error = on_policy_error
        self._numbers: dict[str, int] = {}
        # Arrays of integers, not lists: a million tasks would have ten million objects in these.
        never, zero = (array("q", (first,)) * len(arrivals) for first in (NEVER, 0))
        self._state, self._row, self._placed = never[:], never[:], never[:]
        self._started, self._ended, self._decided = never[:], never[:], never[:]
        self._running_since = never[:]
        self._attempts, self._restart, self._lost = zero[:], zero[:], zero[:]
        self._restarts, self._evictions = zero[:], zero[:]
        self._holds = bytearray(len(arrivals))
        self._changes = array("q")  # four each: time, row, task, sign
        self._hash = hashlib.blake2b(digest_size=16)

    @property
    def changes(self) -> int:
        """Takes and frees so far."""
        return len(self._changes) // 4

    def save(self, records: Any) -> None:
        """Look at what the manager makes durable (`cube.actor.Keeper`)."""
        micros = round(self._now() * MICROS)
        for record in records:
            if type(record) is Task:
                self._see(record, micros)

    def _see(self, task: Task, micros: int) -> None:
        number = self._numbers.get(task.id)
        if number is None:
            number = self._numbers[task.id] = self._arrivals.number(task.job, task.index)
        if task.decision is not None:
            if self._decided[number] == NEVER:
                self._decided[number] = micros
            if task.decision.error:
                self._on_policy_error(task.decision.error)
        state = _PLACE_IN_STATES[task.state]
        if task.restart or task.phase == _RUNNING or self._running_since[number] != NEVER:
            self._see_run(number, task, micros)
        if state == self._state[number] and task.attempt == self._attempts[number]:
            return
        self._state[number] = state
        if task.attempt != self._attempts[number]:
            self._place(number, task, micros)
        if self._holds[number] and not task.state.placed:
            self._evictions[number] += not task.state.final
            self._free(number, micros)
        if task.state is State.RUNNING:
            self._started[number] = micros
        self._hash.update(b"%d %d %d %d;" % (micros, number, state, self._row[number]))
        if task.state.final:
            self._ended[number] = micros
            del self._numbers[task.id]  # nearly always, nothing follows
            self.final += 1
            self._on_final(self.final)

    def _see_run(self, number: int, task: Task, micros: int) -> None:
        """Count restarts, and the time of runs that did not end the task."""
        again = task.restart != self._restart[number]
        if again:
            same_attempt = task.attempt == self._attempts[number]
            self._restarts[number] += task.restart - self._restart[number] if same_attempt else 0
            self._restart[number] = task.restart
        since = self._running_since[number]
        runs = task.state.placed and task.phase == _RUNNING
        if since != NEVER and (again or not runs):
            self._lost[number] += 0 if task.state.final else micros - since
            since = self._running_since[number] = NEVER
        if runs and since == NEVER:
            self._running_since[number] = micros

    def _place(self, number: int, task: Task, micros: int) -> None:
        if self._holds[number]:
            self._evictions[number] += 1
            self._free(number, micros)
        self._attempts[number] = task.attempt
        self._row[number] = row = self._rows[task.node or ""]
        if self._placed[number] == NEVER:
            self._placed[number] = micros
        self._holds[number] = True
        self._changes.extend((micros, row, number, 1))
        self.placements += 1
        self.held += 1

    def _free(self, number: int, micros: int) -> None:
        self._holds[number] = False
        self._changes.extend((micros, self._row[number], number, -1))
        self.held -= 1

    def trace_hash(self, messages: Iterable[tuple[str, int]]) -> str:
        """Hex digest of every change of a task's state or place, and of the message counts.

        Folded in: integer microseconds, task numbers, states, rows, counts; never a float.
        """
        total = self._hash.copy()
        total.update(repr(sorted(messages)).encode())
        return total.hexdigest()

    def observation(self, capacity: Ints) -> Observation:
        """All columns, once the run is over."""
        changes = _column(self._changes).reshape(-1, 4)
        columns = {
            "state": self._state,
            "placed_micros": self._placed,
            "started_micros": self._started,
            "ended_micros": self._ended,
            "row": self._row,
            "attempts": self._attempts,
            "decided_micros": self._decided,
            "restarts": self._restarts,
            "evictions": self._evictions,
            "lost_micros": self._lost,
        }
        return Observation(
            arrivals=self._arrivals,
            node_names=self._names,
            capacity=capacity,
            **{name: _column(column) for name, column in columns.items()},
            change_micros=changes[:, 0],
            change_row=changes[:, 1],
            change_task=changes[:, 2],
            change_sign=changes[:, 3],
            end_micros=round(self._now() * MICROS),
        )


def _column(values: array[int]) -> Ints:
    """The same integers for NumPy, not copied."""
    return np.asarray(values, dtype=np.int64)
