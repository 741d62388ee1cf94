"""One site for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security.site import Site, site


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as made:
        yield made
