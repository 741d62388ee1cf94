"""Settings that every test shares."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("cube", derandomize=True, deadline=None, max_examples=100)
settings.load_profile("cube")

WAITING = ("tests/cluster", "tests/engine")  # they share engines, and mostly wait for them


class Schedule(LoadScopeScheduling):
    """Tests that wait run one after the other, beside those that compute."""

    def _split_scope(self, nodeid: str) -> str:
        folder = PurePath(nodeid.partition("::")[0]).parent.as_posix()
        return "waiting" if folder in WAITING else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Schedule:
    """Not by `xdist_group`: xdist 3.8 loses the groups with pytest 9.2."""
    return Schedule(config, log)
