"""What every part of an experiment's description has in common: strict, frozen, no unknown keys."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sim.errors import InputError, did_you_mean

Whole = Annotated[int, Field(strict=True, ge=0)]
Count = Annotated[int, Field(strict=True, ge=1, le=100_000_000)]
Positive = Annotated[float, Field(strict=True, gt=0)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Seconds = Annotated[float, Field(strict=True, ge=0)]


class Description(BaseModel):
    """A frozen value; wrong or unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def but(self, **changes: Any) -> Any:
        """The same with other values, checked again.

        Raises:
            InputError: there is no such field, or its value makes no sense.
        """
        for name in changes:
            if name not in type(self).model_fields:
                what = f"{type(self).__name__.lower()} has no '{name}'"
                raise InputError(what, did_you_mean(name, type(self).model_fields))
        try:
            return type(self).model_validate({**dict(self), **changes})
        except ValidationError as error:
            raise InputError("; ".join(map(told, error.errors()))) from None


def told(error: Any) -> str:
    """One of pydantic's findings as half a sentence: `load: input should be greater than 0`."""
    where = ".".join(str(part) for part in error["loc"])
    text = (
        str(error["msg"])
        .removeprefix("Value error, ")
        .replace("tuple", "list")
        .replace("Tuple", "list")
    )
    value = error.get("input")
    got = f", got {value!r}" if isinstance(value, int | float | str | bool) else ""
    return f"{where}: {text[0].lower()}{text[1:]}{got}" if where else text
