"""Student's t against the printed tables."""

import math

import numpy as np
import pytest

from sim.statistics import bootstrap, holm, interval, t_quantile


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


def test_p_values_are_those_of_the_tables():
    values = [1.0, 2.0, 3.0]  # t = 2 / (1 / sqrt 3) with two degrees of freedom
    assert interval(values).p == pytest.approx(0.074180, rel=1e-4)
    assert interval([0.0, 0.0]).p == 1.0
    assert interval([1.0, 1.0]).p == 0.0
    assert math.isnan(interval([]).mean)


def test_holm_worked_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, math.nan, 0.9])[0::2] == [1.0, 1.0]
    assert math.isnan(holm([0.5, math.nan, 0.9])[1])


def test_the_bootstrap_repeats_itself_and_covers_a_skewed_mean_better():
    draw, true = np.random.default_rng(1), math.exp(0.5)
    covered = {interval: 0, bootstrap: 0}
    for _ in range(100):
        values = np.exp(draw.standard_normal(10)).tolist()
        for method in covered:
            found = method(values) if method is interval else method(values, "any")
            covered[method] += found.low <= true <= found.high
    assert covered[bootstrap] > covered[interval]
    assert covered[bootstrap] >= 85
    assert bootstrap(values, "any") == bootstrap(values, "any")


def test_the_bootstrap_gives_way_where_values_hardly_differ():
    for values in ([3.0, 3.0, 3.0], [0.0] * 9 + [1.0], [1.0, 2.0]):
        assert bootstrap(values, "any") == interval(values)
