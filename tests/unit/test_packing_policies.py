"""Packing policies against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cube.fleet import Fleet
from cube.messages import NodeInfo, NodeRow, Question
from cube.placement import Placer
from cube.policies import Fgd, Policy, PolicyError, make_policy
from cube.policies.fragmentation import typical
from cube.spec import Demand, GpuNeed, Spread

SHARE = GpuNeed(1, 500)


def fleet_of(*rows: tuple[NodeInfo, int, int, tuple[int, ...]]) -> Fleet:
    """Nodes with used CPU, used memory and used GPUs."""
    fleet = Fleet()
    for row, (info, cpu, memory, gpus) in enumerate(rows):
        fleet.set_row(NodeRow(row, info, True, cpu, memory, gpu_used_milli=gpus))
    return fleet


def node(name: str, cpu: int = 1000, memory: int = 2000, gpus: int = 0) -> NodeInfo:
    return NodeInfo(name, cpu, memory, 0, gpus=("T4",) * gpus)


def score(made: Policy | str, fleet: Fleet, demand: Demand) -> list[float]:
    made = make_policy(made)
    scores: list[float] = made.score(fleet, demand, np.arange(len(fleet))).tolist()
    return scores


TWO = (
    (node("a"), 0, 0, ()),  # all free
    (node("b"), 500, 200, ()),  # 0.5 of the CPU and 0.9 of the memory are free
)


def test_dot_product_aligns_need_with_what_is_free() -> None:
    # need: 0.1 of the CPU, 0.3 of the memory
    expected = [-(0.1 * 1 + 0.3 * 1), -(0.1 * 0.5 + 0.3 * 0.9)]
    assert score("dot-product", fleet_of(*TWO), Demand(100, 600)) == pytest.approx(expected)


def test_dot_product_counts_gpus() -> None:
    fleet = fleet_of((node("a", gpus=4), 0, 0, (1000,)))
    demand = Demand(100, 0, gpu=GpuNeed(2))
    assert score("dot-product", fleet, demand) == pytest.approx([-(0.1 * 1 + 0.5 * 0.75)])


def test_hybrid_weighs_stranded_resources() -> None:
    # a: free (1, 1) strands 0, then (0.9, 0.7) strands 0.2 and leaves 0.8 on average
    # b: free (0.5, 0.9) strands 0.4, then (0.4, 0.6) strands 0.2 and leaves 0.5
    fleet, demand = fleet_of(*TWO), Demand(100, 600)
    expected = [0.2 - 0 + 0.25 * 0.8, 0.2 - 0.4 + 0.25 * 0.5]
    assert score("hybrid", fleet, demand) == pytest.approx(expected)
    assert score("hybrid(fill=0)", fleet, demand) == pytest.approx([0.2, -0.2])


def test_nomads_bin_packing_by_its_published_formula() -> None:
    fleet, demand = fleet_of(*TWO), Demand(100, 600)
    expected = [-(20 - (10**0.9 + 10**0.7)), -(20 - (10**0.4 + 10**0.6))]
    assert score("nomad-binpack", fleet, demand) == pytest.approx(expected)


def test_nomads_bin_packing_stays_between_0_and_18() -> None:
    full = fleet_of((node("a"), 900, 1900, ()), (node("b"), 0, 0, ()))
    assert score("nomad-binpack", full, Demand(100, 100)) == pytest.approx(
        [-18, -(20 - 10**0.9 - 10**0.95)]
    )
    assert score("nomad-binpack", full, Demand(0, 0))[1] == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # a: CPU 900 of 1000 left -> 90, memory 1399 of 2000 left -> 69 (69.95); mean 79 (79.5)
        # b: CPU 400 -> 40, memory 1199 -> 59 (59.95); mean 49 (49.5)
        ("least-allocated", [-79, -49]),
        # a: 10 and 30 (30.05); b: 60 and 40 (40.05)
        ("most-allocated", [-20, -50]),
    ],
)
def test_kubernetes_scores_are_whole_numbers(name: str, expected: list[float]) -> None:
    assert score(name, fleet_of(*TWO), Demand(100, 601)) == expected


def test_kubernetes_scores_a_resource_that_is_exceeded_or_lacking() -> None:
    fleet = fleet_of((node("a"), 1500, 0, ()), (node("b", cpu=0), 0, 0, ()))
    assert score("least-allocated", fleet, Demand(0, 0)) == [-50, -50]
    assert score("most-allocated", fleet, Demand(0, 0)) == [-50, 0]


# --- the power of two choices --------------------------------------------------------------


def test_two_choices_takes_the_less_loaded_of_two_that_are_drawn() -> None:
    fleet = fleet_of(*((node(f"n{i}"), 100 * i, 50 * i, ()) for i in range(10)))
    random, choices = make_policy("random(seed=5)"), make_policy("two-choices(seed=5)")
    rows = np.arange(10)
    drawn = random.score(fleet, Demand(1, 1), rows)
    scores = choices.score(fleet, Demand(1, 1), rows)
    two = np.argsort(drawn)[:2]
    assert scores[two].tolist() == pytest.approx([0.1 * i for i in two])
    others = np.argsort(drawn)[2:]
    assert scores[others].tolist() == [1.0 + d for d in drawn[others]]
    assert int(scores.argmin()) == min(two)


def test_two_choices_balances_better_than_chance() -> None:
    def most(name: str) -> int:
        fleet = fleet_of(*((node(f"n{i}", 10**6, 10**6), 0, 0, ()) for i in range(200)))
        placer = Placer(fleet, make_policy(name))
        placer.place((Question(Demand(1000, 1), tuple(map(str, range(1000)))),), (0,) * 1000)
        return int(fleet.tasks.max())

    # 5 on average; Mitzenmacher: the excess is about log log n with two choices
    assert most("two-choices") <= 7 < 10 <= most("random")


def test_two_choices_goes_on_where_spreading_shuts_both_out() -> None:
    fleet = fleet_of(*((node(f"n{i}"), 0, 0, ()) for i in range(4)))
    demand = Demand(1, 1, service="j/s", spread=Spread("require"))
    placer = Placer(fleet, make_policy("two-choices"))
    decisions = placer.place((Question(demand, tuple("abcde")),), (0,) * 5)
    assert sorted(d.row for d in decisions if d.row is not None) == [0, 1, 2, 3]


def test_two_choices_takes_whole_numbers_above_zero() -> None:
    with pytest.raises(PolicyError, match="choices must be a whole number above 0, not 0"):
        make_policy("two-choices(choices=0)")
    assert str(make_policy("two-choices(choices=3, seed=7)")) == "two-choices(choices=3, seed=7)"


# --- fragmentation gradient descent --------------------------------------------------------


def expecting(mix: dict[Demand, int], text: str = "fgd(coverage=1.0)") -> Fgd:
    made = make_policy(text)
    assert isinstance(made, Fgd)
    made.expect(mix)
    return made


HALVES = {
    Demand(100, 0, gpu=SHARE): 1,
    Demand(100, 0, gpu=GpuNeed(2)): 2,
    Demand(100, 0): 1,
}


def test_fragmentation_is_what_typical_tasks_cannot_use() -> None:
    """Worked out by hand, for four typical tasks: a half, a pair twice, and one without GPUs.

    a: two free devices. Before: only the last cannot use 2000, F = 2000/4 = 500.
       With a half taken: free 500 + 1000; the half can use both; the pair finds one whole
       device, so it can use nothing (1500 each); the last none (1500). F = 4500/4 = 1125.
    b: one device half free. Before: the half can use 500; three cannot: F = 1500/4 = 375.
       After: nothing is free, F = 0.
    """
    made = expecting(HALVES)
    fleet = fleet_of((node("a", gpus=2), 0, 0, ()), (node("b", gpus=1), 0, 0, (500,)))
    assert score(made, fleet, Demand(100, 0, gpu=SHARE)) == [625, -375]
    pair = Demand(100, 0, gpu=GpuNeed(2))
    assert made.score(fleet, pair, np.array([0])).tolist() == [-500]


def test_fragmentation_counts_gpus_that_cpu_strands() -> None:
    made = expecting(HALVES)
    fleet = fleet_of((node("a", gpus=2), 0, 0, ()))
    # 950 of 1000 milli-cores gone: no typical task fits, F = 2000 instead of 500
    assert score(made, fleet, Demand(950, 0)) == [1500]
    assert score(made, fleet, Demand(900, 0)) == [0]


def test_a_device_of_another_model_is_of_no_use() -> None:
    made = expecting({Demand(0, 0, gpu=GpuNeed(1, 1000, ("A10",))): 1, Demand(0, 0): 1})
    fleet = Fleet()
    fleet.set_row(NodeRow(0, NodeInfo("a", 1000, 1000, 0, gpus=("T4", "A10")), True))
    # before: 1000 (the T4) for the first, 2000 for the other: 1500; a T4 less: 0 and 1000
    assert made.score(fleet, Demand(0, 0, gpu=GpuNeed(1, models=("T4",))), np.array([0])) == [-1000]
    # the A10 less: 1000 of the T4 for both
    assert made.score(fleet, Demand(0, 0, gpu=GpuNeed(1, models=("A10",))), np.array([0])) == [-500]


def test_a_share_gets_the_device_that_fragments_least() -> None:
    made = expecting({Demand(0, 0, gpu=SHARE): 1})
    fleet = fleet_of((node("a", gpus=2), 0, 0, (300, 0)))
    # of 700 + 1000 all can be used; 400 of the first leaves 300 that cannot, of the other none
    demand = Demand(0, 0, gpu=GpuNeed(1, 400))
    assert made.gpus(fleet, 0, demand) == (1,)
    assert score(made, fleet, demand) == [0]
    assert make_policy("best-fit").gpus(fleet, 0, demand) == (0,)


def test_rounded_scores_are_the_steps_of_a_sigmoid() -> None:
    fleet = fleet_of((node("a", gpus=2), 0, 0, ()), (node("b", gpus=1), 0, 0, (500,)))
    made = expecting(HALVES, "fgd(coverage=1.0, rounded=True)")
    steps = [-int(100 / (1 + math.exp(added / 1000))) for added in (625, -375)]
    assert score(made, fleet, Demand(100, 0, gpu=SHARE)) == steps == [-34, -59]


def test_the_mix_is_learnt_from_what_is_placed() -> None:
    made = make_policy("fgd(coverage=1.0)")
    fleet = fleet_of((node("a", gpus=2), 0, 0, ()))
    demand = Demand(100, 0, gpu=SHARE)
    assert score(made, fleet, demand) == [0]
    before = made.basis(fleet)
    Placer(fleet, made).place((Question(Demand(100, 0, gpu=GpuNeed(1)), ("t",)),), (0,))
    assert made.basis(fleet) != before
    assert score(made, fleet, demand) == [500]  # half a device, which the typical task cannot use


def test_typical_are_the_most_frequent_up_to_the_coverage() -> None:
    large, small, rare = (400, None), (100, SHARE), (900, None)
    seen = {small: 5, large: 5, rare: 1}
    assert list(typical(seen, 0.9)) == [large, small]
    assert list(typical(seen, 0.4)) == [large]
    assert list(typical(seen, 1.0)) == [large, small, rare]


@pytest.mark.parametrize("coverage", ["0", "1.5", "True", "'much'"])
def test_coverage_is_a_share(coverage: str) -> None:
    with pytest.raises(PolicyError, match="coverage"):
        make_policy(f"fgd(coverage={coverage})")
