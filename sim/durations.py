"""How long tasks run: families of distributions with a given mean and a time limit.

Every family is scaled so that the mean *after* the cut at `limit_seconds` is `mean_seconds`;
offered load is therefore exact. Transcendental functions are the scalar ones of `math`, whose
results do not depend on vector units.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from sim.description import Description, Positive
from sim.streams import Streams

RESIDUALS = 2048


class Durations(Description):
    """True run times in seconds, cut at `limit_seconds` as by a batch system's time limit.

    `lognormal`: exp of a normal with deviation `sigma`. `pareto`: P(X > x) = (scale/x)**alpha.
    `exponential` and `fixed` have no shape parameter.
    """

    family: Literal["lognormal", "pareto", "exponential", "fixed"] = "lognormal"
    mean_seconds: Positive = 120.0
    limit_seconds: Positive = 1200.0
    sigma: Annotated[float, Field(strict=True, gt=0, le=10)] = 1.0
    alpha: Annotated[float, Field(strict=True, gt=1, le=100)] = 1.5

    @model_validator(mode="after")
    def _limit_is_above(self) -> Durations:
        if self.mean_seconds > self.limit_seconds:
            raise ValueError("mean_seconds is above limit_seconds")
        if self.family != "fixed" and self.mean_seconds > 0.99 * self.limit_seconds:
            raise ValueError("limit_seconds leaves no room above mean_seconds")
        return self

    @cached_property
    def scale_seconds(self) -> float:
        """The family's scale: median (lognormal), least value (pareto), uncut mean, or value."""
        if self.family == "fixed":
            return self.mean_seconds
        low, high = 0.0, self.limit_seconds
        while self.mean_at(high) < self.mean_seconds:
            high *= 2
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (
                (middle, high) if self.mean_at(middle) < self.mean_seconds else (low, middle)
            )
        return high

    def mean_at(self, scale: float) -> float:
        """E[min(X, limit)] in seconds for a family member of that scale."""
        return self._mean_cut(scale, self.limit_seconds)

    def _mean_cut(self, scale: float, limit: float) -> float:
        """E[min(X, limit)] for any limit."""
        if scale == 0 or limit == 0:
            return 0.0
        match self.family:
            case "lognormal":
                above = math.log(limit / scale) / self.sigma
                body = scale * math.exp(self.sigma**2 / 2) * _normal_cdf(above - self.sigma)
                return body + limit * _normal_cdf(-above)
            case "pareto":
                if scale >= limit:
                    return limit
                tail = math.pow(scale, self.alpha) * math.pow(limit, 1 - self.alpha)
                return (self.alpha * scale - tail) / (self.alpha - 1)
            case "exponential":
                return -scale * math.expm1(-limit / scale)
            case _:
                return min(scale, limit)

    def draw(self, streams: Streams, count: int) -> NDArray[np.float64]:
        """Float64[count] of seconds for tasks 0, 1, ..."""
        scale: float = self.scale_seconds
        match self.family:
            case "lognormal":
                normal = streams.normal("duration", 0, count).tolist()
                seconds = [scale * math.exp(self.sigma * z) for z in normal]
            case "pareto":
                power = -1 / self.alpha
                uniform = streams.uniform("duration", 0, count).tolist()
                seconds = [scale * math.pow(1.0 - u, power) for u in uniform]
            case "exponential":
                seconds = (scale * streams.exponential("duration", 0, count)).tolist()
            case _:
                seconds = [scale] * count
        return np.asarray(np.minimum(np.array(seconds), self.limit_seconds))

    def residual(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """What is left to run of tasks that are met running, by the inverse of its distribution.

        A task met at a random moment has P(rest <= x) = E[min(X, x)] / E[X] (renewal theory).
        The inverse is interpolated between `RESIDUALS` points.
        """
        scale, limit = self.scale_seconds, self.limit_seconds
        points = [limit * (i / RESIDUALS) ** 3 for i in range(RESIDUALS + 1)]
        known = [self._mean_cut(scale, point) / self.mean_seconds for point in points]
        return np.asarray(np.interp(uniform, known, points))


def _normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))
