"""How small a cell a policy needs: compaction, by Borg's protocol.

Machines are removed at random until the tasks no longer fit, and all tasks are packed from scratch
each time; at most 0.2 % of them may stay without a place (the picky ones). Repeated with 11 seeds;
the 90th percentile counts, with the least and the most beside it. Source: Verma et al.,
*Large-scale cluster management at Google with Borg*, EuroSys 2015, section 5.1.

Which machines go is a random order of them all; how many must stay is found by bisection, to a
thousandth of the cell. Tasks that fit into some machines need not fit into more, so what is found
suffices, and need not be the least number that does. A cell that is too small as a whole is cloned,
as there, up to `MOST_CLONES` times.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cube.messages import NodeInfo
from sim.experiment import policy_of
from sim.packing import pack
from sim.packing.source import Cell, size_of
from sim.streams import Streams

PENDING = 0.002  # of the tasks may find no place
MOST_CLONES = 4
FINENESS = 1000  # the search ends within this part of the cell
PERCENTILE = 0.9


@dataclass(frozen=True, slots=True)
class Compacted:
    """The smallest cell of one seed: how many machines stay, and their share of the original.

    No machines and an infinite share: the tasks do not fit into `MOST_CLONES` copies of the cell.
    """

    policy: str
    seed: int
    machines: int
    share: float
    packings: int  # that it took to find it


def compact(cell: Cell, policy: str, seed: int) -> Compacted:
    """Remove machines in the order of `seed` for as long as the tasks fit.

    Raises:
        InputError: there is no such policy.
    """
    order = _order(cell, MOST_CLONES, seed)
    packings = 0

    def fits(machines: int) -> bool:
        nonlocal packings
        packings += 1
        result = pack(order[:machines], cell.demands, policy_of(policy))
        return len(result.rows) - result.placed <= PENDING * len(result.rows)

    text, nodes = str(policy_of(policy)), len(cell.nodes)
    high = next((n * nodes for n in range(1, MOST_CLONES + 1) if fits(n * nodes)), 0)
    if not high:
        return Compacted(text, seed, 0, math.inf, packings)
    low = _least(cell, order) - 1  # so few lack the capacity; `high` fit
    while high - low > max(1, nodes // FINENESS):
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return Compacted(text, seed, high, high / nodes, packings)


def _order(cell: Cell, clones: int, seed: int) -> list[NodeInfo]:
    """The machines of the cell in random order, then those of its clones; the last go first."""
    draw = Streams(seed).generator("compaction")
    return [
        cell.nodes[i] if copy == 0 else replace(cell.nodes[i], name=f"{cell.nodes[i].name}.{copy}")
        for copy in range(clones)
        for i in draw.permutation(len(cell.nodes)).tolist()
    ]


def _least(cell: Cell, order: list[NodeInfo]) -> int:
    """How many machines, in order, have the capacity that all but the pending tasks need."""
    needs: NDArray[np.int64] = cell.needs
    keep = len(needs) - int(PENDING * len(needs))
    least = np.sort(needs, axis=0)[:keep].sum(axis=0)
    there = np.cumsum(np.array([size_of(node) for node in order], dtype=np.int64), axis=0)
    enough = (there >= least).all(axis=1)
    return int(enough.argmax()) + 1


def percentile(found: Iterable[Compacted]) -> tuple[float, float, float]:
    """The 90th percentile of the shares of machines, the least and the most."""
    shares = [one.share for one in found]
    high = float(np.quantile(shares, PERCENTILE, method="higher"))
    return high, min(shares), max(shares)
