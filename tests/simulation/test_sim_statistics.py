"""Student's t against the printed tables."""

import math

import pytest

from sim.statistics import interval, t_quantile


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.7062), (2, 4.30265), (4, 2.77645), (9, 2.26216), (30, 2.04227), (200, 1.97190)],
)
def test_quantiles_are_those_of_the_tables(freedom, quantile):
    assert t_quantile(0.975, freedom) == pytest.approx(quantile, rel=2e-6)


def test_an_interval_worked_by_hand():
    found = interval([1.0, 2.0, 3.0])
    half = 4.30265 * 1.0 / math.sqrt(3)
    assert (found.mean, found.n) == (2.0, 3)
    assert found.high == pytest.approx(2 + half, rel=1e-5)
    assert found.low == pytest.approx(2 - half, rel=1e-5)


def test_one_value_has_no_interval():
    found = interval([5.0])
    assert found.mean == 5.0
    assert math.isnan(found.low)
