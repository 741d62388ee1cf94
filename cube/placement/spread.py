"""Spreading: how instances of one service share out over nodes, before the score decides.

Owns where instances are during one round. `prefer` keeps, among the rows that fit, those whose
group holds fewest; `require` lets no two into one group. A group is a node, a datacenter, or the
nodes with one value of a label; nodes that lack the label are one group too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Final

import numpy as np

from cube.fleet import Fleet, Floats, Ints, Mask, Rows
from cube.spec import Demand

_NO_LIMIT: Final = 2**62
_NOBODY: Final = np.empty(0, np.intp)


class Instances:
    """How many instances of a service each row holds."""

    def __init__(self, present: Iterable[tuple[int, int]]) -> None:
        self.on = dict(present)  # how many, by row
        if 0 in self.on.values():
            self.on = {row: count for row, count in self.on.items() if count}
        self._rows = _NOBODY  # the keys of `on`, in order, as far as they were asked for
        self._known = 0

    def add(self, row: int) -> None:
        """One more was placed on `row`."""
        self.on[row] = self.on.get(row, 0) + 1

    @property
    def rows(self) -> Rows:
        """The rows that hold any."""
        held = len(self.on)
        if held > self._known:
            if held > len(self._rows):
                longer = np.empty(2 * held, np.intp)
                longer[: self._known] = self._rows[: self._known]
                self._rows = longer
            new = islice(self.on, self._known, None)
            self._rows[self._known : held] = np.fromiter(new, np.intp, held - self._known)
            self._known = held
        return self._rows[:held]

    @property
    def counts(self) -> Ints:
        """How many each of `rows` holds."""
        return np.fromiter(self.on.values(), np.int64, len(self.on))


class Spreading:
    """The rules of one demand over the instances of its service.

    `turns_away` says whether they can leave a task without a row, or only prefer some rows.
    """

    def __init__(self, fleet: Fleet, demand: Demand, instances: Instances) -> None:
        self.instances = instances
        self._on = instances.on
        self._fleet = fleet
        self._mode = demand.spread.mode
        self._by = demand.spread.by
        self._by_node = self._mode == "none" or self._by == "node"
        self._limit = demand.max_per_node or _NO_LIMIT
        self.turns_away = self._mode == "require" or self._limit != _NO_LIMIT

    def welcomes(self, row: int) -> bool:
        """Is `row` certainly among those that the rules prefer? Cheap; False: look closer."""
        held = self._on.get(row, 0)
        if held or not self._by_node:
            return self._mode == "none" and held < self._limit
        return True

    def tries(self, scores: Floats) -> Iterator[Rows]:
        """The rows to leave out, strictest first; the next counts where this leaves nothing."""
        if self._mode == "none":
            yield self._full()
        elif self._mode == "require":
            yield self.shut()
        else:
            if self._by_node:
                yield self.instances.rows
            yield self._not_least(scores)

    def shut(self) -> Rows:
        """The rows that are out of the question: full, or of a group that may hold one only."""
        if self._mode != "require":
            return self._full()
        if self._by_node:
            return self.instances.rows
        return np.flatnonzero(self._crowd() > 0)

    def tests(self) -> Iterator[tuple[str, partial[Mask]]]:
        """The rules that may turn rows away for good, with their reasons."""
        if self._limit != _NO_LIMIT:
            yield f"max {self._limit} per node", partial(_not_among, self._full())
        if self._mode == "require":
            yield f"spread {self._by}", partial(_not_among, self.shut())

    def _full(self) -> Rows:
        if self._limit == _NO_LIMIT:
            return _NOBODY
        return self.instances.rows[self.instances.counts >= self._limit]

    def _not_least(self, scores: Floats) -> Rows:
        """The rows whose group holds more than the fewest of any row that has a score."""
        crowd = self._crowd()
        crowd[self._full()] = _NO_LIMIT
        fewest = crowd[scores < np.inf].min(initial=_NO_LIMIT - 1)
        return np.flatnonzero(crowd > fewest)

    def _crowd(self) -> Ints:
        """How many instances the group of each row holds, shape (rows,)."""
        rows, counts = self.instances.rows, self.instances.counts
        crowd = np.zeros(self._fleet.count, np.int64)
        if self._by_node:
            crowd[rows] = counts
            return crowd
        groups = self._fleet.column(_attribute(self._by)).ids
        held = np.zeros(int(groups.max(initial=0)) + 1, np.int64)
        np.add.at(held, groups[rows], counts)
        return held[groups]


def _attribute(by: str) -> str:
    return "node.datacenter" if by == "datacenter" else by


def _not_among(rows: Rows, asked: Rows) -> Mask:
    return ~np.isin(asked, rows)
