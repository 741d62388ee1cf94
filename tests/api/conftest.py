"""A real cluster with simulated engines, its client, and a bare HTTP client."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import httpx2
import pytest

from cube.client import Client
from cube.cluster import Cluster, ClusterOptions
from tests.waiting import wait

NAMES = count(1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    options = ClusterOptions(tmp_path_factory.mktemp("state"), workers=3, engine="simulated")
    with Cluster(options) as started:
        yield started


@pytest.fixture
def client(cluster) -> Iterator[Client]:
    with Client(cluster.url, cluster.token) as made:
        wait(made, lambda: len(made.nodes()) == 3)
        yield made


@pytest.fixture
def raw(cluster) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {cluster.token}"}
    with httpx2.Client(base_url=cluster.url, headers=headers, trust_env=False) as made:
        yield made


@pytest.fixture
def name(client) -> Iterator[str]:
    """A job's name that nobody else uses; the job is removed afterwards."""
    made = f"job-{next(NAMES)}"
    yield made
    if any(job["name"] == made for job in client.jobs()):
        client.remove(made, force=True)
