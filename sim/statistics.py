"""What can be said about a mean from a few seeds: Student's t, without SciPy.

The seed is the unit of replication; policies are compared by their differences on equal seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over `n` seeds and its 95 % confidence interval; NaN bounds where n is 1."""

    mean: float
    low: float
    high: float
    n: int


def interval(values: Sequence[float]) -> Interval:
    """Mean ± t(0.975, n-1) · s / √n of independent values."""
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = t_quantile(0.975, n - 1) * deviation / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def t_quantile(p: float, freedom: int) -> float:
    """The p-quantile (p > 1/2) of Student's t with `freedom` degrees of freedom."""
    low, high = 0.0, 2.0
    while _t_cdf(high, freedom) < p:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_cdf(middle, freedom) < p else (low, middle)
    return high


def _t_cdf(t: float, freedom: int) -> float:
    """The finite sums of Abramowitz and Stegun, Handbook, 26.7.3 and 26.7.4."""
    angle = math.atan2(t, math.sqrt(freedom))
    cosine = math.cos(angle) ** 2
    odd = freedom % 2 == 1
    total = 0.0
    term = math.cos(angle) if odd else 1.0
    for k in range(1 if odd else 0, freedom - 1, 2):
        total += term
        term *= cosine * (k + 1) / (k + 2)
    if odd:
        return 0.5 + (angle + math.sin(angle) * total) / math.pi
    return 0.5 + math.sin(angle) * total / 2
