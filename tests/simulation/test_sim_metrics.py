"""Metrics against values worked by hand, and against a plain loop on random histories."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.metrics import CPU, counts, imbalance, measure, node_levels, utilisation, waits
from sim.observation import NEVER, STATES, Observation
from sim.workload import MICROS, Arrivals

NAMES = tuple(state.value for state in STATES)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def observation(at, demand, changes, capacity, placed, ended, end):
    """Tasks with their own demand each; changes are (second, row, task, sign)."""
    n = len(at)
    arrivals = Arrivals(
        ints(*at) * MICROS,
        np.arange(n),
        np.zeros(n, np.int64),
        np.ones(n, np.int64),
        np.zeros(n, np.int64),
        np.array([[cpu, cpu, 0] for cpu in demand], dtype=np.int64),
        np.arange(n + 1),
    )
    columns = np.array(changes, dtype=np.int64).reshape(-1, 4)
    state = [NAMES.index("completed" if e != NEVER else "pending") for e in ended]
    return Observation(
        arrivals,
        tuple(f"n{i}" for i in range(len(capacity))),
        np.array([[c, c, 0] for c in capacity], dtype=np.int64),
        ints(*state),
        np.where(ints(*placed) == NEVER, NEVER, ints(*placed) * MICROS),
        ints(*[NEVER] * n),
        np.where(ints(*ended) == NEVER, NEVER, ints(*ended) * MICROS),
        ints(*[0] * n),
        ints(*[1] * n),
        columns[:, 0] * MICROS,
        columns[:, 1],
        columns[:, 2],
        columns[:, 3],
        end * MICROS,
    )


# Two nodes of 1000. Task 0 (500) on node 0 from 0 to 4, task 1 (1000) on node 1 from 2 to 4,
# task 2 is never placed; the run ends at 10.
SEEN = observation(
    at=(0, 1, 4),
    demand=(500, 1000, 2000),
    changes=[(0, 0, 0, 1), (2, 1, 1, 1), (4, 0, 0, -1), (4, 1, 1, -1)],
    capacity=(1000, 1000),
    placed=(0, 2, NEVER),
    ended=(4, 4, NEVER),
    end=10,
)


def test_utilisation_is_time_weighted():
    edges = ints(0, 2, 4, 10) * MICROS
    assert utilisation(SEEN, CPU).means(edges).tolist() == [0.25, 0.75, 0.0]
    assert measure(SEEN, 0.0, 12)["utilisation.cpu"] == 0.5  # 0 s to the last arrival, 4 s


def test_imbalance_is_the_coefficient_of_variation_over_nodes():
    between = imbalance(SEEN, CPU).means(ints(0, 2, 4, 10) * MICROS)
    # shares (.5, 0): mean .25, deviation .25; then (.5, 1): mean .75, deviation .25
    assert between == pytest.approx([1.0, 1 / 3, 0.0])


def test_unplaced_tasks_wait_until_the_end_and_are_counted():
    assert waits(SEEN).tolist() == [0.0, 1.0, 6.0]
    assert counts(SEEN) == {
        "tasks": 3, "completed": 2, "failed": 0, "stopped": 0, "unplaced": 1, "unfinished": 1,
    }  # fmt: skip


def test_figures_of_a_run():
    found = measure(SEEN, 0.0, 12)
    assert found["wait_seconds.mean"] == pytest.approx(7 / 3)
    assert (found["wait_seconds.max"], found["waited"]) == (6.0, 2)
    assert (found["makespan_seconds"], found["messages_per_task"]) == (10.0, 4.0)


def test_the_warm_up_is_cut_by_arrival_time():
    found = measure(SEEN, 0.5, 0)  # from 2 s on: task 2 only
    assert found["wait_seconds.mean"] == 6.0
    assert found["utilisation.cpu"] == 0.75


def test_levels_of_every_node_over_time():
    seconds, levels = node_levels(SEEN)
    at = {t: int(np.searchsorted(seconds, t)) for t in (1.0, 3.0, 9.0)}
    assert levels["cpu_milli"][at[1.0]].tolist() == [500, 0]
    assert levels["cpu_milli"][at[3.0]].tolist() == [500, 1000]
    assert levels["tasks"][at[9.0]].tolist() == [0, 0]


histories = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 400), st.integers(0, 20), st.integers(1, 20)),
    min_size=1,
    max_size=15,
)


@given(histories)
def test_steps_agree_with_a_plain_loop(tasks):
    """Tasks are (row, demand, start, length); compare with values summed second by second."""
    changes = [(start, row, i, 1) for i, (row, _, start, _) in enumerate(tasks)]
    changes += [(start + length, row, i, -1) for i, (row, _, start, length) in enumerate(tasks)]
    capacity = (1000, 2000, 500, 8000)
    starts = [start for _, _, start, _ in tasks]
    seen = observation(
        starts, [d for _, d, _, _ in tasks], sorted(changes), capacity, starts, starts, 50
    )
    edges = np.arange(51, dtype=np.int64) * MICROS
    shares, variations = [], []
    for second in range(50):
        used = [0] * 4
        for row, demand, start, length in tasks:
            used[row] += demand * (start <= second < start + length)
        levels = [u / c for u, c in zip(used, capacity, strict=True)]
        mean = sum(levels) / 4
        deviation = math.sqrt(sum((level - mean) ** 2 for level in levels) / 4)
        shares.append(sum(used) / sum(capacity))
        variations.append(deviation / mean if mean else 0.0)
    assert utilisation(seen, CPU).means(edges) == pytest.approx(shares, abs=1e-9)
    assert imbalance(seen, CPU).means(edges) == pytest.approx(variations, abs=1e-6)
