"""The JSON Schema, the support matrix and the page that holds it."""

import json
from pathlib import Path
from typing import Any

import pytest

from cube.compose import json_schema, support_matrix
from cube.compose.part import ignorance, refusal, written_fields
from cube.compose.schema import parts, with_matrix

PAGE = Path(__file__).parents[2] / "docs" / "job-spec.md"

# What the project promises to support of a service, key by key.
SERVICE = [
    "image",
    "command",
    "entrypoint",
    "environment",
    "env_file",
    "working_dir",
    "user",
    "ports",
    "volumes",
    "labels",
    "stop_signal",
    "stop_grace_period",
    "pull_policy",
    "init",
    "tmpfs",
    "ulimits",
    "cap_add",
    "cap_drop",
    "devices",
    "privileged",
    "shm_size",
    "extra_hosts",
    "logging",
    "healthcheck",
    "depends_on",
    "restart",
    "deploy",
    "x-cube",
]


def service_schema() -> dict[str, Any]:
    schema = json_schema()
    found: dict[str, Any] = schema["$defs"]["Service"]
    return found


def test_the_schema_is_json_and_names_its_dialect() -> None:
    assert json.loads(json.dumps(json_schema())) == json_schema()
    assert json_schema()["$schema"].endswith("2020-12/schema")


def test_the_schema_holds_what_is_supported_or_ignored_and_nothing_else() -> None:
    schema = service_schema()
    assert set(schema["properties"]) == {*SERVICE, "networks", "expose", "container_name"}
    assert schema["additionalProperties"] is False
    assert schema["patternProperties"] == {"^x-": {}}
    assert schema["required"] == ["image"]
    assert "build" not in schema["properties"]


def test_the_schema_takes_short_and_long_forms_and_variables() -> None:
    ports = service_schema()["properties"]["ports"]["items"]["anyOf"]
    assert {"$ref": "#/$defs/PortEntry"} in ports
    assert {"type": "string"} in ports
    init = service_schema()["properties"]["init"]
    assert init["anyOf"] == [{"type": "boolean"}, {"type": "string", "pattern": r"\$"}]
    assert init["default"] is False


def test_every_reference_in_the_schema_resolves() -> None:
    schema = json_schema()
    text = json.dumps(schema)
    names = {piece.split('"')[0] for piece in text.split("#/$defs/")[1:]}
    assert names <= set(schema["$defs"])


def test_every_part_has_a_title_and_every_supported_key_a_note() -> None:
    for part in parts():
        assert part.title, part
        for key, field in written_fields(part):
            noted = field.description or refusal(field) or ignorance(field)
            assert noted, f"{part.title} {key}"


def test_the_matrix_tells_how_far_each_key_is_supported() -> None:
    matrix = support_matrix()
    services = matrix.split("### Services")[1].split("###")[0]
    for key in SERVICE:
        assert f"| `{key}` | supported |" in services
    assert "| `container_name` | ignored |" in services
    assert "| `build` | not supported |" in services
    assert "| `check` | supported |" in matrix


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text("utf-8")
    assert with_matrix(page) == page, "renew it with `python -m cube.compose docs/job-spec.md`"


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(AssertionError, match="the page lacks"):
        with_matrix("# A page\n")
