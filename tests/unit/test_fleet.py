"""The fleet's columns, ledger, ports and journal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cube.fleet import Fleet, satisfies
from cube.messages import NodeInfo, NodeRow
from cube.spec import Constraint, Demand

SMALL = NodeInfo("a", 4000, 8192, 1000, labels=(("zone", "b"),))


def fleet_of(*infos: NodeInfo) -> Fleet:
    fleet = Fleet()
    for row, info in enumerate(infos):
        fleet.set_row(NodeRow(row, info, True))
    return fleet


def test_take_and_give_move_every_quantity() -> None:
    fleet = fleet_of(SMALL)
    before = fleet.node_row(0)
    demand = Demand(1500, 2048, 100, ports=((80, "tcp"),))
    fleet.take(0, demand)
    assert fleet.node_row(0) == NodeRow(0, SMALL, True, 1500, 2048, 100, 1, 0, ((80, "tcp"),))
    assert fleet.cpu_free_milli.tolist() == [2500]
    assert fleet.memory_used_mib.tolist() == [2048]
    assert fleet.disk_free_mib.tolist() == [900]
    assert fleet.tasks.tolist() == [1]
    fleet.give(0, demand)
    assert fleet.node_row(0) == before


def test_giving_more_than_was_taken_is_a_bug() -> None:
    fleet = fleet_of(SMALL)
    with pytest.raises(AssertionError, match="a was given back more than was taken"):
        fleet.give(0, Demand(1, 0))
    fleet = fleet_of(SMALL)
    fleet.take(0, Demand(1, 1))
    with pytest.raises(AssertionError, match="does not hold"):
        fleet.give(0, Demand(1, 1, ports=((80, "tcp"),)))


def test_what_is_found_running_may_exceed_what_there_is() -> None:
    fleet = fleet_of(SMALL)
    fleet.take(0, Demand(9000, 1))
    assert fleet.cpu_free_milli.tolist() == [-5000]
    assert not fleet.fits(0, Demand(0, 0))


@pytest.mark.parametrize(
    ("demand", "fits"),
    [
        (Demand(4000, 8192, 1000), True),
        (Demand(4001, 1), False),
        (Demand(1, 8193), False),
        (Demand(1, 1, 1001), False),
        (Demand(1, 1, node="a"), True),
        (Demand(1, 1, node="b"), False),
        (Demand(1, 1, datacenters=("dc9", "dc1")), True),
        (Demand(1, 1, datacenters=("dc9",)), False),
        (Demand(1, 1, constraints=(Constraint("node.labels.zone", "==", "b"),)), True),
        (Demand(1, 1, constraints=(Constraint("node.labels.zone", "!=", "b"),)), False),
    ],
)
def test_fits(demand: Demand, fits: bool) -> None:
    assert fleet_of(SMALL).fits(0, demand) is fits


def test_a_closed_row_fits_nothing() -> None:
    fleet = fleet_of(SMALL)
    fleet.set_open(0, False)
    assert not fleet.fits(0, Demand(1, 1))
    assert fleet.open.tolist() == [False]
    fleet.set_open(0, True)
    assert fleet.fits(0, Demand(1, 1))


@pytest.mark.parametrize(
    ("attribute", "operator", "value", "met"),
    [
        ("node.name", "==", "a", True),
        ("node.hostname", "==", "a", True),
        ("node.datacenter", "==", "dc1", True),
        ("node.labels.zone", "==", "b", True),
        ("node.labels.zone", "!=", "c", True),
        ("node.labels.disk", "==", "ssd", False),
        ("node.labels.disk", "!=", "ssd", True),
    ],
)
def test_satisfies(attribute: str, operator: str, value: str, met: bool) -> None:
    assert satisfies(SMALL, Constraint(attribute, operator, value)) is met  # type: ignore[arg-type]


def test_nodes_of_one_host_share_its_ports() -> None:
    one, two = replace(SMALL, name="one", host="h"), replace(SMALL, name="two", host="h")
    fleet = fleet_of(one, two, replace(SMALL, name="three"))
    web, dns = Demand(1, 1, ports=((80, "tcp"),)), Demand(1, 1, ports=((80, "udp"),))
    fleet.take(0, web)
    assert [fleet.fits(row, web) for row in range(3)] == [False, False, True]
    assert fleet.fits(0, dns)
    assert sorted(fleet.blocked_by((80, "tcp"))) == [0, 1]
    fleet.give(0, web)
    assert all(fleet.fits(row, web) for row in range(3))
    assert fleet.blocked_by((80, "tcp")) == []


def test_a_port_held_twice_is_free_when_both_gave_it_back() -> None:
    fleet = fleet_of(SMALL)
    web = Demand(1, 1, ports=((80, "tcp"),))
    fleet.take(0, web)
    fleet.take(0, web)
    fleet.give(0, web)
    assert not fleet.fits(0, web)
    fleet.give(0, web)
    assert fleet.fits(0, web)


def test_a_node_that_moves_to_another_host_takes_its_ports_along() -> None:
    one, two = replace(SMALL, name="one", host="h"), replace(SMALL, name="two", host="h")
    fleet = fleet_of(one, two)
    web = Demand(1, 1, ports=((80, "tcp"),))
    fleet.take(0, web)
    fleet.set_row(replace(fleet.node_row(0), info=replace(one, host="other")))
    assert not fleet.fits(0, web)
    assert fleet.fits(1, web)


def test_rows_are_found_by_name_and_keep_their_number() -> None:
    fleet = fleet_of(SMALL, replace(SMALL, name="b"))
    assert (fleet.row_of("a"), fleet.row_of("b"), fleet.row_of("c")) == (0, 1, None)
    fleet.set_row(NodeRow(0, replace(SMALL, name="new"), True))
    assert (fleet.row_of("a"), fleet.row_of("new")) == (None, 0)
    assert fleet.names == ["new", "b"]


def test_a_gap_or_a_second_row_of_a_name_is_a_bug() -> None:
    fleet = fleet_of(SMALL)
    with pytest.raises(AssertionError, match="leaves a gap"):
        fleet.set_row(NodeRow(2, replace(SMALL, name="b"), True))
    with pytest.raises(AssertionError, match="two rows are named a"):
        fleet.set_row(NodeRow(1, SMALL, True))


def test_columns_grow_and_cannot_be_written_to() -> None:
    fleet = fleet_of(*(replace(SMALL, name=f"n{i}", cpu_milli=i) for i in range(100)))
    assert len(fleet) == 100
    assert fleet.cpu_milli.tolist() == list(range(100))
    assert fleet.cpu_free_milli.tolist() == list(range(100))
    assert fleet.tasks_of(99) == 0
    for column in (fleet.cpu_milli, fleet.memory_free_mib, fleet.kind):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 7


def test_kinds_number_the_capacities() -> None:
    fleet = fleet_of(SMALL, replace(SMALL, name="b", cpu_milli=1), replace(SMALL, name="c"))
    assert fleet.kinds == [(4000, 8192, 1000, 0), (1, 8192, 1000, 0)]
    assert fleet.kind.tolist() == [0, 1, 0]


def test_columns_of_labels_number_values_and_follow_changes() -> None:
    fleet = fleet_of(SMALL, replace(SMALL, name="b", labels=()))
    zone = fleet.column("node.labels.zone")
    assert zone.ids.tolist() == [1, 0]
    fleet.set_row(NodeRow(1, replace(SMALL, name="b", labels=(("zone", "c"),)), True))
    for row in range(2, 40):
        fleet.set_row(NodeRow(row, replace(SMALL, name=f"n{row}"), True))
    assert fleet.column("node.labels.zone") is zone
    assert zone.ids.tolist() == [1, 2] + 38 * [1]
    assert (zone.number("c"), zone.number("d")) == (2, -1)


def test_every_change_is_told_once_and_equal_rows_are_no_change() -> None:
    fleet = fleet_of(SMALL, replace(SMALL, name="b"))
    assert [row.row for row in fleet.changed_since(0)] == [0, 1]
    revision = fleet.revision
    fleet.set_row(fleet.node_row(1))
    fleet.set_open(1, True)
    fleet.set_load(1, 0)
    assert fleet.revision == revision
    fleet.take(1, Demand(1, 1))
    fleet.set_load(1, 300)
    assert fleet.changed_since(revision) == (fleet.node_row(1),)
    assert fleet.cpu_load_milli.tolist() == [0, 300]
    revision = fleet.revision
    fleet.touch(0)
    assert fleet.revision > revision
    assert [row.row for row in fleet.changed_since(revision)] == [0]
    assert fleet.changed_since(fleet.revision) == ()


def test_a_port_that_is_taken_changes_every_row_of_its_host() -> None:
    one, two = replace(SMALL, name="one", host="h"), replace(SMALL, name="two", host="h")
    fleet = fleet_of(one, two, replace(SMALL, name="three"))
    revision = fleet.revision
    fleet.take(0, Demand(1, 1, ports=((80, "tcp"),)))
    changed = fleet.rows_since(revision)
    assert changed is not None
    assert sorted(changed.tolist()) == [0, 1]


def test_a_revision_that_is_no_longer_remembered_means_every_row() -> None:
    fleet = fleet_of(SMALL, replace(SMALL, name="b"))
    revision = fleet.revision
    for _ in range(5000):
        fleet.touch(1)
    assert fleet.rows_since(revision) is None
    assert [row.row for row in fleet.changed_since(revision)] == [0, 1]
    recent = fleet.rows_since(fleet.revision - 1000)
    assert recent is not None
    assert np.array_equal(recent, np.ones(1000))
