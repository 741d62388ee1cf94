"""Random numbers keyed by (stream, entity), never by the order of events.

Task 4711's duration is the same number under every policy, in every process and however many
tasks are drawn beside it: a stream is cut into blocks of `BLOCK` entities, and each block has its
own Philox generator, keyed by a hash of (seed, stream, block). So draws cost what block draws
cost, and runs of different policies meet the same workload. Nothing here keeps a position.

Only draws whose result is a sum or product of random bits and table entries are offered
(uniform, and the ziggurats for exponential and normal): they do not depend on how the processor
rounds vectorised `exp` and `log`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

BLOCK = 4096  # entities that share a generator; changing it changes every draw

Floats = NDArray[np.float64]


class Streams:
    """All random numbers of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def generator(self, stream: str, entity: str | int = "") -> np.random.Generator:
        """A fresh generator for one entity of one stream; equal arguments, equal numbers."""
        key = hashlib.blake2b(repr((self.seed, stream, str(entity))).encode(), digest_size=16)
        bits = np.random.Philox(key=int.from_bytes(key.digest(), "little"))
        return np.random.Generator(bits)

    def uniform(self, stream: str, first: int, count: int) -> Floats:
        """Float64[count] in [0, 1) for entities `first`, `first` + 1, ..."""
        return self._blocks(stream, first, count, lambda g: g.random(BLOCK))

    def exponential(self, stream: str, first: int, count: int) -> Floats:
        """Float64[count] with mean 1 for entities `first`, `first` + 1, ..."""
        return self._blocks(stream, first, count, lambda g: g.standard_exponential(BLOCK))

    def normal(self, stream: str, first: int, count: int) -> Floats:
        """Float64[count], mean 0 and deviation 1, for entities `first`, `first` + 1, ..."""
        return self._blocks(stream, first, count, lambda g: g.standard_normal(BLOCK))

    def _blocks(
        self, stream: str, first: int, count: int, draw: Callable[[np.random.Generator], Floats]
    ) -> Floats:
        if count == 0:
            return np.empty(0)
        blocks = range(first // BLOCK, (first + count - 1) // BLOCK + 1)
        drawn = np.concatenate([draw(self.generator(stream, f"block {b}")) for b in blocks])
        skip = first - blocks[0] * BLOCK
        return drawn[skip : skip + count]
