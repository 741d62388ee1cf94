"""Settings that every test shares."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("cube", derandomize=True, deadline=None, max_examples=100)
settings.load_profile("cube")

HERE = Path(__file__).parent
ALONE = ("cluster", "engine")  # folders whose tests share machines and engines, and mostly wait


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one such folder run one after the other, beside all others."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in ALONE:
            item.add_marker(pytest.mark.xdist_group(folder))
