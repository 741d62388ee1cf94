"""How a field may be written, where that differs from how it is kept.

Each type below pairs a reader (what is in the file -> what the model keeps) with the JSON Schema of
what may be in the file. Readers refuse with `wrong`; the place is added by who asked.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from cube import units
from cube.compose import scalars

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
SCALAR: Schema = {"type": ["string", "number", "boolean"]}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
STRINGS: Schema = {"type": "array", "items": STRING}
SIZE: Schema = {"type": ["string", "integer"], "examples": ["256M", "1.5g"]}
PAIRS: tuple[Schema, ...] = (
    {
        "type": "object",
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    },
    STRINGS,
)
DURATION: Schema = {"type": "string", "examples": ["30s", "1m30s"]}

_OTHER_BOOLEANS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false"}
_OTHER_BOOLEANS["n"] = "false"


def wrong(text: str, remedy: str = "") -> PydanticCustomError:
    """The error of a reader: what is wrong with the value, and what to do."""
    return PydanticCustomError("wrong", "{text}", {"text": text, "remedy": remedy})


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """Annotation of a field: how it is read, and the schema of what may be written."""

    read: Callable[[Any], Any]
    shapes: tuple[Schema, ...] = ()
    also_as_kept: bool = False  # the field's own type may be written too

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        own = [handler(schema)] if self.also_as_kept else []
        shapes = [*self.shapes, *own]
        return dict(shapes[0]) if len(shapes) == 1 else {"anyOf": shapes}


def read_text(value: Any) -> str:
    """Text as written; numbers and booleans must be quoted to be text."""
    if isinstance(value, str):
        return str(value)
    written = scalars.as_text(value)
    if written is None:
        raise wrong(f"must be text, not {scalars.shown(value)}")
    raise wrong(f"must be text, not the value {written[:60]}", f'Put it in quotes: "{written}".')


def read_value(value: Any) -> str:
    """Text, number or boolean, kept as it was written."""
    written = scalars.as_text(value)
    if written is None:
        raise wrong(f"must be a single value, not {scalars.shown(value)}")
    return str(written)


def read_flag(value: Any) -> bool:
    """True or false; YAML 1.1's other words for them are refused with the right one."""
    if isinstance(value, bool):
        return value
    word = str(value).lower() if isinstance(value, str) else ""
    if word in ("true", "false"):
        return word == "true"
    remedy = f"Write {_OTHER_BOOLEANS.get(word, 'true or false')}."
    raise wrong(f"must be true or false, not {scalars.shown(value)}", remedy)


def read_whole(value: Any) -> int:
    """A whole number, bare or in quotes."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d{1,18}", value.strip()):
        return int(value)
    raise wrong(f"must be a whole number, not {scalars.shown(value)}", "Write digits alone.")


def _measured(parse: Callable[[str], Any], what: str) -> Callable[[Any], Any]:
    """A reader of quantities, from one of the parsers of `cube.units`."""

    def read(value: Any) -> Any:
        written = scalars.as_text(value)
        if written is None or isinstance(value, bool):
            raise wrong(f"must be {what}, not {scalars.shown(value)}")
        try:
            return parse(written)
        except ValueError as error:
            raise wrong(f"{scalars.shown(value)} is not {what}", f"{error}.") from None

    return read


def read_words(value: Any) -> Any:
    """A command: a list, or text that is split as a shell would."""
    if isinstance(value, list):
        return [read_value(item) for item in value]
    text = read_value(value)
    try:
        return shlex.split(text)
    except ValueError:
        remedy = "Close it, or write the command as a list."
        raise wrong(f"{scalars.shown(value)} has an open quote", remedy) from None


def read_list(value: Any) -> Any:
    """One item or a list of them."""
    return value if isinstance(value, list) else [value]


def read_pairs(value: Any) -> Any:
    """A mapping, or a list of NAME=value; a name alone has no value (None)."""
    if isinstance(value, dict):
        return {
            key: None if item is None else _pair_value(key, item) for key, item in value.items()
        }
    if not isinstance(value, list):
        what = "nothing" if value is None else "a single value"  # which may be a secret
        raise wrong(f"must be a mapping or a list, not {what}")
    pairs: dict[str, str | None] = {}
    for item in value:
        name, equals, text = read_value(item).partition("=")
        if not name or name in pairs:
            what = f"'{name[:60]}' is written twice" if name else "an item has no name"
            raise wrong(what, "Write NAME=value once for each name.")
        pairs[name] = text if equals else None
    return pairs


def _pair_value(key: str, value: Any) -> str:
    written = scalars.as_text(value)
    if written is None:
        what = f"the value of '{key[:60]}' must be a single value, not {scalars.shown(value)}"
        raise wrong(what)
    return str(written)


def only(*allowed: str) -> Written:
    """Of Compose's values for this key, Cube supports these."""

    def read(value: Any) -> str:
        written = read_value(value)
        if written not in allowed:
            remedy = "Write " + " or ".join(allowed) + ", or leave it out."
            raise wrong(f"{scalars.shown(value)} is not supported by Cube", remedy)
        return written

    numbers = [int(word) for word in allowed if word.isdigit()]
    return Written(read, ({"enum": [*allowed, *numbers]},))


_read_seconds = _measured(units.parse_seconds, "a duration")

Text = Annotated[str, Written(read_text, (STRING,))]
Value = Annotated[str, Written(read_value, (SCALAR,))]
Flag = Annotated[bool, Written(read_flag, ({"type": "boolean"},))]
Whole = Annotated[int, Written(read_whole, (INTEGER,))]
Count = Annotated[int, Field(ge=0, le=100_000), Written(read_whole, (INTEGER,))]
Bytes = Annotated[int, Written(_measured(units.parse_bytes, "a size"), (SIZE,))]
MilliCores = Annotated[
    int,
    Field(ge=1),
    Written(
        _measured(units.parse_cpus, "a number of cores"),
        ({"type": ["string", "number"], "examples": ["0.25", 2]},),
    ),
]
Positive = Annotated[int, Field(ge=1, le=1_000_000), Written(read_whole, (INTEGER,))]
Seconds = Annotated[float, Written(_read_seconds, (DURATION,))]
PositiveSeconds = Annotated[float, Field(gt=0), Written(_read_seconds, (DURATION,))]
Words = Annotated[
    tuple[str, ...], Written(read_words, (STRING, {"type": "array", "items": SCALAR}))
]
Pairs = Annotated[dict[str, str | None], Written(read_pairs, PAIRS)]
