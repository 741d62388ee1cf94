"""One box for most tests here; what happens on it is undone by the test that did it.

A module whose tests want a cluster from its beginning, or leave one broken, takes a box of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cluster.box import Box, own_box, why_not


@pytest.fixture(scope="session")
def box() -> Iterator[Box]:
    """Three machines with an engine and one for a manager."""
    yield from _a_box()


@pytest.fixture(scope="module")
def new_box() -> Iterator[Box]:
    """The same for one module."""
    yield from _a_box()


def _a_box() -> Iterator[Box]:
    if reason := why_not():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with own_box() as made:
        yield made
