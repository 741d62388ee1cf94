"""`ports` of a service: what is published, in the short and the long form."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import Field, model_validator

from cube.compose.part import Ignored, Part
from cube.compose.scalars import as_text, shown
from cube.compose.written import STRING, Text, Written, only, read_text, read_value, wrong

MOST_IN_RANGE = 100

_SHORT = re.compile(
    r"(?:(?P<ip>\[[0-9a-fA-F:.]+\]|\d+(?:\.\d+){3}):)?"
    r"(?:(?P<published>\d*(?:-\d+)?):)?(?P<target>\d+(?:-\d+)?)(?:/(?P<protocol>\w+))?"
)
_HOW = "Write '80', '8080:80' or '127.0.0.1:8080:80/udp'."


def read_span(value: Any) -> tuple[int, ...]:
    """A port, or a range of ports such as 3000-3005."""
    text = read_value(value)
    first, dash, last = text.partition("-")
    if not (first.isdecimal() and (last.isdecimal() or not dash) and len(text) <= 11):
        raise wrong(f"{shown(value)} is not a port", "Write a number from 1 to 65535.")
    low, high = int(first), int(last or first)
    if not 1 <= low <= high <= 65535:
        raise wrong(f"{shown(value)} is not a port", "Ports go from 1 to 65535.")
    if high - low >= MOST_IN_RANGE:
        raise wrong(f"{shown(value)} holds too many ports", f"{MOST_IN_RANGE} are the most.")
    return tuple(range(low, high + 1))


def read_port(value: Any) -> Any:
    """The short form as the long one; the long form as it is."""
    if isinstance(value, dict):
        return value
    text = as_text(value)
    match = _SHORT.fullmatch(text.strip()) if text else None
    if match is None:
        raise wrong(f"{shown(value)} is not a port", _HOW)
    written = {"host_ip": (match["ip"] or "").strip("[]"), **match.groupdict()}
    keys = ("target", "published", "protocol", "host_ip")
    return {key: written[key] for key in keys if written[key]}


def read_address(value: Any) -> str:
    """An address of the host, version 4 or 6."""
    text = read_text(value)
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise wrong(f"{shown(value)} is not an address", "Write one such as 127.0.0.1.") from None
    return text


Span = Annotated[tuple[int, ...], Written(read_span, ({"type": ["integer", "string"]},))]


class PortEntry(Part):
    """A published port in its long form."""

    title = "A service's `ports`, long form"

    target: Span = Field(description="Port in the container.")
    published: Span | None = Field(None, description="Host port; without it the engine picks one.")
    protocol: Annotated[Text, only("tcp", "udp")] = Field("tcp", description="`tcp` or `udp`.")
    host_ip: Annotated[str, Written(read_address, (STRING,))] = Field(
        "0.0.0.0", description="Host address to listen on."
    )
    mode: Annotated[Text, only("host", "ingress")] = Field(
        "host",
        description="`host`; `ingress` is accepted with a warning: Cube publishes on the node that"
        " runs the task, there is no routing mesh.",
    )
    name: Annotated[Any, Ignored("It has no effect.")] = Field(None, description="A label.")
    app_protocol: Annotated[Any, Ignored("It has no effect.")] = Field(
        None, description="A hint for tools."
    )

    @model_validator(mode="after")
    def _ranges_fit(self) -> PortEntry:
        if self.published and len(self.published) != len(self.target):
            raise wrong("host and container ports are not equally many", "Make the ranges equal.")
        return self


PortForm = Annotated[PortEntry, Written(read_port, ({"type": "integer"}, STRING), True)]
