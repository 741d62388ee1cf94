"""A shared CPU against a model that recomputes everything, and against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.sharing import Memory, ProcessorSharing

TASKS = st.lists(
    st.tuples(
        st.integers(0, 100),  # arrives after so many tenths of a second
        st.integers(1, 3000),  # milli-cores
        st.integers(1, 200),  # tenths of a second of work
    ),
    min_size=1,
    max_size=12,
)


def ends(
    tasks: list[tuple[float, int, float]], cores_milli: int, speed: float = 1.0
) -> list[float]:
    """When each task ends, by the virtual clock."""
    cpu: ProcessorSharing[int] = ProcessorSharing(cores_milli, speed)
    done = [0.0] * len(tasks)
    arrivals = sorted(range(len(tasks)), key=lambda i: tasks[i][0])
    now = 0.0
    while arrivals or len(cpu):
        due = cpu.due()
        end = np.inf if due is None else now + due
        if arrivals and tasks[arrivals[0]][0] <= end:
            i = arrivals.pop(0)
            now = tasks[i][0]
            cpu.pass_to(now)
            cpu.add(i, tasks[i][1], tasks[i][2])
            continue
        now = end
        cpu.pass_to(now)
        for i in cpu.done():
            cpu.remove(i)
            done[i] = now
    return done


def recomputed(tasks: list[tuple[float, int, float]], cores_milli: int) -> list[float]:
    """The same by the definition: what is left of each task, from event to event."""
    left = {i: work for i, (_, _, work) in enumerate(tasks)}
    done = [0.0] * len(tasks)
    now = 0.0
    while left:
        here = [i for i in left if tasks[i][0] <= now]
        later = min((tasks[i][0] for i in left if tasks[i][0] > now), default=np.inf)
        if not here:
            now = later
            continue
        rate = min(1.0, cores_milli / sum(tasks[i][1] for i in here))
        step = min(min(left[i] for i in here) / rate, later - now)
        now += step
        for i in here:
            left[i] -= step * rate
            if left[i] <= 1e-9:
                done[i] = now
                del left[i]
    return done


@given(TASKS, st.integers(100, 8000))
def test_it_ends_tasks_when_the_definition_says(drawn, cores):
    tasks = [(at / 10, cpu, work / 10) for at, cpu, work in drawn]
    assert ends(tasks, cores) == pytest.approx(recomputed(tasks, cores), abs=1e-6)


@given(TASKS)
def test_with_room_for_all_nobody_is_slowed(drawn):
    tasks = [(at / 10, cpu, work / 10) for at, cpu, work in drawn]
    alone = [at + work for at, _, work in tasks]
    assert ends(tasks, 1_000_000) == pytest.approx(alone)


@given(TASKS, st.integers(100, 8000))
def test_cores_twice_as_fast_take_half_the_time(drawn, cores):
    tasks = [(0.0, cpu, work / 10) for _, cpu, work in drawn]
    halves = [end / 2 for end in ends(tasks, cores)]
    assert ends(tasks, cores, speed=2.0) == pytest.approx(halves)


@pytest.mark.parametrize("sizes", ["exponential", "heavy-tailed"])
@pytest.mark.parametrize("load", [0.5, 0.8])
def test_slowdown_under_processor_sharing_is_that_of_the_closed_form(load, sizes):
    """M/G/1-PS: E[T | x] = x / (1 - load) for every x, whatever the distribution of x."""
    slowdowns = []
    for seed in range(6):
        draw = np.random.default_rng(seed)
        n = 8000
        at = np.cumsum(draw.exponential(1 / load, n))
        if sizes == "exponential":
            work = draw.exponential(1.0, n)
        else:
            work = np.minimum((draw.pareto(2.5, n) + 1) * 0.6, 100.0)
        done = ends([(a, 1000, w) for a, w in zip(at.tolist(), work.tolist(), strict=True)], 1000)
        slowdowns.append(float(((np.array(done) - at) / work)[n // 10 :].mean()))
    mean, spread = np.mean(slowdowns), np.std(slowdowns, ddof=1) / np.sqrt(6)
    assert abs(mean - 1 / (1 - load)) < 3.365 * spread  # t, 98 %, five degrees of freedom
    assert mean == pytest.approx(1 / (1 - load), rel=0.08)


def test_a_rest_too_small_for_the_clock_ends_all_the_same():
    cpu: ProcessorSharing[str] = ProcessorSharing(1000)
    cpu.pass_to(1e9)
    cpu.add("long", 1000, 1e9 + 1e-7)
    now = 1e9
    for _ in range(3):
        due = cpu.due()
        assert due is not None
        now += due
        cpu.pass_to(now)
        if cpu.done():
            return
    pytest.fail("it never ends")


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500)), min_size=1, max_size=10))
def test_killing_stops_as_soon_as_the_rest_fits(tasks):
    memory: Memory[int] = Memory(600)
    for i, (used, reserved) in enumerate(tasks):
        memory.add(i, used, reserved)
    victims = memory.victims()
    over = [used - reserved for used, reserved in tasks]
    spared = set(range(len(tasks))) - set(victims)
    assert all(over[v] >= over[s] for v in victims for s in spared)
    for victim in victims[:-1]:
        memory.remove(victim)
        assert memory.is_short
    for victim in victims[-1:]:
        memory.remove(victim)
    assert not memory.is_short
