"""Scores of many shapes of demand, kept true together: a changed row is scored for all at once.

Owns a table of scores and of fits, one line per shape. A placement changes one row, and every shape
that is asked about in a round wants to know what that row costs now; with a policy that offers
`Bulk` this is a handful of NumPy calls for all shapes instead of for each. Only demands whose sizes
alone decide come here: ports, constraints, datacenters and GPUs are left to `Shape`, as are all
other policies. What stands here is bit for bit what `Shape` would hold.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from cube.fleet import Fleet, Floats, Rows
from cube.placement.filters import ALL_FOUR
from cube.policies import Bulk, Policy
from cube.spec import Demand

_FIRST_SLOTS: Final = 8
_FEW: Final = 6  # rows that are cheaper one by one
_CELLS: Final = 1 << 16  # scores that are worked out at once, so that they stay in the cache


def is_plain(demand: Demand) -> bool:
    """Do sizes alone decide where it fits?"""
    return not (demand.ports or demand.constraints or demand.datacenters or demand.gpu)


class Slot:
    """One line of a board; to its users what a `Shape` is."""

    def __init__(self, board: Board, number: int) -> None:
        self._board = board
        self.number = number
        self.asked = 0  # the latest round that it took part in

    @property
    def feasible(self) -> int:
        """On how many rows it fits, as of the latest `scores`."""
        return self._board.counts[self.number]

    def feasible_among(self, rows: Rows) -> int:
        """On how many of `rows` it fits."""
        return int(np.count_nonzero(self._board.fits[self.number, rows]))

    def scores(self, demand: Demand) -> Floats:
        """The score of every row now; +inf where it does not fit. Shape (rows,)."""
        board = self._board
        if board.seen != board.changes.revision or board.blank:
            board.catch_up()
        line: Floats = board.views[self.number]
        return line


class Board:
    """Up to `most` shapes on one fleet, under one policy."""

    def __init__(self, fleet: Fleet, policy: Policy, most: int) -> None:
        self._fleet = fleet
        self.changes = fleet.changes
        self._policy = policy
        self._most = most
        self._round = 0
        self._slots: dict[tuple[int, int, int], Slot] = {}  # by size, least recently asked first
        self._demands: list[Demand] = []  # by number
        self._vacant: list[Slot] = []
        self.blank: set[int] = set()  # entered, and not scored yet
        self._needs = np.zeros((0, 4), np.int64)
        self._lines = np.zeros((0, 0))
        self.fits = np.zeros((0, 0), np.bool_)
        self.counts: list[int] = []  # rows on which each slot fits
        self._bulk: Bulk | None = None  # None: nothing is true yet
        self.seen = -1  # the revision up to which scores are true
        self._rows = 0

    # --- who takes part ------------------------------------------------------------------

    def begin(self) -> None:
        """A round of questions begins."""
        self._round += 1

    def slot(self, demand: Demand) -> Slot | None:
        """The line of a plain demand; None if this round has taken all of them."""
        slot = self._slots.pop(demand.size, None)
        if slot is None:
            slot = self._free_slot()
            if slot is None:
                return None
            self._enter(slot.number, demand)
        slot.asked = self._round
        self._slots[demand.size] = slot
        return slot

    def _free_slot(self) -> Slot | None:
        if self._vacant:
            return self._vacant.pop()
        if len(self._demands) < self._most:
            if len(self._demands) == len(self._lines):
                self._grow()
            return Slot(self, len(self._demands))
        oldest = next(iter(self._slots))
        return None if self._slots[oldest].asked == self._round else self._slots.pop(oldest)

    def _enter(self, number: int, demand: Demand) -> None:
        if number == len(self._demands):
            self._demands.append(demand)
            self.counts.append(0)
            self._arrange()
        self._demands[number] = demand
        self._needs[number] = (*demand.size, 1)
        self._largest = tuple(self._needs[: len(self._demands)].max(axis=0).tolist())
        self.blank.add(number)
        if self._bulk is not None:
            self._bulk.enter(number, demand)

    # --- tables --------------------------------------------------------------------------

    def _grow(self) -> None:
        """Room for more slots."""
        slots = min(self._most, max(_FIRST_SLOTS, 2 * len(self._lines)))
        more = slots - len(self._lines)
        capacity = self._lines.shape[1]
        self._needs = np.concatenate([self._needs, np.ones((more, 4), np.int64)])
        self._lines = np.concatenate([self._lines, np.full((more, capacity), np.inf)])
        self.fits = np.concatenate([self.fits, np.zeros((more, capacity), np.bool_)])

    def _arrange(self) -> None:
        """Views and scratch of the slots that there are, which every changed row needs."""
        count = len(self._demands)
        rows = self._rows = self._fleet.count
        self.views = [line[:rows] for line in self._lines[:count]]
        self._used_lines, self._used_fits = self._lines[:count], self.fits[:count]
        self._used_needs = self._needs[:count]
        self._enough = np.empty((count, 4), np.bool_)
        self._words = self._enough.view(np.uint32)[:, 0]

    def _renew(self) -> None:
        """Nothing is true any more: begin anew with the shapes of this round."""
        fleet = self._fleet
        for size in [size for size, slot in self._slots.items() if slot.asked < self._round]:
            self._vacant.append(self._slots.pop(size))
        slots, self._capacity = len(self._lines), fleet.capacity
        self._lines = np.full((slots, self._capacity), np.inf)
        self.fits = np.zeros((slots, self._capacity), np.bool_)
        self._all_fit = np.zeros(self._capacity, np.bool_)  # rows on which every slot fits
        self._all_fit[: fleet.count] = True
        self._roomy = self._all_fit.data
        self._cells = (*fleet.free_cells[:3], fleet.open_cells)
        self.blank = {slot.number for slot in self._slots.values()}
        self.seen = fleet.revision
        bulk = self._policy.bulk(fleet)
        assert bulk is not None
        for number, demand in enumerate(self._demands):
            bulk.enter(number, demand)
        self._bulk = bulk
        self._arrange()

    # --- scores --------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Make every line true."""
        self._follow()
        if self.blank:
            for number in sorted(self.blank):
                self._fill(number)
            self.blank.clear()

    def _follow(self) -> None:
        """Score what changed."""
        fleet, changes, seen = self._fleet, self.changes, self.seen
        if self._bulk is None or self._capacity != fleet.capacity or not self._bulk.is_true():
            self._renew()
            return
        if self._rows != fleet.count:
            self._arrange()
        if changes.revision == seen + 1:
            self.seen = changes.revision
            self._score_row(changes.latest)
            return
        changed = changes.since(seen)
        if changed is None:
            self._renew()
            return
        self.seen = changes.revision
        each = set(changed.tolist())
        if len(each) <= _FEW:
            for row in each:
                self._score_row(row)
            return
        rows = np.array(sorted(each), np.intp)
        step = max(1, _CELLS // len(self._demands))
        for first in range(0, len(rows), step):
            self._score_rows(rows[first : first + step])

    def _score_row(self, row: int) -> None:
        """The same as `_score_rows`, for the one row that a placement changes."""
        assert self._bulk is not None
        scores = self._bulk.score_row(row)
        cpu, memory, disk, is_open = self._cells
        most_cpu, most_memory, most_disk, _ = self._largest
        roomy = (
            cpu[row] >= most_cpu
            and memory[row] >= most_memory
            and disk[row] >= most_disk
            and is_open[row] == 1
        )
        if not (roomy and self._roomy[row]):  # else it fits everywhere, as it did before
            np.less_equal(self._used_needs, self._fleet.room_of(row), out=self._enough)
            fits = self._words == ALL_FOUR
            changed = np.flatnonzero(fits != self._used_fits[:, row])
            for slot in changed.tolist():
                self.counts[slot] += 1 if fits[slot] else -1
            self._used_fits[changed, row] = fits[changed]
            scores[~fits] = np.inf
            self._roomy[row] = roomy
        self._used_lines[:, row] = scores

    def _score_rows(self, rows: Rows) -> None:
        """Score every slot anew on `rows`, each of which is there once."""
        assert self._bulk is not None
        room = self._fleet.room_at(rows)
        enough = room >= self._used_needs[:, np.newaxis]
        fits = enough.view(np.uint32)[:, :, 0] == ALL_FOUR
        self._used_lines[:, rows] = np.where(fits, self._bulk.score_rows(rows), np.inf)
        all_fit = fits.all(axis=0)
        odd = np.flatnonzero(~(all_fit & self._all_fit[rows]))  # elsewhere all fit, as before
        if odd.size:
            fits, rows = fits[:, odd], rows[odd]
            more = fits.sum(axis=1) - self._used_fits[:, rows].sum(axis=1)
            self.counts = [c + m for c, m in zip(self.counts, more.tolist(), strict=True)]
            self._used_fits[:, rows] = fits
            self._all_fit[rows] = all_fit[odd]

    def _fill(self, number: int) -> None:
        """Score one slot on every row."""
        assert self._bulk is not None
        rows = np.arange(self._fleet.count)
        enough = self._fleet.room_at(rows) >= self._needs[number]
        fits = enough.view(np.uint32)[:, 0] == ALL_FOUR
        line = np.full(len(rows), np.inf)
        if fits.any():
            line[fits] = self._bulk.score_slot(number, rows[fits])
        self._lines[number, : len(rows)] = line
        self.fits[number, : len(rows)] = fits
        self.counts[number] = int(np.count_nonzero(fits))
        self._all_fit[: len(rows)] &= fits
