"""What holds for every fleet, demand and sequence of operations."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cube.fleet import Fleet, Floats, Rows
from cube.messages import NodeInfo, NodeRow, Question
from cube.placement import Placer
from cube.policies import EpvmPaper, Fgd, Policy, make_policy, policy
from cube.spec import Constraint, Demand, GpuNeed, Spread

ZONE = "node.labels.zone"
MODELS = ("T4", "A10")
OWN = ("epvm", "epvm(base=1.54)", "epvm-paper", "epvm-book", "round-robin", "greedy", "best-fit",
       "worst-fit", "first-fit", "random(seed=3)", "dot-product", "hybrid", "fgd",
       "fgd(rounded=True)", "nomad-binpack", "least-allocated", "most-allocated",
       "two-choices(choices=3)")  # fmt: skip
ROW_LOCAL = tuple(name for name in OWN if make_policy(name).row_local)


@policy(row_local=True)
def curved(fleet: Fleet, task: Demand, rows: Rows, *, weight: float = 0.3) -> Floats:
    cpu = (fleet.cpu_free_milli[rows] - task.cpu_milli) / fleet.cpu_milli[rows]
    return cpu**2 + weight * fleet.tasks[rows]


def new_policy(name: str) -> Policy:
    made = curved() if name == "own" else make_policy(name)
    if isinstance(made, Fgd):
        made.expect(TYPICAL)
    return made


TYPICAL = {
    Demand(100, 0): 3,
    Demand(200, 0, gpu=GpuNeed(1)): 4,
    Demand(100, 0, gpu=GpuNeed(1, 300)): 5,
    Demand(400, 0, gpu=GpuNeed(1, 400, ("T4", "H100"))): 2,
    Demand(300, 0, gpu=GpuNeed(2)): 1,
}
sizes = st.tuples(st.integers(1, 8), st.integers(0, 8), st.integers(0, 2))
nodes = st.builds(
    lambda size, zone, host, center, gpus: NodeInfo(
        "?", 500 * size[0], 512 * size[1], 100 * size[2], host, center,
        (("zone", zone),) if zone else (), gpus=gpus,
    ),
    sizes, st.sampled_from(["", "a", "b"]), st.sampled_from(["", "", "h1"]),
    st.sampled_from(["dc1", "dc2"]),
    st.sampled_from([(), (), ("T4",), ("T4", "A10", "T4"), ("", "A10", "A10")]),
)  # fmt: skip
needs = st.sampled_from(
    [
        None, None, None, GpuNeed(1), GpuNeed(2), GpuNeed(1, 300), GpuNeed(1, 550),
        GpuNeed(1, models=("A10",)), GpuNeed(1, 400, ("T4", "H100")),
    ]
)  # fmt: skip
fleets = st.lists(nodes, min_size=1, max_size=12)
spreads = st.builds(
    Spread,
    st.sampled_from(["prefer", "prefer", "require", "none"]),
    st.sampled_from(["node", "datacenter", ZONE]),
)
demands = st.builds(
    lambda size, ports, constraints, centers, service, spread, most, gpu: Demand(
        100 * size[0], 128 * size[1], 50 * size[2], ports, constraints, centers, None,
        service, spread, most if service else None, gpu,
    ),
    sizes,
    st.sampled_from([(), (), (), ((80, "tcp"),), ((80, "tcp"), (443, "tcp"))]),
    st.sampled_from([(), (), (Constraint(ZONE, "==", "a"),), (Constraint(ZONE, "!=", "b"),)]),
    st.sampled_from([(), (), ("dc1",)]),
    st.sampled_from(["", "j/s", "j/t"]),
    spreads,
    st.sampled_from([None, None, 1, 2]),
    needs,
)  # fmt: skip
runners_up = st.sampled_from([0, 20])  # large fleets name none, and take a shorter way


def fleet_of(infos: list[NodeInfo]) -> Fleet:
    fleet = Fleet()
    for row, info in enumerate(infos):
        fleet.set_row(NodeRow(row, replace(info, name=f"n{row}"), True))
    return fleet


def copy_of(fleet: Fleet) -> Fleet:
    copy = Fleet()
    for row in fleet.changed_since(0):
        copy.set_row(row)
    return copy


def group(fleet: Fleet, row: int, by: str) -> str | None:
    info = fleet.info(row)
    return {"node": info.name, "datacenter": info.datacenter}.get(by, dict(info.labels).get("zone"))


def allowed(fleet: Fleet, demand: Demand, held: Counter[int]) -> list[int]:
    """The rows that filters and spread rules leave, by plain loops."""
    rows = [row for row in range(len(fleet)) if fleet.fits(row, demand)]
    if not demand.service:
        return rows
    if demand.max_per_node is not None:
        rows = [row for row in rows if held[row] < demand.max_per_node]
    if demand.spread.mode == "none":
        return rows
    crowd: Counter[str | None] = Counter()
    for row, count in held.items():
        crowd[group(fleet, row, demand.spread.by)] += count
    counts = {row: crowd[group(fleet, row, demand.spread.by)] for row in rows}
    fewest = 0 if demand.spread.mode == "require" else min(counts.values(), default=0)
    return [row for row in rows if counts[row] == fewest]


# --- picks -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*(name for name in OWN if "choices" not in name), "own"])
@settings(max_examples=40)
@given(infos=fleets, asked=st.lists(demands, min_size=1, max_size=12), runners_up=runners_up)
def test_a_pick_is_feasible_and_never_beaten(
    name: str, infos: list[NodeInfo], asked: list[Demand], runners_up: int
) -> None:
    fleet, made = fleet_of(infos), new_policy(name)
    placer = Placer(fleet, made, runners_up=runners_up)
    held: dict[str, Counter[int]] = {"": Counter(), "j/s": Counter(), "j/t": Counter()}
    for demand in asked:
        present = held[demand.service]
        rows = allowed(fleet, demand, present)
        scores = made.score(fleet, demand, np.array(rows, np.intp)) if rows else []
        question = Question(demand, ("t",), tuple(present.items()))
        (decision,) = placer.place((question,), (0,))
        assert not decision.error
        if not rows:
            assert decision.row is None
            assert sum(r.nodes for r in decision.rejections) == len(fleet)
            continue
        assert decision.row == rows[int(np.argmin(scores))]
        assert decision.score == min(scores)
        assert decision.node == fleet.info(decision.row).name
        assert decision.feasible + sum(r.nodes for r in decision.rejections) == len(fleet)
        present[decision.row] += 1


@settings(max_examples=30)
@given(infos=st.lists(nodes, min_size=1, max_size=12), used=st.lists(sizes, max_size=8))
@pytest.mark.parametrize("name", [*ROW_LOCAL, "own"])
def test_scores_do_not_depend_on_the_order_of_rows(
    name: str, infos: list[NodeInfo], used: list[tuple[int, int, int]]
) -> None:
    fleet = fleet_of(infos)
    for row, (cpu, memory, disk) in enumerate(used):
        fleet.take(row % len(fleet), Demand(100 * cpu, 100 * memory, disk))
    made, demand = new_policy(name), Demand(100, 256)
    rows = np.arange(len(fleet))
    scores = made.score(fleet, demand, rows)
    assert np.array_equal(made.score(fleet, demand, rows[::-1]), scores[::-1])
    one_by_one = [made.score(fleet, demand, rows[i : i + 1])[0] for i in rows]
    assert np.array_equal(one_by_one, scores)


@given(
    size=sizes,
    loads=st.lists(st.integers(0, 400), min_size=2, max_size=10),
    need=st.integers(1, 50),
)
def test_epvm_costs_more_on_a_more_loaded_node_so_the_least_loaded_of_equals_wins(
    size: tuple[int, int, int], loads: list[int], need: int
) -> None:
    fleet = fleet_of([NodeInfo("?", 500, 512 * (1 + size[1]), 0)] * len(loads))
    for row, load in enumerate(loads):
        fleet.take(row, Demand(load, load // 2))
    made, demand = make_policy("epvm"), Demand(need, need)
    scores = made.score(fleet, demand, np.arange(len(fleet)))
    by_load = sorted(zip(loads, scores.tolist(), strict=True))
    for (less, cheap), (more, dear) in itertools.pairwise(by_load):
        assert cheap < dear if less < more else cheap == dear
    assert Placer(fleet, made).decide(demand).row == loads.index(min(loads))


@given(infos=st.lists(nodes, min_size=1, max_size=10), closed=st.sets(st.integers(0, 9)))
def test_round_robin_visits_each_feasible_node_once_per_turn(
    infos: list[NodeInfo], closed: set[int]
) -> None:
    fleet = fleet_of(infos)
    for row in closed & set(range(len(fleet))):
        fleet.set_open(row, False)
    demand = Demand(0, 0)
    feasible = [row for row in range(len(fleet)) if fleet.fits(row, demand)]
    turns = 3 * len(feasible)
    question = Question(demand, tuple(map(str, range(turns))))
    placer = Placer(fleet, make_policy("round-robin"))
    decisions = placer.place((question,), (0,) * turns)
    assert [d.row for d in decisions] == feasible * 3


@pytest.mark.parametrize("name", ["epvm", "best-fit", "worst-fit", "greedy", "first-fit"])
def test_three_instances_on_one_large_and_four_small_nodes_are_on_three_nodes(name: str) -> None:
    large, small = NodeInfo("?", 64000, 262144, 0), NodeInfo("?", 4000, 8192, 0)
    demand = Demand(500, 512, service="shop/web", spread=Spread("prefer"))
    placer = Placer(fleet_of([large, small, small, small, small]), make_policy(name))
    decisions = placer.place((Question(demand, ("1", "2", "3")),), (0, 0, 0))
    assert len({d.row for d in decisions} - {None}) == 3


# --- the ledger --------------------------------------------------------------------------


@given(
    infos=fleets,
    moves=st.lists(st.tuples(st.integers(0, 11), demands), max_size=20),
    data=st.data(),
)
def test_take_and_give_are_inverse_exactly(
    infos: list[NodeInfo], moves: list[tuple[int, Demand]], data: st.DataObject
) -> None:
    fleet = fleet_of(infos)
    before = fleet.changed_since(0)
    taken = [(row % len(fleet), demand, some_devices(data, demand)) for row, demand in moves]
    for row, demand, gpus in taken:
        fleet.take(row, demand, gpus)
    assert int(fleet.cpu_used_milli.sum()) == sum(d.cpu_milli for _, d, _ in taken)
    assert int(fleet.gpu_used_milli.sum()) == sum(d.gpu_milli for _, d, _ in taken)
    assert int(fleet.tasks.sum()) == len(taken)
    copy = copy_of(fleet)
    assert copy.changed_since(0) == fleet.changed_since(0)
    assert np.array_equal(copy.gpu_free_milli, fleet.gpu_free_milli)
    for row, demand, gpus in data.draw(st.permutations(taken)):
        fleet.give(row, demand, gpus)
    assert fleet.changed_since(0) == before


def some_devices(data: st.DataObject, demand: Demand) -> tuple[int, ...]:
    """As many as needed, whether they are there and free or not: what is found running may be."""
    if demand.gpu is None:
        return ()
    return tuple(data.draw(st.permutations(range(4)))[: demand.gpu.count])


@given(infos=fleets, asked=st.lists(demands, max_size=30), data=st.data())
def test_no_device_is_promised_twice(
    infos: list[NodeInfo], asked: list[Demand], data: st.DataObject
) -> None:
    fleet = fleet_of(infos)
    placer = Placer(fleet, make_policy(data.draw(st.sampled_from(OWN))))
    live: list[tuple[int, Demand, tuple[int, ...]]] = []
    for demand in asked:
        (decision,) = placer.place((Question(demand, ("t",)),), (0,))
        if decision.row is not None:
            assert len(set(decision.gpus)) == (demand.gpu.count if demand.gpu else 0)
            live.append((decision.row, demand, decision.gpus))
        if live and data.draw(st.booleans()):
            placer.free(*live.pop(data.draw(st.integers(0, len(live) - 1))))
        held: Counter[tuple[int, int]] = Counter()
        for row, other, gpus in live:
            for device in gpus:
                assert fleet.info(row).gpus[device] in ((other.gpu and other.gpu.models) or MODELS)
                held[row, device] += other.gpu.milli if other.gpu else 0
        assert max(held.values(), default=0) <= 1000
        for (row, device), milli in held.items():
            assert fleet.devices.free_of(row)[device] == 1000 - milli


# --- caching -----------------------------------------------------------------------------

operations = st.one_of(
    st.tuples(st.just("place"), st.integers(0, 3)),
    st.tuples(st.just("place"), st.integers(0, 3)),
    st.tuples(st.just("place"), st.integers(0, 3)),
    st.tuples(st.just("free"), st.integers(0, 99)),
    st.tuples(st.just("free"), st.integers(0, 99)),
    st.tuples(st.just("close"), st.integers(0, 99)),
    st.tuples(st.just("load"), st.integers(0, 99)),
    st.tuples(st.just("join"), st.integers(0, 99)),
    st.tuples(st.just("change"), st.integers(0, 99)),
    st.tuples(st.just("touch"), st.integers(0, 3000)),
)


@pytest.mark.parametrize("name", [*ROW_LOCAL, "own"])
@settings(max_examples=40)
@given(
    infos=fleets,
    shapes=st.lists(demands, min_size=4, max_size=4),
    steps=st.lists(operations, min_size=5, max_size=60),
    runners_up=runners_up,
)
def test_cached_scores_are_the_fresh_ones_bit_for_bit(
    name: str,
    infos: list[NodeInfo],
    shapes: list[Demand],
    steps: list[tuple[str, int]],
    runners_up: int,
) -> None:
    fleet, made = fleet_of(infos), new_policy(name)
    cached = Placer(fleet, made, shapes=3, runners_up=runners_up)
    live: list[tuple[int, Demand, tuple[int, ...]]] = []
    for step, number in steps:
        row = number % len(fleet)
        match step:
            case "place":
                demand = shapes[number]
                present = Counter(r for r, d, _ in live if d.service == demand.service)
                fresh = new_policy(name)
                if isinstance(made, EpvmPaper):  # what it has discovered is its state
                    fresh = EpvmPaper(made.max_jobs)
                expected = Placer(copy_of(fleet), fresh, runners_up=runners_up).decide(
                    demand, tuple(present.items())
                )
                question = Question(demand, ("",), tuple(present.items()))
                (decision,) = cached.place((question,), (0,))
                assert replace(decision, policy="", gpus=()) == replace(expected, policy="")
                if decision.row is not None:
                    live.append((decision.row, demand, decision.gpus))
            case "free" if live:
                cached.free(*live.pop(number % len(live)))
            case "close":
                fleet.set_open(row, not fleet.open[row])
            case "load":
                fleet.set_load(row, number * 10)
            case "join":
                info = replace(infos[number % len(infos)], name=f"n{len(fleet)}")
                fleet.set_row(NodeRow(len(fleet), info, True))
            case "change":
                old = fleet.node_row(row)
                info = replace(old.info, cpu_milli=old.info.cpu_milli + 500, labels=())
                fleet.set_row(replace(old, info=info))
            case "touch":
                for _ in range(number):
                    fleet.touch(row)
