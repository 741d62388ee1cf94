"""Policies by turn, by chance and by measured load: round robin, random, two choices, greedy.

Owns a cursor, a count of draws and their formulas. Their state changes only in `placed`, so that
scoring twice gives the same scores.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from cube.fleet import Fleet, Floats, Rows
from cube.policies.packing import shares_left
from cube.policies.policy import Policy, PolicyError
from cube.spec import Demand

_WORD: Final = 2**64
_STEP: Final = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, odd


class RoundRobin(Policy):
    """The next row that fits, in turn: score = (row - last - 1) mod n.

    Source: PVM's placement, the baseline of Amir et al., IEEE TPDS 11(7), 2000.
    """

    name = "round-robin"

    def __init__(self) -> None:
        super().__init__()
        self._last = -1  # the row placed on most recently

    def score(self, fleet: Fleet, demand: Demand, rows: Rows) -> Floats:
        """How many rows the turn has to pass before it comes to each."""
        return ((rows - (self._last + 1)) % max(1, fleet.count)).astype(np.float64)

    def placed(self, fleet: Fleet, row: int, demand: Demand) -> None:
        """The turn goes on from here."""
        self._last = row


class Greedy(Policy):
    """The row with the least *measured* CPU load: score = load / capacity.

    Source: R. L. Graham, *Bounds on multiprocessing timing anomalies*, SIAM J. Applied Mathematics
    17, 1969 (each job to the least loaded machine). What was just placed does not show until it is
    measured, so tasks that come together go together.
    """

    name = "greedy"
    row_local = True

    def score(self, fleet: Fleet, demand: Demand, rows: Rows) -> Floats:
        """The measured share of the CPU in use."""
        return fleet.cpu_load_milli.take(rows) / np.maximum(fleet.cpu_milli.take(rows), 1)


class Random(Policy):
    """Any row that fits, each as likely: score = hash(seed, draw, row) in [0, 1).

    The generator is SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, *Fast splittable pseudorandom
    number generators*, OOPSLA 2014), keyed by the number of the draw and by the row: what a row
    draws does not depend on which other rows fit.
    """

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        if not isinstance(seed, int):
            raise PolicyError(f"policy random: seed must be a whole number, not {seed!r}")
        super().__init__(seed=seed)
        self._seed = seed
        self._draw = 0

    def score(self, fleet: Fleet, demand: Demand, rows: Rows) -> Floats:
        """One uniform number per row, with 53 random bits."""
        return self.draw(rows)

    def draw(self, rows: Rows) -> Floats:
        """What each row draws for the next task: uniform in [0, 1)."""
        key = _mix(np.array([(self._seed * _STEP + self._draw) % _WORD], np.uint64))
        bits = _mix(key + rows.astype(np.uint64) * np.uint64(_STEP))
        return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def placed(self, fleet: Fleet, row: int, demand: Demand) -> None:
        """The next task draws anew."""
        self._draw += 1


class Choices(Random):
    """The least loaded of a few that are drawn (the power of two choices).

    A row's score is its load for the `choices` rows that draw lowest, else 1 + its draw: should
    none of the few be allowed, by the rules of spreading, the next ones follow. Its load is the
    largest share in use of its CPU, memory, disk and GPUs.

    Source: M. Mitzenmacher, *The power of two choices in randomized load balancing*, IEEE
    Transactions on Parallel and Distributed Systems 12(10), 2001.
    """

    name = "two-choices"

    def __init__(self, choices: int = 2, seed: int = 0) -> None:
        super().__init__(seed)
        if isinstance(choices, bool) or not isinstance(choices, int) or choices < 1:
            raise PolicyError(
                f"policy two-choices: choices must be a whole number above 0, not {choices!r}"
            )
        self.parameters = {"choices": choices, "seed": seed}
        self._choices = choices

    def score(self, fleet: Fleet, demand: Demand, rows: Rows) -> Floats:
        """The load of those that are drawn; after them the others as they are drawn."""
        drawn = self.draw(rows)
        scores = 1.0 + drawn
        few = np.argsort(drawn, kind="stable")[: self._choices]
        left = shares_left(fleet, demand, rows[few], after=False)
        scores[few] = 1.0 - np.fmin.reduce(left, axis=0)
        return scores


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64, on an array of 64-bit words that wrap around."""
    words = words + np.uint64(_STEP)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
