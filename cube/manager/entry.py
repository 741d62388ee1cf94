"""What the manager keeps of one node beyond its row in the fleet, and what it promises to all.

Owns the record and the arithmetic of intervals, leases and graces (rule 7 of the protocol). When a
node is alive, suspect or lost is decided by `cube.manager.nodes`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from cube.manager.ledger import Stranger
from cube.messages import FENCE_SECONDS, Fact, NodeInfo, Wanted, resend_seconds
from cube.task import MachineUse, NodeState, Task, TaskUse

DISK_SHARE = 0.9  # of a machine's disk: beyond, its node takes no new tasks
DRIFT = 0.01  # of any clock against any other
LEASE_INTERVALS = 5  # reports that are due in a lease


class Grants(NamedTuple):
    """What an Assign promises, in seconds."""

    interval: float
    lease: float
    grace: float

    @property
    def answer_within(self) -> float:
        """How long an answer may wait for more to say, such that nothing is told twice.

        The manager looks once a second; in clusters of up to 500 nodes nothing waits at all.
        """
        return (resend_seconds(self.interval) - 1.0) / 2


@cache
def grants(nodes: int, reports_per_second: float) -> Grants:
    """The report interval scales so that all nodes together send `reports_per_second`."""
    interval = max(1.0, nodes / reports_per_second)
    lease = max(10.0, LEASE_INTERVALS * interval)
    return Grants(interval, lease, (lease + FENCE_SECONDS) * (1 + DRIFT) / (1 - DRIFT))


@dataclass(slots=True)
class Entry:
    """One node."""

    name: str
    state: NodeState
    since: float
    heard: float
    info: NodeInfo | None = None  # None: not heard since the manager started
    life: int = -1  # of its worker
    seq: int = 0
    whole_due: bool = True  # ask for the whole truth until it comes
    trusted: bool = False  # its whole truth was heard since we started, or since it was lost
    number: int = 0  # of its newest assignment
    confirmed: bool = True  # does its latest report echo that number?
    numbered_at: float = 0.0
    outdated: bool = False  # is something else wanted by now?
    tasks: tuple[Wanted, ...] = ()
    seen: dict[str, tuple[Fact, Task | None]] = field(default_factory=dict)  # facts taken in
    assigned: dict[str, int] = field(default_factory=dict)  # uid -> number that assigned it
    patience: float = 0.0  # what an earlier life of the manager granted, until it hears this one
    unknown: dict[Stranger, Fact] = field(default_factory=dict)  # containers that we never knew
    discard: set[Stranger] = field(default_factory=set)  # those that an operator has removed
    engine_error: str = ""
    machine: MachineUse | None = None  # as last measured, as is what each task uses
    usage: tuple[TaskUse, ...] = ()

    @property
    def disk_full(self) -> bool:
        """Is so little of the machine's disk left that new tasks might fail for it?"""
        machine = self.machine
        return machine is not None and machine.disk_mib > DISK_SHARE * machine.disk_of_mib > 0
