"""Containers of this cluster that the store never knew: a forgetful manager destroys nothing.

Owns how they are counted and listed until an operator decides (rule 5 of the protocol). Entries
hold them; telling nodes to keep or to drop them is left to `cube.manager.nodes`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from cube.manager.entry import Entry
from cube.manager.ledger import Ledger, Stranger
from cube.marks import mark
from cube.messages import Fact, Phase
from cube.spec import Demand, GpuNeed

_Counting: TypeAlias = Callable[[int, Demand, tuple[int, ...]], None]


class Strangers:
    """What is known of them on all nodes."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def seen(self, entry: Entry, fact: Fact) -> None:
        """Count it, leave it alone."""
        stranger = (fact.uid, fact.attempt)
        before = entry.unknown.get(stranger)
        if before == fact:
            return
        if before is not None:
            self._count(entry, before, self._ledger.give_back)
        entry.unknown[stranger] = fact
        self._count(entry, fact, self._ledger.fleet.take)
        if before is None:
            mark("unknown-container")
            self._ledger.touched[entry.name] = None
            text = f"{fact.uid} on {entry.name} is unknown to the store; `cube recover` decides"
            self._ledger.event("manager.recovery", text, task=fact.uid, node=entry.name)

    def settled(self, entry: Entry, stranger: Stranger) -> None:
        """A task of ours is that container now, or takes its place: it is unknown no longer."""
        entry.discard.discard(stranger)
        self._count(entry, entry.unknown.pop(stranger), self._ledger.give_back)
        saved = self._ledger.strangers.get(entry.name, frozenset())
        self._ledger.set_strangers(entry.name, saved - {stranger})
        self._ledger.touched[entry.name] = None

    def row_entered(self, entry: Entry) -> None:
        """The node has a row now: count there what was seen before."""
        for fact in entry.unknown.values():
            self._count(entry, fact, self._ledger.fleet.take)

    def keep_only(self, entry: Entry, listed: set[Stranger]) -> None:
        """Forget those that a whole report no longer lists."""
        for stranger in [s for s in entry.unknown if s not in listed]:
            entry.discard.discard(stranger)
            self._count(entry, entry.unknown.pop(stranger), self._ledger.give_back)
            self._ledger.touched[entry.name] = None

    def discard(self, entry: Entry, stranger: Stranger) -> None:
        """Have one removed."""
        mark("unknown-removed")
        entry.discard.add(stranger)
        self._ledger.touched[entry.name] = None

    def leaves_room(self, entry: Entry, fact: Fact, demand: Demand) -> bool:
        """Would a task have room in its place?"""
        row = self._ledger.fleet.row_of(entry.name)
        if row is None:
            return False
        self._count(entry, fact, self._ledger.fleet.give)
        room = self._ledger.fleet.has_room(row, demand, fact.gpus)
        self._count(entry, fact, self._ledger.fleet.take)
        return room

    def remember(self, entry: Entry, *, all_told: bool) -> None:
        """Save them; what changes leave out may still be there."""
        saved = self._ledger.strangers.get(entry.name, frozenset())
        if saved or entry.unknown:
            known = frozenset(entry.unknown)
            self._ledger.set_strangers(entry.name, known if all_told else known | saved)

    def _count(self, entry: Entry, fact: Fact, count: _Counting) -> None:
        """Take or give back what such a container holds while it runs."""
        row = self._ledger.fleet.row_of(entry.name)
        if row is not None and fact.phase is not Phase.ENDED:
            ports = tuple((p.host, p.protocol) for p in fact.ports)
            gpu = GpuNeed(len(fact.gpus), fact.gpu_milli) if fact.gpus else None
            count(row, Demand(*fact.size, ports, gpu=gpu), fact.gpus)
