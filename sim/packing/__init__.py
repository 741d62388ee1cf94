"""Placement alone: tasks come one after the other, none leaves, and nobody sends messages.

Owns the loop and what it has placed. Feasibility, spreading and policies are the production ones
(`cube.placement`); what a packing is worth is for others to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from cube.fleet import Fleet
from cube.messages import NodeInfo, NodeRow, Question
from cube.placement import Placer
from cube.policies import Policy
from cube.spec import Demand
from sim.errors import InputError, PolicyFailed

KINDS = ("cpu", "memory", "disk", "gpu")  # of capacity
ROUND = 1024  # tasks that are decided at once
SHAPES = 4096  # of demand, whose scores are kept

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Packing:
    """What became of tasks that came in this order.

    Attributes:
        policy: its text.
        nodes: the machines, by row.
        demands: what each task reserves.
        rows: where each is, int64[tasks]; -1: it fitted nowhere.
        fleet: as it stands at the end.
        seconds: how long deciding took.
    """

    policy: str
    nodes: tuple[NodeInfo, ...]
    demands: tuple[Demand, ...]
    rows: Ints
    fleet: Fleet
    seconds: float

    @property
    def placed(self) -> int:
        """Tasks that found a place."""
        return int(np.count_nonzero(self.rows >= 0))

    @property
    def used_nodes(self) -> int:
        """Nodes that hold any task."""
        return len(np.unique(self.rows[self.rows >= 0]))

    @property
    def allocated(self) -> dict[str, float]:
        """What share of all nodes' capacity is taken, of each resource that there is any of."""
        free = [int(column.sum()) for column in self.fleet.free_columns]
        size = [int(column.sum()) for column in self.fleet.size_columns]
        found = zip(KINDS, free, size, strict=True)
        return {kind: 1 - left / there for kind, left, there in found if there}


def pack(
    nodes: Sequence[NodeInfo],
    demands: Sequence[Demand],
    policy: Policy,
    progress: Callable[[int], None] = lambda decided: None,
) -> Packing:
    """Place tasks in order; one that fits nowhere is left out.

    Raises:
        InputError: there are no nodes.
        PolicyFailed: the policy raised, or returned what is no score.
    """
    if not nodes:
        raise InputError("there are no nodes", "Name at least one.")
    fleet = Fleet()
    for row, info in enumerate(nodes):
        fleet.set_row(NodeRow(row, info, True))
    placer = Placer(fleet, policy, runners_up=0, shapes=SHAPES)
    rows = np.full(len(demands), -1, np.int64)
    begun = perf_counter()
    for first in range(0, len(demands), ROUND):
        batch = demands[first : first + ROUND]
        rows[first : first + ROUND] = _place(placer, batch)
        progress(first + len(batch))
    seconds = perf_counter() - begun
    return Packing(str(policy), tuple(nodes), tuple(demands), rows, fleet, seconds)


def _place(placer: Placer, demands: Sequence[Demand]) -> list[int]:
    number = {demand: k for k, demand in enumerate(dict.fromkeys(demands))}
    order = tuple(number[demand] for demand in demands)
    uids: list[list[str]] = [[] for _ in number]
    for task, k in enumerate(order):
        uids[k].append(str(task))
    questions = tuple(Question(d, tuple(u)) for d, u in zip(number, uids, strict=True))
    decisions = placer.place(questions, order)
    for decision in decisions:
        if decision.error:
            raise PolicyFailed(decision.error, "Correct it, or choose another.")
    return [-1 if d.row is None else d.row for d in decisions]
