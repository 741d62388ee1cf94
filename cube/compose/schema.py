"""The JSON Schema and the support matrix of job files, both generated from the models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from cube.compose.models import JobFile
from cube.compose.part import Part, ignorance, refusal, written_fields

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {"type": "string", "pattern": r"\$"}
_TYPED = {"integer", "number", "boolean"}
_BEGIN, _END = "<!-- matrix: begin -->", "<!-- matrix: end -->"
_KINDS = ("supported", "ignored", "not supported")


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a job file, for editors."""
    schema = _loosened(JobFile.model_json_schema())
    assert isinstance(schema, dict)
    return {"$schema": _DIALECT, **schema, "title": "Cube job file"}


def _loosened(schema: Any) -> Any:
    """What is not text may also be a variable; mappings may hold `x-*`."""
    if isinstance(schema, list):
        return [_loosened(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: _inside_loosened(key, value) for key, value in schema.items() if key != "title"}
    if result.get("additionalProperties") is False:
        result["patternProperties"] = {"^x-": {}}
    kind = result.get("type")
    if (isinstance(kind, str) and kind in _TYPED) or "enum" in result or "const" in result:
        notes = {key: result.pop(key) for key in ("description", "default") if key in result}
        return {"anyOf": [result, _VARIABLE], **notes}
    return result


def _inside_loosened(key: str, value: Any) -> Any:
    if key in ("properties", "$defs"):  # names -> schemas
        return {name: _loosened(schema) for name, schema in value.items()}
    return value if key in ("default", "enum", "const", "examples") else _loosened(value)


def support_matrix() -> str:
    """Markdown: one table for each part of a job file, every key with how far it is supported."""
    return "\n\n".join(_table(part) for part in parts())


def with_matrix(page: str) -> str:
    """A Markdown page with the present matrix between its two markers."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert end, f"the page lacks {_BEGIN} and {_END}"
    return f"{before}{begin}\n\n{support_matrix()}\n\n{end}{after}"


def parts() -> list[type[Part]]:
    """Every part of a job file, the job first, in the order of their keys."""
    found: dict[type[Part], None] = {}
    waiting: list[type[Part]] = [JobFile]
    while waiting:
        part = waiting.pop(0)
        if part not in found:
            found[part] = None
            waiting += [inner for _, field in _ordered(part) for inner in _inside(field.annotation)]
    return list(found)


def _inside(annotation: Any) -> Iterator[type[Part]]:
    """The parts that a type mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if issubclass(annotation, Part):
            yield annotation
        return
    for argument in get_args(annotation):
        yield from _inside(argument)


def _ordered(part: type[Part]) -> list[tuple[str, Any]]:
    """The fields, supported ones first."""
    return sorted(written_fields(part), key=lambda item: _KINDS.index(_row(*item)[1]))


def _row(key: str, field: Any) -> tuple[str, str, str]:
    refused, ignored = refusal(field), ignorance(field)
    if refused is not None:
        return key, "not supported", refused.remedy
    if ignored is not None:
        return key, "ignored", ignored.remedy
    return key, "supported", field.description or ""


def _table(part: type[Part]) -> str:
    rows = [_row(key, field) for key, field in _ordered(part)]
    lines = [f"| `{key}` | {kind} | {note} |" for key, kind, note in rows]
    return "\n".join(
        [f"### {part.title}", "", "| Key | Support | Notes |", "|---|---|---|", *lines]
    )
