"""What the words of engines and registries are taken to mean."""

from __future__ import annotations

import pytest

from cube.engine.docker.errors import pull_failure


@pytest.mark.parametrize(
    ("text", "status", "meaning", "retry"),
    [
        (
            "pull access denied for foo, repository does not exist or may require "
            "'docker login': denied: requested access to the resource is denied",
            404,
            "no such image",
            False,
        ),
        ("manifest for foo:9 not found: manifest unknown", 404, "no such image", False),
        ("unauthorized: authentication required", 500, "refuses", False),
        ("error parsing HTTP 403 response body: denied", 500, "refuses", False),
        ("toomanyrequests: You have reached your pull rate limit", 429, "no more pulls", True),
        (
            'Get "https://foo/v2/": dial tcp: lookup foo on 10.0.0.1:53: no such host',
            500,
            "does not answer",
            True,
        ),
        (
            'Get "https://foo/v2/": net/http: TLS handshake timeout',
            500,
            "does not answer",
            True,
        ),
        (
            "Client.Timeout exceeded while awaiting headers",
            500,
            "does not answer",
            True,
        ),
        ("no space left on device", 500, "could not be pulled", True),
    ],
)
def test_why_a_pull_failed(text: str, status: int, meaning: str, retry: bool) -> None:
    failure = pull_failure("foo:9", text, status)
    assert meaning in failure.reason
    assert "foo:9" in failure.reason
    assert failure.retry is retry
