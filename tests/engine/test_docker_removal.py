"""Containers that the engine does not remove at once."""

from __future__ import annotations

import pytest
import requests
from docker.errors import APIError

from cube.engine.docker.purge import REMOVALS, remove_container


class Removing:
    """An engine that fails to remove so many times before it does."""

    def __init__(self, failures: int, status: int, text: str) -> None:
        self.failures, self.status, self.text = failures, status, text

    def remove_container(self, container: str, *, force: bool, v: bool) -> None:
        assert container == "cafe"
        assert (force, v) == (True, True)
        if self.failures:
            self.failures -= 1
            response = requests.Response()
            response.status_code = self.status
            raise APIError("oops", response, self.text)


NOT_EMPTY = "unable to remove filesystem for cafe: unlinkat /containers/cafe: directory not empty"


def test_a_directory_that_fills_while_it_is_removed_is_removed_again(monkeypatch) -> None:
    """The engine writes the state of a container that has just ended."""
    monkeypatch.setattr("cube.engine.docker.purge.AGAIN_SECONDS", 0.0)
    busy = Removing(REMOVALS - 1, 500, NOT_EMPTY)
    remove_container(busy, "cafe")
    assert busy.failures == 0
    with pytest.raises(APIError):
        remove_container(Removing(REMOVALS, 500, NOT_EMPTY), "cafe")


def test_other_failures_to_remove_are_told_at_once() -> None:
    broken = Removing(9, 500, "the driver failed")
    with pytest.raises(APIError):
        remove_container(broken, "cafe")
    assert broken.failures == 8
    under_way = Removing(9, 409, "removal of container cafe is already in progress")
    remove_container(under_way, "cafe")
    assert under_way.failures == 8
