"""Settings that every test shares."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("cube", derandomize=True, deadline=None, max_examples=100)
settings.load_profile("cube")

HERE = Path(__file__).parent
WAITING = ("cluster", "engine")  # folders whose tests share engines, and mostly wait for them


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that wait run one after the other, beside those that compute."""
    for item in items:
        if item.path.relative_to(HERE).parts[0] in WAITING:
            item.add_marker(pytest.mark.xdist_group("waiting"))
