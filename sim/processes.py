"""When jobs arrive: at a constant rate, in waves over the day, in bursts.

Every process is a Poisson process whose clock runs faster or slower. Unit-rate arrivals are drawn
first, keyed by job; they become times by the inverse of the cumulative rate, which is linear
between knots. So the first jobs stay the same however many follow, times rise, and the mean rate
is the one asked for.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from sim.description import Description, Positive
from sim.streams import Streams

STEPS = 288  # intervals of constant rate in a wave: five minutes of a day

Floats = NDArray[np.float64]
Fraction = Annotated[float, Field(strict=True, gt=0, lt=1)]


class Waves(Description):
    """The rate follows a sine: between 1 - `amplitude` and 1 + `amplitude` times the mean."""

    period_seconds: Positive = 86_400.0
    amplitude: Fraction = 0.5

    def times(self, due: Floats) -> Floats:
        """When the cumulative rate, with mean 1, reaches each of `due` (seconds)."""
        turns = [math.sin(2 * math.pi * (k + 0.5) / STEPS) for k in range(STEPS)]
        steps = np.array([1 + self.amplitude * turn for turn in turns])
        knots = np.concatenate(([0.0], np.cumsum(steps)))
        knots *= self.period_seconds / knots[-1]
        periods = np.floor(due / self.period_seconds)
        rest = due - periods * self.period_seconds
        at = np.linspace(0.0, self.period_seconds, STEPS + 1)
        return np.asarray(periods * self.period_seconds + np.interp(rest, knots, at))


class Bursts(Description):
    """The rate jumps to `factor` times the mean for bursts that take `share` of the time.

    Lengths of bursts (mean `mean_seconds`) and of the calm between them are exponential: a
    Markov-modulated Poisson process with two states. It begins calm.
    """

    factor: Annotated[float, Field(strict=True, gt=1)] = 5.0
    share: Fraction = 0.1
    mean_seconds: Positive = 60.0

    @model_validator(mode="after")
    def _calm_has_arrivals(self) -> Bursts:
        if self.factor * self.share >= 1:
            raise ValueError("factor times share must be below 1: nothing is left for the calm")
        return self

    def times(self, due: Floats, streams: Streams) -> Floats:
        """When the cumulative rate, with mean 1 in the long run, reaches each of `due`."""
        calm = (1 - self.factor * self.share) / (1 - self.share)
        means = np.array([self.mean_seconds * (1 - self.share) / self.share, self.mean_seconds])
        rates = np.array([calm, self.factor])
        pairs = 64
        while True:
            drawn = streams.exponential("burst", 0, 2 * pairs).reshape(pairs, 2) * means
            knots = np.concatenate(([0.0], np.cumsum((drawn * rates).ravel())))
            if knots[-1] >= due[-1]:
                at = np.concatenate(([0.0], np.cumsum(drawn.ravel())))
                return np.asarray(np.interp(due, knots, at))
            pairs *= 2
