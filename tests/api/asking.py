"""What tests of the API ask for and expect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from cube.client import ApiProblem, Client
from cube.spec import TaskSpec


def service(name: str = "web", **fields: Any) -> TaskSpec:
    return TaskSpec(name, "image", **fields)


def states(client: Client, job: str) -> list[str]:
    return [task["state"] for task in client.tasks(job)]


def problem_of(response: httpx2.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["title"]
    assert problem["detail"]
    return problem


def fails(status: int, exit_code: int, act: Callable[[], object]) -> ApiProblem:
    with pytest.raises(ApiProblem) as caught:
        act()
    assert (caught.value.status, caught.value.exit_code) == (status, exit_code), str(caught.value)
    assert caught.value.remedy
    return caught.value
