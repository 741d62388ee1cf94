"""One box for all tests here; what happens on it is undone by the test that did it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cluster.box import Box, own_box, why_not


@pytest.fixture(scope="session")
def box() -> Iterator[Box]:
    """Three machines with an engine and one for a manager."""
    if reason := why_not():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with own_box() as made:
        yield made
