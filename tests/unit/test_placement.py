"""The placement loop: what it picks, records and says."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest

from cube.fleet import Fleet, Floats, Rows
from cube.messages import NodeInfo, NodeRow, Question
from cube.placement import Placer, describe, why_pending
from cube.placement.spread import Instances
from cube.policies import Policy, make_policy, policy
from cube.spec import Constraint, Demand, GpuNeed, Spread
from cube.task import Decision, Rejection

ZONE = "node.labels.zone"


def node(
    name: str, cpu: int = 4000, memory: int = 4096, disk: int = 1000, **more: object
) -> NodeInfo:
    return replace(NodeInfo(name, cpu, memory, disk), **more)  # type: ignore[arg-type]


def fleet_of(*infos: NodeInfo) -> Fleet:
    fleet = Fleet()
    for row, info in enumerate(infos):
        fleet.set_row(NodeRow(row, info, True))
    return fleet


def rows_of(
    placer: Placer, demand: Demand, count: int, present: tuple[tuple[int, int], ...] = ()
) -> list[int | None]:
    question = Question(demand, tuple(f"t{i}" for i in range(count)), present)
    return [decision.row for decision in placer.place((question,), (0,) * count)]


def waiting(fleet: Fleet, demand: Demand, present: tuple[tuple[int, int], ...] = ()) -> str:
    decision = Placer(fleet, make_policy("epvm")).decide(demand, present)
    assert decision.row is None
    return why_pending(decision)


# --- the loop ----------------------------------------------------------------------------


def test_a_round_decides_in_order_and_takes() -> None:
    fleet = fleet_of(node("a", 1000), node("b", 2000))
    placer = Placer(fleet, make_policy("first-fit"))
    big, small = Demand(900, 10), Demand(150, 10)
    questions = (Question(big, ("b1", "b2", "b3")), Question(small, ("s1", "s2")))
    decisions = placer.place(questions, (0, 1, 0, 1, 0))
    assert [(d.uid, d.node) for d in decisions] == [
        ("b1", "a"), ("s1", "b"), ("b2", "b"), ("s2", "b"), ("b3", None),
    ]  # fmt: skip
    assert fleet.cpu_free_milli.tolist() == [100, 800]
    assert fleet.tasks.tolist() == [1, 3]


def test_a_decision_records_score_runners_up_and_who_was_turned_away() -> None:
    fleet = fleet_of(*(node(f"n{i}", 1000 * (i + 1)) for i in range(6)))
    placer = Placer(fleet, make_policy("first-fit"), runners_up=2)
    (decision,) = placer.place((Question(Demand(2000, 1), ("t",)),), (0,))
    assert decision == Decision(
        "t", 1, "n1", "first-fit", 1.0, (("n2", 2.0), ("n3", 3.0)),
        (Rejection("cpu", 1, 2000, 1000, "n0"),), 5,
    )  # fmt: skip


def test_the_lowest_row_wins_a_tie() -> None:
    fleet = fleet_of(*(node(name) for name in "abc"))
    for name in ("epvm", "best-fit", "worst-fit", "greedy", "epvm-paper", "epvm-book"):
        assert Placer(fleet, make_policy(name)).decide(Demand(100, 100)).row == 0


def test_deciding_takes_nothing_and_explains_even_a_large_fleet() -> None:
    fleet = fleet_of(*(node(f"n{i}", 1000 + i % 2) for i in range(1500)))
    placer = Placer(fleet, make_policy("random"))
    revision = fleet.revision
    first, second = placer.decide(Demand(1001, 1)), placer.decide(Demand(1001, 1))
    assert first == second
    assert fleet.revision == revision
    assert len(first.runners_up) == 3
    assert first.feasible == 750
    assert first.rejections == (Rejection("cpu", 750, 1001, 1000, "n0"),)
    (placed,) = placer.place((Question(Demand(1001, 1), ("",)),), (0,))
    assert placed == replace(first, runners_up=(), rejections=())


def test_after_one_task_failed_its_equals_get_the_same_answer() -> None:
    fleet = fleet_of(node("a", 1000))
    placer = Placer(fleet, make_policy("epvm"))
    decisions = placer.place((Question(Demand(600, 1), ("x", "y", "z")),), (0, 0, 0))
    assert [d.row for d in decisions] == [0, None, None]
    assert decisions[1] == replace(decisions[2], uid="y")
    assert why_pending(decisions[2]) == "needs 0.6 CPUs; a has 0.4 CPUs free"


def test_no_nodes_at_all() -> None:
    assert waiting(Fleet(), Demand(1, 1)) == "there are no nodes"


def test_a_node_that_joins_or_opens_is_seen() -> None:
    fleet = fleet_of(node("a"))
    fleet.set_open(0, False)
    placer = Placer(fleet, make_policy("epvm"))
    assert rows_of(placer, Demand(1, 1), 1) == [None]
    for row in range(1, 40):  # beyond the first growth of the columns
        fleet.set_row(NodeRow(row, node(f"n{row}"), row == 39))
    assert rows_of(placer, Demand(1, 1), 1) == [39]
    fleet.set_open(0, True)
    assert rows_of(placer, Demand(1, 1), 1) == [0]


def test_freeing_gives_back_and_tells_the_policy() -> None:
    class Freed(Policy):
        rows: tuple[int, ...] = ()

        def score(self, fleet: Fleet, demand: Demand, rows: Rows) -> Floats:
            return rows.astype(np.float64)

        def freed(self, fleet: Fleet, row: int, demand: Demand) -> None:
            self.rows += (row,)

    fleet, freed = fleet_of(node("a", 100)), Freed()
    placer = Placer(fleet, freed)
    assert rows_of(placer, Demand(100, 1), 2) == [0, None]
    placer.free(0, Demand(100, 1))
    assert freed.rows == (0,)
    assert rows_of(placer, Demand(100, 1), 1) == [0]


def test_few_shapes_are_kept_and_answers_do_not_depend_on_it() -> None:
    demands = [Demand(100 + i, 10 * i) for i in range(10)]
    questions = tuple(Question(d, ("x", "y")) for d in demands)
    order = tuple(range(10)) * 2
    nodes = [node(f"n{i}") for i in range(7)]
    expected = Placer(fleet_of(*nodes), make_policy("epvm")).place(questions, order)
    for shapes in (0, 1, 3):
        placer = Placer(fleet_of(*nodes), make_policy("epvm"), shapes=shapes)
        assert placer.place(questions, order) == expected


# --- tied to a node ----------------------------------------------------------------------


def test_a_task_tied_to_a_node_goes_there_or_waits() -> None:
    fleet = fleet_of(node("a"), node("b", 1000), node("c"))
    placer = Placer(fleet, make_policy("epvm"))
    decision = placer.decide(Demand(1000, 1, node="b"))
    assert (decision.row, decision.feasible) == (1, 1)
    assert rows_of(placer, Demand(600, 1, node="b"), 2) == [1, None]
    assert waiting(fleet, Demand(600, 1, node="b")) == (
        "is tied to b; needs 0.6 CPUs; b has 0.4 CPUs free"
    )
    assert waiting(fleet, Demand(1, 1, node="x")) == ("is tied to x, which is not in this cluster")


def test_a_tied_task_scores_as_it_would_untied() -> None:
    fleet = fleet_of(node("a"), node("b"))
    for name in ("epvm", "round-robin", "random(seed=4)"):
        placer = Placer(fleet, make_policy(name))
        free, tied = placer.decide(Demand(100, 1)), placer.decide(Demand(100, 1, node="a"))
        scores = dict([(free.node, free.score), *free.runners_up])
        assert tied.score == scores["a"]


def test_the_rules_of_a_service_hold_for_tied_tasks_too() -> None:
    fleet = fleet_of(node("a"), node("b"))
    one = Demand(1, 1, node="a", service="j/s", max_per_node=1)
    assert waiting(fleet, one, ((0, 1),)) == (
        "is tied to a; 1 node has the 1 instance allowed per node"
    )


# --- reasons -----------------------------------------------------------------------------


def test_a_reason_names_the_resource_the_shortfall_and_the_best_node() -> None:
    zone_b, zone_c = (("zone", "b"),), (("zone", "c"),)
    small = [
        node(f"node-{i}", memory=3000 + (276 if i == 7 else i), labels=zone_b) for i in range(12)
    ]
    fleet = fleet_of(
        *small, *(node(f"c{i}", memory=9999, labels=zone_c) for i in range(3)),
        node("shut", memory=9999, labels=zone_b),
    )  # fmt: skip
    fleet.set_open(15, False)
    demand = Demand(100, 4096, constraints=(Constraint(ZONE, "==", "b"),))
    assert waiting(fleet, demand) == (
        "needs 4096 MiB memory; the best of 12 nodes, node-7, has 3276 MiB free; "
        "3 nodes fail constraint node.labels.zone == b; 1 node is not accepting tasks"
    )


@pytest.mark.parametrize(
    ("demand", "reason"),
    [
        (Demand(5000, 1), "needs 5 CPUs; the best of 2 nodes, a, has 4 CPUs free"),
        (Demand(1, 1, 2000), "needs 2000 MiB disk; the best of 2 nodes, a, has 1000 MiB free"),
        (Demand(1, 1, datacenters=("dc7", "dc8")), "2 nodes are not in datacenter dc7, dc8"),
        (
            Demand(1, 1, constraints=(Constraint("node.name", "!=", "a"),
                                      Constraint("node.name", "==", "c"))),
            "1 node fails constraint node.name != a; 1 node fails constraint node.name == c",
        ),
        (Demand(1, 1, ports=((80, "tcp"),)), "port 80/tcp is in use on 2 nodes"),
        (
            Demand(1, 1, service="j/s", max_per_node=2),
            "2 nodes have the 2 instances allowed per node",
        ),
        (
            Demand(1, 1, service="j/s", spread=Spread("require")),
            "2 nodes are ruled out by an instance on the node",
        ),
        (
            Demand(1, 1, service="j/s", spread=Spread("require", "datacenter")),
            "2 nodes are ruled out by an instance on the same datacenter",
        ),
        (
            Demand(1, 1, service="j/s", spread=Spread("require", ZONE)),
            "2 nodes are ruled out by an instance on the same node.labels.zone",
        ),
    ],
)  # fmt: skip
def test_every_reason_has_its_words(demand: Demand, reason: str) -> None:
    fleet = fleet_of(node("a"), node("b"))
    for row in (0, 1):
        fleet.take(row, Demand(0, 0, ports=((80, "tcp"),)))
    assert waiting(fleet, demand, ((0, 2), (1, 2))) == reason


def test_one_node_is_spoken_of_in_the_singular() -> None:
    assert describe([Rejection("closed", 2), Rejection("datacenter dc2", 1)]) == (
        "2 nodes are not accepting tasks; 1 node is not in datacenter dc2"
    )
    assert describe([Rejection("cpu", 1, 1000, 250, "n")]) == "needs 1 CPU; n has 0.25 CPUs free"
    assert describe([Rejection("gpu", 1, 1000, 0, "n")]) == "needs 1 GPU; n has 0 free"


# --- spread ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["epvm", "best-fit", "first-fit", "round-robin"])
def test_prefer_takes_the_node_with_fewest(name: str) -> None:
    fleet = fleet_of(node("large", 64000, 65536), *(node(f"small{i}") for i in range(4)))
    demand = Demand(500, 512, service="j/s", spread=Spread("prefer"))
    placer = Placer(fleet, make_policy(name))
    first = rows_of(placer, demand, 5)
    assert sorted(r for r in first if r is not None) == [0, 1, 2, 3, 4]
    again = rows_of(placer, demand, 5, tuple((row, 1) for row in range(5)))
    assert sorted(r for r in again if r is not None) == [0, 1, 2, 3, 4]


def test_prefer_takes_what_fits_when_the_emptier_nodes_are_full() -> None:
    fleet = fleet_of(node("a"), node("b", 100))
    demand = Demand(500, 1, service="j/s", spread=Spread("prefer"))
    assert rows_of(Placer(fleet, make_policy("epvm")), demand, 3) == [0, 0, 0]


def test_prefer_by_label_fills_the_emptiest_zone_first() -> None:
    zones = ["x", "x", "x", "y", None]
    fleet = fleet_of(
        *(node(f"n{i}", labels=((("zone", z),) if z else ())) for i, z in enumerate(zones))
    )
    demand = Demand(1, 1, service="j/s", spread=Spread("prefer", ZONE))
    placer = Placer(fleet, make_policy("first-fit"))
    assert rows_of(placer, demand, 6) == [0, 3, 4, 0, 3, 4]
    assert rows_of(placer, demand, 1, ((0, 2), (1, 2), (3, 3), (4, 5))) == [3]


def test_a_node_that_holds_none_any_more_is_like_any_other() -> None:
    fleet = fleet_of(node("a"), node("b"))
    demand = Demand(1, 1, service="j/s", spread=Spread("prefer"))
    assert rows_of(Placer(fleet, make_policy("first-fit")), demand, 1, ((0, 0),)) == [0]


def test_rows_that_hold_none_are_not_among_those_that_hold_some() -> None:
    assert Instances([(0, 0), (1, 2)]).rows.tolist() == [1]


def test_require_lets_no_two_into_one_group() -> None:
    fleet = fleet_of(*(node(f"n{i}", datacenter=f"dc{i // 2}") for i in range(4)))
    placer = Placer(fleet, make_policy("best-fit"))
    by_node = Demand(1, 1, service="j/s", spread=Spread("require"))
    assert rows_of(placer, by_node, 5, ((1, 1),)) == [0, 2, 3, None, None]
    by_center = Demand(1, 1, service="j/t", spread=Spread("require", "datacenter"))
    assert rows_of(placer, by_center, 3) == [0, 2, None]


def test_the_most_per_node_is_kept_with_and_without_spreading() -> None:
    for spread in (Spread("none"), Spread("prefer")):
        fleet = fleet_of(node("a"), node("b"))
        demand = Demand(1, 1, service="j/s", spread=spread, max_per_node=2)
        placer = Placer(fleet, make_policy("first-fit"))
        rows = rows_of(placer, demand, 4, ((1, 1), (0, 0)))
        assert sorted(r for r in rows if r is not None) == [0, 0, 1]
        assert rows[-1] is None


def test_feasible_counts_the_rows_that_every_filter_passes() -> None:
    fleet = fleet_of(node("a"), node("b"), node("c", 1))
    demand = Demand(100, 1, service="j/s", max_per_node=1)
    placer = Placer(fleet, make_policy("epvm"))
    assert placer.decide(demand).feasible == 2
    assert placer.decide(demand, ((0, 1), (2, 1))).feasible == 1


def test_two_demands_of_one_service_see_each_other() -> None:
    fleet = fleet_of(node("a"), node("b"))
    old = Demand(1, 1, service="j/s", spread=Spread("require"))
    new = replace(old, cpu_milli=2)
    placer = Placer(fleet, make_policy("first-fit"))
    decisions = placer.place((Question(old, ("x",)), Question(new, ("y", "z"))), (0, 1, 1))
    assert [d.row for d in decisions] == [0, 1, None]


@pytest.mark.parametrize("most", [None, 1, 2])
@pytest.mark.parametrize(
    "spread",
    [
        Spread("none"),
        Spread("prefer"),
        Spread("prefer", ZONE),
        Spread("require"),
        Spread("require", "datacenter"),
    ],
    ids=str,
)
def test_fleets_of_any_size_are_picked_from_in_the_same_way(
    spread: Spread, most: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only how much is recorded depends on it; where nothing is, there is a short cut."""
    zones = ("x", "y", "y", "", "x")
    infos = [
        node(f"n{i}", 1000, datacenter=f"dc{i % 3}", labels=((("zone", z),) if z else ()))
        for i, z in enumerate(zones)
    ]
    demand = Demand(300, 1, service="j/s", spread=spread, max_per_node=most)
    for present in ((), ((1, 1),), ((0, 2), (3, 1)), ((0, 1), (1, 1), (2, 1), (3, 1), (4, 1))):
        picks = []
        for medium in (1000, 0):
            monkeypatch.setattr("cube.placement.MEDIUM", medium)
            placer = Placer(fleet_of(*infos), make_policy("best-fit"))
            picks.append(rows_of(placer, demand, 8, present))
        assert picks[0] == picks[1]


# --- ports -------------------------------------------------------------------------------


def test_a_port_is_given_once_per_host() -> None:
    fleet = fleet_of(node("a", host="h"), node("b", host="h"), node("c"))
    web = Demand(1, 1, ports=((80, "tcp"),))
    assert rows_of(Placer(fleet, make_policy("first-fit")), web, 3) == [0, 2, None]


# --- policies that misbehave -------------------------------------------------------------


@policy
def raising(fleet: Fleet, task: Demand, rows: Rows) -> Floats:
    raise LookupError("no idea")


@policy(row_local=True)
def nothing(fleet: Fleet, task: Demand, rows: Rows) -> Floats:
    return np.full(len(rows), np.nan)


@policy(row_local=True)
def minus(fleet: Fleet, task: Demand, rows: Rows) -> Floats:
    return np.full(len(rows), -np.inf)


@policy
def shapeless(fleet: Fleet, task: Demand, rows: Rows) -> Floats:
    return np.zeros((len(rows), 1))


@policy
def listing(fleet: Fleet, task: Demand, rows: Rows) -> Floats:
    return [0.0 for _ in rows]  # type: ignore[return-value]


@policy
def whole(fleet: Fleet, task: Demand, rows: Rows) -> Floats:
    return rows  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (raising, "raised LookupError: no idea"),
        (nothing, "returned nan for a"),
        (minus, "returned -inf for a"),
        (shapeless, "returned shape (2, 1) for 2 rows"),
        (listing, "returned a list, not an array"),
        (whole, "returned int64, not float64"),
    ],
)
@pytest.mark.parametrize("shapes", [0, 8])
def test_a_bad_policy_leaves_tasks_pending_with_its_name(
    bad: Policy, error: str, shapes: int
) -> None:
    fleet = fleet_of(node("a"), node("b"))
    made = make_policy(bad)
    placer = Placer(fleet, made, shapes=shapes)
    decisions = placer.place((Question(Demand(1, 1), ("x", "y")),), (0, 0))
    assert [d.row for d in decisions] == [None, None]
    line = decisions[0].error.rpartition(":")[2].rstrip(")")
    place = f"({__file__}:{line})"
    assert [d.error for d in decisions] == 2 * [f"policy {made} {error} {place}"]
    head = inspect.unwrap(bad).__code__.co_firstlineno
    assert int(line) == head + (2 if bad is raising else 0)  # what raised, else the decorator
    assert why_pending(decisions[0]) == decisions[0].error
    assert fleet.tasks.tolist() == [0, 0]
    if bad not in (shapeless,):
        tied = placer.decide(Demand(1, 1, node="a"))
        assert tied.error == decisions[0].error


def test_a_hook_or_a_basis_that_raises_takes_nothing() -> None:
    class Hook(Policy):
        def score(self, fleet: Fleet, demand: Demand, rows: Rows) -> Floats:
            return np.zeros(len(rows))

        def placed(self, fleet: Fleet, row: int, demand: Demand) -> None:
            raise RuntimeError("hook")

    class Basis(Hook):
        row_local = True

        def basis(self, fleet: Fleet) -> int:
            raise RuntimeError("basis")

    for made in (Hook(), Basis()):
        fleet = fleet_of(node("a"))
        (decision,) = Placer(fleet, made).place((Question(Demand(1, 1), ("x",)),), (0,))
        assert decision.error.startswith(f"policy {made} raised RuntimeError: ")
        assert fleet.tasks.tolist() == [0]


def test_division_by_nothing_is_no_warning_and_an_infinite_score_refuses_a_row() -> None:
    @policy(row_local=True)
    def picky(fleet: Fleet, task: Demand, rows: Rows) -> Floats:
        return np.ones(len(rows)) / fleet.disk_mib[rows]

    made = picky()
    placer = Placer(fleet_of(node("a", disk=0), node("b")), made)
    assert placer.decide(Demand(1, 1)).row == 1
    assert (
        waiting(fleet_of(node("a", 1)), Demand(2, 1)) == "needs 0.002 CPUs; a has 0.001 CPUs free"
    )
    refused = Placer(fleet_of(node("a", disk=0)), made)
    for demand in (Demand(1, 1), Demand(1, 1, node="a")):
        decision = refused.decide(demand)
        assert decision.row is None
        assert why_pending(decision) == f"1 node is refused by policy {made}"


def test_a_policy_is_asked_only_about_rows_that_fit() -> None:
    asked: list[int] = []

    @policy(row_local=True)
    def noting(fleet: Fleet, task: Demand, rows: Rows) -> Floats:
        asked.extend(rows.tolist())
        return np.zeros(len(rows))

    Placer(fleet_of(node("a"), node("b", 1), node("c")), noting()).decide(Demand(10, 1))
    assert asked == [0, 2]


# --- work that is not done again ---------------------------------------------------------


class Counting(Policy):
    """Prefers the first row, and remembers for how many it was asked."""

    row_local = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def score(self, fleet: Fleet, task: Demand, rows: Rows) -> Floats:
        self.asked.append(len(rows))
        return rows.astype(np.float64)


def test_only_rows_that_changed_are_scored_again() -> None:
    fleet, counting = fleet_of(*(node(f"n{i}", 1000) for i in range(10))), Counting()
    placer = Placer(fleet, counting)
    assert rows_of(placer, Demand(400, 10), 5) == [0, 0, 1, 1, 2]
    assert counting.asked == [10, 1, 1]  # where it fits no longer nobody is asked
    fleet.set_row(NodeRow(9, node("n9", 9000), True))
    fleet.take(0, Demand(100, 1))
    rows_of(placer, Demand(400, 10), 1)
    assert counting.asked[3:] == [2]  # rows 2 and 9; row 0 is too full


def test_scores_of_few_shapes_are_kept_those_used_last() -> None:
    fleet, counting = fleet_of(*(node(f"n{i}", 9000) for i in range(10))), Counting()
    placer = Placer(fleet, counting, shapes=2)
    first, second, third = (Demand(cpu, 10) for cpu in (100, 200, 300))
    for demand in (first, second, first, third, first, second):
        placer.decide(demand)
    assert counting.asked == [10, 10, 10, 10]  # first, second, third, and second again


def test_in_a_strict_queue_the_first_that_fits_nowhere_ends_the_round() -> None:
    placer = Placer(fleet_of(node("a", 1000)), make_policy("first-fit"))
    small, large = Demand(400, 10), Demand(900, 10)
    questions = (Question(small, ("s1", "s2")), Question(large, ("l1",)))
    decisions = placer.place(questions, (0, 1, 0), fifo=True)
    assert [(d.uid, d.row) for d in decisions] == [("s1", 0), ("l1", None)]


def test_how_much_is_recorded_depends_on_the_size_of_the_fleet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cube.placement.SMALL", 3)
    monkeypatch.setattr("cube.placement.MEDIUM", 5)
    for nodes, others, turned_away in ((3, 1, True), (4, 2, False), (5, 3, False), (6, 0, False)):
        fleet = fleet_of(node("full", 100), *(node(f"n{i}") for i in range(nodes - 1)))
        placer = Placer(fleet, make_policy("first-fit"))
        (decision,) = placer.place((Question(Demand(400, 10), ("t",)),), (0,))
        assert (len(decision.runners_up), bool(decision.rejections)) == (others, turned_away)
        assert decision.feasible == nodes - 1


def test_decisions_say_more_in_small_fleets() -> None:
    """With the very sizes that ship."""
    for nodes, others, turned_away in ((200, 3, True), (201, 3, False), (1001, 0, False)):
        fleet = fleet_of(*(node(f"n{i}") for i in range(nodes - 1)), node("tiny", cpu=1))
        (decision,) = Placer(fleet, make_policy("epvm")).place(
            (Question(Demand(100, 10), ("u",)),), (0,)
        )
        assert len(decision.runners_up) == others
        assert bool(decision.rejections) is turned_away
    fleet = fleet_of(*(node(f"n{i}") for i in range(1000)))
    (decision,) = Placer(fleet, make_policy("epvm")).place(
        (Question(Demand(100, 10), ("u",)),), (0,)
    )
    assert len(decision.runners_up) == 3


def test_scores_of_so_many_shapes_are_kept() -> None:
    fleet = fleet_of(node("n0"))
    placer = Placer(fleet, make_policy("best-fit"))
    for cpu in range(1, 130):
        placer.decide(Demand(cpu, 0))
    assert len(placer._shapes) == 128


@pytest.mark.parametrize("ask", ["place", "decide"])
def test_a_line_of_the_board_that_no_round_asks_for_is_given_to_others(ask: str) -> None:
    placer = Placer(fleet_of(node("n0")), make_policy("epvm"), shapes=2)
    for cpu in (1, 2, 3):
        if ask == "decide":
            placer.decide(Demand(cpu, 0))
        else:
            placer.place((Question(Demand(cpu, 0), (f"u{cpu}",)),), (0,))
    assert list(placer._board._slots) == [(2, 0, 0), (3, 0, 0)]
    assert not placer._shapes


def test_a_share_of_a_gpu_is_asked_of_nodes_that_have_any() -> None:
    fleet = fleet_of(node("n0"))
    decision = Placer(fleet, make_policy("epvm")).decide(Demand(1, 0, gpu=GpuNeed(1, 500)))
    assert [r.reason for r in decision.rejections] == ["gpus 0"]


def test_a_fleet_that_outgrows_its_arrays_is_scored_anew() -> None:
    fleet = fleet_of(node("n0", cpu=1))
    placer = Placer(fleet, make_policy("best-fit"))
    demand = Demand(100, 10, ports=((80, "tcp"),))
    assert placer.decide(demand).row is None
    for row in range(1, 200):
        fleet.set_row(NodeRow(row, node(f"n{row}"), open=True))
    assert placer.decide(demand).row == 1
