"""Random numbers are keyed by (stream, entity) and nothing else."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.streams import BLOCK, Streams

places = st.integers(0, 3 * BLOCK)


@given(places, st.integers(1, BLOCK + 10), places, st.integers(1, BLOCK + 10))
def test_an_entity_draws_the_same_whatever_is_drawn_beside_it(a, m, b, n):
    first = dict(enumerate(Streams(7).normal("duration", a, m).tolist(), a))
    again = dict(enumerate(Streams(7).normal("duration", b, n).tolist(), b))
    for entity in first.keys() & again.keys():
        assert first[entity] == again[entity]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, "start", "4"), (2, "start", "4")),
        ((1, "start", "4"), (1, "duration", "4")),
        ((1, "start", "4"), (1, "start", "5")),
        ((1, "ab", "c"), (1, "a", "bc")),
    ],
)
def test_streams_differ_by_seed_name_and_entity(one, other):
    (seed, stream, entity), (seed2, stream2, entity2) = one, other
    left = Streams(seed).generator(stream, entity).random(4)
    right = Streams(seed2).generator(stream2, entity2).random(4)
    assert not np.array_equal(left, right)


def test_distributions_have_their_moments():
    streams, n = Streams(3), 100_000
    assert abs(streams.uniform("u", 0, n).mean() - 0.5) < 0.005
    assert abs(streams.exponential("e", 0, n).mean() - 1.0) < 0.015
    assert abs(streams.normal("n", 0, n).std() - 1.0) < 0.01


def test_nothing_is_drawn_for_nobody():
    assert Streams(1).uniform("u", 5, 0).shape == (0,)


def test_another_process_draws_the_same():
    code = (
        "from sim.streams import Streams; print(Streams(7).generator('a', 'b').random(3).tolist())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == str(Streams(7).generator("a", "b").random(3).tolist())
