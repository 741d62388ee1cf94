"""What the models of a job file have in common: strict keys, `x-*`, and keys that Compose has.

A field's annotation says how far Cube supports it: plain fields are supported, `Ignored` ones are
accepted with a warning, `Refused` ones are errors that name the way out. Schema, support matrix and
error texts all read these annotations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, PydanticOmit, core_schema


@dataclass(frozen=True, slots=True)
class Ignored:
    """Annotation: accepted, has no effect, is warned about."""

    remedy: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Annotation: a key that exists but is not supported."""

    remedy: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        context = {"remedy": self.remedy}

        def refuse(value: Any) -> Any:
            raise PydanticCustomError("refused", "not supported", context)

        return core_schema.no_info_plain_validator_function(refuse)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        raise PydanticOmit  # to an editor it is an unknown key


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """Stands for the value of a key that the part does not have, with the keys that it has."""

    known: tuple[str, ...]


class Part(BaseModel):
    """A mapping in a job file. Keys are strict, `x-*` is dropped, nothing is as if not written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: ClassVar[str] = ""  # of its section in the support matrix

    @model_validator(mode="before")
    @classmethod
    def _keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        keys = tuple(name for name, field in written_fields(cls) if not refusal(field))
        known = dict(written_fields(cls))
        return {
            key: value if key in known else UnknownKey(keys)
            for key, value in data.items()
            if (value is not None or key not in known)
            and (key in known or not str(key).startswith("x-"))
        }


def written_fields(part: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """(key as written, field) of every key of a part."""
    for name, field in part.model_fields.items():
        yield field.alias or name, field


def refusal(field: FieldInfo) -> Refused | None:
    """The field's refusal, if it is not supported."""
    return next((m for m in field.metadata if isinstance(m, Refused)), None)


def ignorance(field: FieldInfo) -> Ignored | None:
    """The field's warning, if it is accepted without effect."""
    return next((m for m in field.metadata if isinstance(m, Ignored)), None)
