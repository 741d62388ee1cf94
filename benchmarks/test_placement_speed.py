"""Placement rounds of 100 tasks; `benchmarks/placement.py` has the whole table."""

from __future__ import annotations

import pytest
from placement import ROUND, Bench
from pytest_benchmark.fixture import BenchmarkFixture


@pytest.mark.parametrize("nodes", [100, 1_000, 10_000])
@pytest.mark.parametrize("policy", ["epvm", "best-fit", "round-robin"])
def test_a_round(benchmark: BenchmarkFixture, policy: str, nodes: int) -> None:
    bench = Bench(nodes, policy)
    bench.play(*bench.round())
    rows = benchmark.pedantic(bench.play, setup=lambda: (bench.round(), {}), rounds=10)
    assert len(rows) == ROUND
    assert None not in rows
