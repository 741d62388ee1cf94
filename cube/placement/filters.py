"""Filters: on which rows does a demand fit, and if on none, why not?

Owns feasibility: every resource, host ports, the node a task is tied to, datacenters, constraints,
and whether a node takes tasks at all. What other instances of its service allow is in `spread`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeAlias

import numpy as np

from cube.fleet import RESOURCES, Column, Fleet, Ints, Mask, Rows
from cube.placement.spread import Spreading
from cube.spec import WHOLE_GPU_MILLI, Constraint, Demand, GpuNeed
from cube.task import Rejection

_OPEN: Final = 3  # the last of the quantities in `Fleet.room_at`
FEW: Final = 256  # rows that are asked one by one for a port, instead of all who hold it
GPU: Final = "gpu"  # the resource, as a reason
ALL_FOUR: Final = np.uint32(0x01010101)  # compared at once: a third of the time of `all`

Test: TypeAlias = Callable[[Rows], Mask]  # which of these rows pass?


class Filter:
    """Tells for any rows whether a demand fits there now."""

    def __init__(self, fleet: Fleet, demand: Demand) -> None:
        self._fleet = fleet
        self._demand = demand
        self._need = np.array([*demand.size, 1], np.int64)
        self._suiting = list(_suiting(fleet, demand))

    def passes(self, rows: Rows) -> Mask:
        """Does the demand fit? Shape (len(rows),)."""
        enough = self._fleet.room_at(rows) >= self._need  # four bytes a row, 1 where true
        fit: Mask = np.equal(enough.view(np.uint32), ALL_FOUR).ravel()
        for _, suits in self._suiting:
            fit &= suits(rows)
        for port in self._demand.ports:
            fit &= _port_free(self._fleet, port, rows)
        if self._demand.gpu is not None:
            fit &= self._fleet.devices.fit(self._demand.gpu, rows)
        return fit


def reject(fleet: Fleet, demand: Demand, spreading: Spreading | None) -> tuple[Rejection, ...]:
    """Why rows are turned away: each counted once, under the first filter that it fails.

    The order is: tied to another node, datacenter, constraints, GPU model, not open, CPU, memory,
    disk, GPU, host ports, instances per node, spread. So who is called the best for a resource
    could take the task but for that resource and those after it.
    """
    rows = np.arange(fleet.count)
    found: list[Rejection] = []
    for reason, test in _tests(fleet, demand, spreading):
        passed = test(rows)
        failed = rows[~passed]
        if len(failed):
            found.append(_rejection(fleet, demand, reason, failed))
            rows = rows[passed]
            if not len(rows):
                break
    return tuple(found)


def tie_of(demand: Demand) -> str:
    """The reason of all nodes but the one that the demand is tied to."""
    return f"{'together' if demand.together else 'node'} {demand.node}"


def _rejection(fleet: Fleet, demand: Demand, reason: str, failed: Rows) -> Rejection:
    if reason in RESOURCES:
        resource = RESOURCES.index(reason)
        free = fleet.room_at(failed)[:, resource]
        best = int(free.argmax())
        name = fleet.info(int(failed[best])).name
        return Rejection(reason, len(failed), demand.size[resource], int(free[best]), name)
    if reason == GPU and demand.gpu is not None:
        near = fleet.devices.best(demand.gpu, failed)
        best = int(near.argmax())
        name = fleet.info(int(failed[best])).name
        return Rejection(GPU, len(failed), demand.gpu_milli, int(near[best]), name)
    known = demand.node if reason == tie_of(demand) else None
    if known is not None and fleet.row_of(known) is None:
        known = None
    return Rejection(reason, len(failed), node=known)


def _tests(fleet: Fleet, demand: Demand, spreading: Spreading | None) -> Iterator[tuple[str, Test]]:
    """Every filter with its reason, in the order in which rows are counted."""
    yield from _suiting(fleet, demand)
    yield "closed", partial(_has, fleet, _OPEN, 1)
    for resource, name in enumerate(RESOURCES):
        yield name, partial(_has, fleet, resource, demand.size[resource])
    if demand.gpu is not None:
        yield GPU, partial(fleet.devices.fit, demand.gpu)
    for number, protocol in demand.ports:
        yield f"port {number}/{protocol}", partial(_port_free, fleet, (number, protocol))
    if spreading is not None:
        yield from spreading.tests()


def _suiting(fleet: Fleet, demand: Demand) -> Iterator[tuple[str, Test]]:
    """The filters that look at what a node is, not at what is free there."""
    if demand.node is not None:
        yield tie_of(demand), partial(_is_node, fleet, demand.node)
    if demand.datacenters:
        column = fleet.column("node.datacenter")
        reason = f"datacenter {', '.join(demand.datacenters)}"
        yield reason, partial(_among, column, demand.datacenters)
    for constraint in demand.constraints:
        column = fleet.column(constraint.attribute)
        yield f"constraint {constraint}", partial(_meets, column, constraint)
    if demand.gpu is not None:
        yield _lacking(demand.gpu), partial(fleet.devices.suitable, demand.gpu)


def _lacking(need: GpuNeed) -> str:
    """The reason of nodes that have too few such devices, whatever is free on them."""
    number = 0 if need.milli < WHOLE_GPU_MILLI else need.count
    return f"{GPU}s {number} {'|'.join(need.models)}".rstrip()


def _has(fleet: Fleet, quantity: int, need: int, rows: Rows) -> Mask:
    free: Ints = fleet.room_at(rows)[:, quantity]
    return free >= need


def _is_node(fleet: Fleet, name: str, rows: Rows) -> Mask:
    row = fleet.row_of(name)
    return np.zeros(len(rows), np.bool_) if row is None else np.equal(rows, row)


def _among(column: Column, values: tuple[str, ...], rows: Rows) -> Mask:
    return np.isin(column.ids[rows], [column.number(value) for value in values])


def _meets(column: Column, constraint: Constraint, rows: Rows) -> Mask:
    equal: Mask = column.ids[rows] == column.number(constraint.value)
    return equal if constraint.operator == "==" else ~equal


def _port_free(fleet: Fleet, port: tuple[int, str], rows: Rows) -> Mask:
    if len(rows) <= FEW:
        return np.array([fleet.port_free(row, port) for row in rows.tolist()], np.bool_)
    return ~np.isin(rows, fleet.blocked_by(port))
