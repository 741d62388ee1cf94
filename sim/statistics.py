"""What can be said of policies from a few seeds: Student's t, the bootstrap, Holm; without SciPy.

The seed is the unit of replication; policies are compared by their differences on equal seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.streams import Streams

RESAMPLES = 4999  # with the sample itself, 5000
_BOOTSTRAP_SEED = 20_000_711  # of resampling; results of equal runs are equal


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over `n` seeds and its 95 % confidence interval; NaN bounds where n is 1.

    `p` is the two-sided p-value of the mean being 0; NaN where there is none.
    """

    mean: float
    low: float
    high: float
    n: int
    p: float = math.nan


def interval(values: Sequence[float]) -> Interval:
    """Mean ± t(0.975, n-1) · s / √n of independent values. Empty: all NaN."""
    n = len(values)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    error = _standard_error(values, mean)
    half = t_quantile(0.975, n - 1) * error
    return Interval(mean, mean - half, mean + half, n, _t_p_value(mean, error, n))


def _standard_error(values: Sequence[float], mean: float) -> float:
    n = len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)


def _t_p_value(mean: float, error: float, n: int) -> float:
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return 2 * (1 - _t_cdf(abs(mean) / error, n - 1))


def bootstrap(values: Sequence[float], stream: str) -> Interval:
    """Mean of independent values with a bootstrap-t interval, for skewed values such as quantiles.

    Resamples are studentised (Efron, Tibshirani, An Introduction to the Bootstrap, 1993, section
    12.5) and drawn for `stream`, so that equal values give equal intervals. Resamples in which all
    values are equal have no deviation and are left out; where most are, as with few distinct
    values, Student's t takes their place.
    """
    n = len(values)
    plain = interval(values)
    if n < 3 or plain.low == plain.high:
        return plain
    sample = np.array(values, dtype=np.float64)
    draw = Streams(_BOOTSTRAP_SEED).generator("bootstrap", stream)
    picked = sample[draw.integers(0, n, (RESAMPLES, n))]
    error = _standard_error(values, plain.mean)
    errors = picked.std(axis=1, ddof=1) / math.sqrt(n)
    good = errors > 1e-12 * error
    if good.sum() < 0.9 * RESAMPLES:
        return plain
    t = (picked.mean(axis=1)[good] - plain.mean) / errors[good]
    low, high = np.quantile(t, (0.975, 0.025)).tolist()
    beyond = int((np.abs(t) >= abs(plain.mean) / error).sum())
    p = (1 + beyond) / (1 + len(t))
    return Interval(plain.mean, plain.mean - low * error, plain.mean - high * error, n, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given; NaN stays. Holm, Scand. J. Statist. 6, 1979."""
    asked: NDArray[np.intp] = np.flatnonzero(~np.isnan(np.array(p_values, dtype=np.float64)))
    order = sorted(asked.tolist(), key=lambda i: p_values[i])
    adjusted, largest = list(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


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
