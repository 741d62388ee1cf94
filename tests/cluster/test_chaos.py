"""Chaos ends with exactly what is wanted; its plan is bounded, and its seed's."""

from __future__ import annotations

import json
import os
from itertools import islice

import pytest

from tests.cluster.chaos import Log, prepared, summary
from tests.cluster.engine import Container
from tests.cluster.overlaps import overlaps
from tests.cluster.plan import MOST_HURT, OF_MANAGER, OF_NODES, OF_STORE, OF_USERS, UNDOES, Plan
from tests.cluster.watch import Life

SECONDS = float(os.environ.get("CUBE_TEST_CHAOS_SECONDS", "90"))
SEED = 575  # of many kinds in few steps
NODES = ("node-1", "node-2", "node-3")


def test_after_chaos_exactly_what_is_wanted_runs(box, tmp_path):
    path = tmp_path / "chaos.jsonl"
    log = Log(path, lambda line: None)
    try:
        with prepared(box, SEED, log) as chaos:
            result = chaos.run(SECONDS)
    finally:
        log.close()
    assert result["found"] == [], path.read_text()
    assert result["missing"] == 0
    assert result["more"] == []
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert result["steps"] == sum("did" in line for line in lines) > SECONDS / 10
    assert lines[-1]["result"] == result
    assert "each once" in summary(result)


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_is_bounded_and_leaves_nothing_out(seed):
    hurt: dict[str, str] = {}
    steps = list(islice(Plan(seed, NODES), 150))
    for step in steps:
        if step.what in UNDOES:
            assert step.on not in hurt
            hurt[step.on] = UNDOES[step.what]
        elif step.what in UNDOES.values():
            assert hurt.pop(step.on) == step.what
        assert len(hurt) <= MOST_HURT
        assert step.what not in OF_STORE or not hurt
    assert {s.what for s in steps} == {
        *UNDOES.values(), *OF_MANAGER, *OF_NODES, *OF_STORE, *OF_USERS
    }  # fmt: skip


def test_a_plan_is_its_seeds():
    one, again, other = (list(islice(Plan(seed, NODES), 100)) for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_two_copies_at_one_time_are_seen_unless_the_node_could_not_know():
    def life(node: str, began: float, ended: float | None) -> Life:
        return Life(node, Container("shop/guard/1", 1, 0, node, "running"), began, ended)

    after = [life("node-1", 100.0, 200.0), life("node-2", 200.0, None)]
    beside = [life("node-1", 100.0, 203.0), life("node-2", 200.0, None)]
    assert list(overlaps(after, {})) == []
    [found] = overlaps(beside, {"node-1": [(150.0, 180.0)]})
    assert (found.nodes, found.seconds, found.excused) == (("node-1", "node-2"), 3.0, False)
    [found] = overlaps(beside, {"node-1": [(150.0, 201.0)]})
    assert found.excused
