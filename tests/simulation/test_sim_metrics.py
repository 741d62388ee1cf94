"""Metrics against values worked by hand, and against a plain loop on random histories."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.arrivals import MICROS, Arrivals
from sim.errors import InputError
from sim.metrics import (
    CPU,
    METRICS,
    Metric,
    Window,
    check_keys,
    counts,
    imbalance,
    make_measure,
    measure,
    metric,
    node_levels,
    utilisation,
)
from sim.metrics.balance import jain, max_over_mean
from sim.metrics.packing import size_classes
from sim.observation import NEVER, STATES, Observation

NAMES = tuple(state.value for state in STATES)


def figures(seen, warm_up=0.0, messages=0):
    found = measure(Window(seen, warm_up, messages))
    return {key: figure.value for key, figure in found.items()}


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
        np.where(ints(*placed) == NEVER, NEVER, ints(*placed) * MICROS),
        ints(*range(n)),
        ints(*range(n)),
        ints(*range(n)) * MICROS,
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
    assert utilisation(Window(SEEN), CPU).means(edges).tolist() == [0.25, 0.75, 0.0]
    assert figures(SEEN, 0.0, 12)["utilisation.cpu"] == 0.5  # 0 s to the last arrival, 4 s


def test_imbalance_is_the_coefficient_of_variation_over_nodes():
    between = imbalance(Window(SEEN), CPU).means(ints(0, 2, 4, 10) * MICROS)
    # shares (.5, 0): mean .25, deviation .25; then (.5, 1): mean .75, deviation .25
    assert between == pytest.approx([1.0, 1 / 3, 0.0])


def test_unplaced_tasks_wait_until_the_end_and_are_counted():
    assert Window(SEEN).wait_seconds.tolist() == [0.0, 1.0, 6.0]
    assert counts(SEEN) == {
        "tasks": 3, "completed": 2, "failed": 0, "stopped": 0, "unplaced": 1, "unfinished": 1,
    }  # fmt: skip


def test_figures_of_a_run():
    found = figures(SEEN, 0.0, 12)
    assert found["wait_seconds.mean"] == pytest.approx(7 / 3)
    assert (found["wait_seconds.max"], found["waited"]) == (6.0, 2)
    assert (found["makespan_seconds"], found["messages_per_task"]) == (10.0, 4.0)


def test_the_warm_up_is_cut_by_arrival_time():
    found = figures(SEEN, 0.5)  # from 2 s on: task 2 only
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
    assert utilisation(Window(seen), CPU).means(edges) == pytest.approx(shares, abs=1e-9)
    assert imbalance(Window(seen), CPU).means(edges) == pytest.approx(variations, abs=1e-6)


def by_the_second(seen, tasks, capacity):
    """What each node holds in each second, the slow way: one list of levels per second."""
    for second in range(50):
        used = [0] * len(capacity)
        for row, demand, start, length in tasks:
            used[row] += demand * (start <= second < start + length)
        yield used


@given(histories)
def test_figures_over_nodes_agree_with_a_plain_loop(tasks):
    changes = [(start, row, i, 1) for i, (row, _, start, _) in enumerate(tasks)]
    changes += [(start + length, row, i, -1) for i, (row, _, start, length) in enumerate(tasks)]
    capacity, demand = (6000, 6000, 7000, 8000), [d for _, d, _, _ in tasks]
    starts = [start for _, _, start, _ in tasks]
    seen = observation(starts, demand, sorted(changes), capacity, starts, starts, 50)
    window, edges = Window(seen), np.arange(51, dtype=np.int64) * MICROS
    fairness, peaks = [], []
    for used in by_the_second(seen, tasks, capacity):
        levels = [u / c for u, c in zip(used, capacity, strict=True)]
        total, squares = sum(levels), sum(level**2 for level in levels)
        fairness.append(total**2 / (4 * squares) if total else 1.0)
        peaks.append(4 * max(levels) / total if total else 1.0)
    assert jain(window, CPU).means(edges) == pytest.approx(fairness, abs=1e-6)
    assert max_over_mean(window, CPU).means(edges) == pytest.approx(peaks, abs=1e-6)


def two_resources(sizes, capacity, changes, arrivals=None, ended=None):
    """One task of each size (cpu, memory), placed as `changes` say; the run ends at 10."""
    n = len(sizes)
    seen = observation(
        arrivals or [0] * n, [1] * n, changes, [1] * len(capacity), [0] * n, ended or [9] * n, 10
    )
    drawn = replace(seen.arrivals, sizes=np.array([[c, m, 0] for c, m in sizes], dtype=np.int64))
    full = np.array([[c, m, 0] for c, m in capacity], dtype=np.int64)
    return replace(seen, arrivals=drawn, capacity=full)


# One node of 10 cores and 10 GiB holds 8 cores and 2 GiB; another is empty. The last task arrives
# at 8 and is never placed. Mean task: 4 cores and 2 GiB (of these three).
HALF_USED = two_resources(
    [(8, 2), (2, 2), (2, 2)], [(10, 10), (10, 10)], [(0, 0, 0, 1)], arrivals=[0, 0, 8]
)


def test_stranded_is_what_is_left_when_a_node_is_filled_with_mean_tasks():
    # Node 0 has (2, 8) free: half a mean task fits, which leaves (0, 7). Node 1 has (10, 10) free:
    # 2.5 fit, which leaves (0, 5).
    found = figures(HALF_USED)
    assert found["stranded.cpu"] == 0.0
    assert found["stranded.memory"] == pytest.approx((7 + 5) / 20)


def test_fragmentation_is_what_typical_tasks_cannot_be_given():
    # A third of the tasks, those of 8 cores, do not fit on node 0, where (2, 8) are free.
    found = figures(HALF_USED)
    assert found["fragmentation.cpu"] == pytest.approx(2 / 3 / 20)
    assert found["fragmentation.memory"] == pytest.approx(8 / 3 / 20)


def test_hole_filling_counts_tasks_of_a_class_that_would_fit():
    # Sizes are 8/20, 2/20, 2/20 of the cluster. The small ones are the first third of the demand;
    # the middle of what the other adds lies where the last third begins.
    assert size_classes(HALF_USED).tolist() == [2, 0, 0]
    found = figures(HALF_USED)
    assert found["hole_filling.small"] == 1 + 5
    assert found["hole_filling.large"] == 0 + 1
    assert math.isnan(found["hole_filling.medium"])


def test_allocation_ratio_headroom_and_demand():
    # 8 of 20 cores are reserved from 0 to 8; 10 are asked for (the task that arrives at 8 is late).
    found = figures(HALF_USED)
    assert found["allocation_ratio.cpu"] == pytest.approx(8 / 10)
    assert found["headroom.cpu"] == pytest.approx(12 / 20)


def test_the_first_refusal_of_a_class_is_told_by_the_demand_it_met():
    refused = replace(HALF_USED, placed_micros=ints(0, 0, NEVER))
    found = measure(Window(refused))
    assert found["first_rejected.small"] == (pytest.approx(12 / 20), 0)  # 8 + 2 + 2 of 20 cores
    assert found["first_rejected.large"] == (pytest.approx(10 / 20), 1)  # none: a lower bound
    assert math.isnan(found["first_rejected.medium"].value)


def test_slowdown_and_its_bound():
    slow = replace(SEEN, arrivals=replace(SEEN.arrivals, run_micros=ints(2, 20, 1) * MICROS))
    found = measure(Window(slow))
    # Responses are 4, 3 and at least 6 s; the bound is 10 s.
    assert found["slowdown.mean"] == (pytest.approx((2 + 3 / 20 + 6) / 3), 1)
    assert found["bounded_slowdown.mean"] == (1.0, 1)
    assert found["decision_seconds.mean"] == (pytest.approx(7 / 3), 1)


def test_restarts_evictions_and_lost_work_are_summed():
    found = figures(SEEN)  # 0, 1 and 2 of each; 0, 1 and 2 lost seconds of .5, 1 and 2 cores
    assert (found["restarts"], found["evictions"]) == (3, 3)
    assert found["lost_work_core_seconds"] == 1 * 1 + 2 * 2


def test_a_metric_of_ones_own(tmp_path, monkeypatch):
    @metric(unit="tasks", better="higher")
    def placed_at_once(window):
        """Tasks that did not wait."""
        return (window.wait_seconds == 0).sum(), 5

    assert placed_at_once(Window(SEEN)) == (1, 5)
    assert placed_at_once.metric == Metric("placed_at_once", "tasks", "Tasks that did not wait",
                                           "higher")  # fmt: skip
    (tmp_path / "my_metrics.py").write_text("def third(window):\n    return window.nothing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"(?s)raised AttributeError.*my_metrics.py:2"):
        make_measure("my_metrics:third")(Window(SEEN))
    with pytest.raises(InputError, match="Did you mean 'third'"):
        make_measure("my_metrics:thrid")
    with pytest.raises(InputError, match="cannot import no_such_module"):
        make_measure("no_such_module:x")
    with pytest.raises(InputError, match=r"package\.module:name"):
        make_measure("third")
    with pytest.raises(InputError, match="already"):
        check_keys([metric(key="waited")(lambda window: 0)])


def test_every_metric_has_its_place_in_the_documentation():
    text = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text()
    for key in {m.key.partition(".")[0] for m in METRICS}:
        assert f"`{key}" in text, key
