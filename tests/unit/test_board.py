"""The board of scores: what it keeps is what a placer that keeps nothing would work out."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from cube.fleet import Fleet
from cube.messages import NodeInfo, NodeRow, Question
from cube.placement import Placer
from cube.placement.board import Board, is_plain
from cube.policies import EpvmPaper, make_policy
from cube.spec import Constraint, Demand, GpuNeed, Spread
from cube.task import Decision

SIZES = ((4000, 8192, 1000), (8000, 8192, 0), (16000, 65536, 4000))


def fleet_of(nodes: int) -> Fleet:
    fleet = Fleet()
    for row in range(nodes):
        fleet.set_row(NodeRow(row, NodeInfo(f"n{row}", *SIZES[row % 3]), True))
    return fleet


def fresh(fleet: Fleet, name: str, like: Placer, question: Question) -> Decision:
    twin = make_policy(name)
    if isinstance(twin, EpvmPaper) and isinstance(like.policy, EpvmPaper):
        twin.max_jobs = like.policy.max_jobs
    placer = Placer(fleet, twin, shapes=0, runners_up=0)
    return placer.decide(question.demand, question.present, question.tasks[0])


def same(kept: Decision, expected: Decision) -> bool:
    numbers = [(d.row, d.score, d.feasible) for d in (kept, expected)]
    return numbers[0] == numbers[1]


class Play:
    """A fleet whose tasks come and go, with a placer that keeps scores of few shapes."""

    def __init__(self, name: str, nodes: int, seed: int, slots: int) -> None:
        self.name = name
        self.draw = random.Random(seed)
        self.fleet = fleet_of(nodes)
        self.placer = Placer(self.fleet, make_policy(name), shapes=slots, runners_up=0)
        self.shapes = [
            Demand(self.draw.choice([100, 500, 3000]), self.draw.choice([100, 900, 5000]),
                   self.draw.choice([0, 0, 700]), service=f"j/{k}", spread=Spread())
            for k in range(12)
        ]  # fmt: skip
        self.live: list[tuple[int, Demand]] = []

    def place(self, demand: Demand) -> None:
        held: dict[int, int] = {}
        for row, other in self.live:
            if other.service == demand.service:
                held[row] = held.get(row, 0) + 1
        question = Question(demand, ("t",), tuple(held.items()))
        expected = fresh(self.fleet, self.name, self.placer, question)
        (decision,) = self.placer.place((question,), (0,))
        assert same(decision, expected)
        if decision.row is not None:
            self.live.append((decision.row, demand))

    def change(self) -> None:
        """Something happens to a node, or a new one joins."""
        row = self.draw.randrange(len(self.fleet))
        match self.draw.randrange(6):
            case 0:
                self.fleet.set_open(row, not self.fleet.open[row])
            case 1:
                join = NodeInfo(f"n{len(self.fleet)}", *SIZES[row % 3])
                self.fleet.set_row(NodeRow(len(self.fleet), join, True))
            case 2:
                shown = self.fleet.node_row(row)
                info = replace(shown.info, cpu_milli=shown.info.cpu_milli + 100)
                self.fleet.set_row(replace(shown, info=info))
            case 3:
                for _ in range(3000):  # more than the journal remembers
                    self.fleet.touch(row)
            case 4:
                for other in range(0, len(self.fleet), 2):
                    self.fleet.touch(other)
            case _:
                self.fleet.set_load(row, self.draw.randrange(1000))


@pytest.mark.parametrize("name", ["epvm", "epvm(base=1.5)", "epvm-paper", "epvm-book"])
def test_kept_scores_are_bit_for_bit_the_fresh_ones(name: str) -> None:
    play = Play(name, nodes=30, seed=4, slots=5)
    for step in range(500):
        play.place(play.draw.choice(play.shapes))
        if play.live and play.draw.random() < 0.45:
            play.placer.free(*play.live.pop(play.draw.randrange(len(play.live))))
        if step % 7 == 0:
            play.change()
    assert len(play.live) > 50


def test_a_round_may_ask_for_more_shapes_than_are_kept() -> None:
    kept = Play("epvm", nodes=30, seed=1, slots=5)
    none = Play("epvm", nodes=30, seed=1, slots=0)
    order = tuple(kept.draw.randrange(12) for _ in range(100))
    questions = tuple(
        Question(demand, tuple(str(i) for i in range(order.count(k))))
        for k, demand in enumerate(kept.shapes)
    )
    for _ in range(3):
        decisions = zip(
            kept.placer.place(questions, order), none.placer.place(questions, order), strict=True
        )
        assert all(same(one, other) for one, other in decisions)


def test_only_demands_whose_sizes_decide_stand_on_the_board() -> None:
    assert is_plain(Demand(1, 1, 1, service="j/s", spread=Spread(), max_per_node=1))
    assert not is_plain(Demand(1, 1, ports=((80, "tcp"),)))
    assert not is_plain(Demand(1, 1, constraints=(Constraint("node.name", "==", "a"),)))
    assert not is_plain(Demand(1, 1, datacenters=("dc1",)))
    assert not is_plain(Demand(1, 1, gpu=GpuNeed()))


def test_a_slot_is_kept_while_it_is_asked_for_and_the_oldest_gives_way() -> None:
    board = Board(fleet_of(3), make_policy("epvm"), most=2)
    board.begin()
    first, second = board.slot(Demand(1, 1)), board.slot(Demand(2, 2))
    assert first is not None
    assert second is not None
    assert board.slot(Demand(1, 1)) is first
    assert board.slot(Demand(3, 3)) is None
    board.begin()
    assert board.slot(Demand(1, 1)) is first
    assert board.slot(Demand(3, 3)) is second
    assert np.isfinite(second.scores(Demand(3, 3))).all()
    assert second.feasible == 3
