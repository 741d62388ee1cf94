"""The users' API is what it says it is, whatever is asked of it: drawn from its own description."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cube.api import make_app
from cube.cluster import Cluster, ClusterOptions

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
few = settings(
    max_examples=5, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck)
)
LONG = "/v1/tasks/{job}/{service}/{index}/exec"  # a thousand words of 100,000 characters


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, dict[str, str]]]:
    options = ClusterOptions(tmp_path_factory.mktemp("state"), workers=2, engine="simulated")
    with Cluster(options) as cluster:
        headers = {"Authorization": f"Bearer {cluster.token}"}
        app = make_app(cluster.backend, cluster.token)
        yield schemathesis.openapi.from_asgi("/openapi.json", app, headers=headers), headers


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_answers_are_as_described(described, mode: GenerationMode) -> None:
    schema, headers = described
    statuses: Counter[int] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == LONG or not _can_be(operation, mode):
            continue

        @few
        @given(operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            (case.query or {}).pop("follow", None)  # without end
            response = case.call(headers=headers)
            statuses[response.status_code] += 1
            case.validate_response(response, checks=CHECKS)

        ask()
    assert statuses.keys() >= {200, 404, 422}


def _can_be(operation: Any, mode: GenerationMode) -> bool:
    """Without parameters and a body nothing can be wrong."""
    if mode is GenerationMode.POSITIVE:
        return True
    return bool(operation.body) or bool(list(operation.iter_parameters()))
