"""What runs in a service's container: environment, health, dependencies, limits of the process."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cube.compose.part import Part, Refused
from cube.compose.scalars import as_text, shown
from cube.compose.written import (
    INTEGER,
    STRING,
    STRINGS,
    Flag,
    Pairs,
    Positive,
    PositiveSeconds,
    Seconds,
    Text,
    Written,
    read_flag,
    read_list,
    read_pairs,
    read_text,
    read_value,
    read_whole,
    wrong,
)

_DEVICE = re.compile(r"/[^:]*(:/[^:]*)?(:[rwm]{1,3})?")
_SIGNAL = re.compile(r"(SIG)?[A-Z][A-Z0-9+-]{1,12}|\d{1,2}")
_RESTART = re.compile(r"no|always|unless-stopped|on-failure(:\d{1,6})?")
_PATH = re.compile(r"/[!-~]{0,1999}")
_HTTP = re.compile(rf":?(?P<port>\d{{1,5}})(?P<path>{_PATH.pattern})?")
RESERVED_LABELS = "cube."


def read_health_test(value: Any) -> Any:
    """("NONE",), ("CMD", ...) or ("CMD-SHELL", text); text alone is for the shell."""
    if not isinstance(value, list):
        text = read_value(value)
        return ("NONE",) if text == "NONE" else ("CMD-SHELL", text)
    words = tuple(read_value(item) for item in value)
    kind = words[0] if words else ""
    if (
        (kind == "NONE" and len(words) == 1)
        or (kind == "CMD" and len(words) > 1)
        or (kind == "CMD-SHELL" and len(words) == 2)
    ):
        return words
    remedy = "Write [CMD, program, argument…], [CMD-SHELL, 'text'] or [NONE]."
    raise wrong("this is no health test", remedy)


class Health(Part):
    """`healthcheck` of a service."""

    title = "`healthcheck`"

    test: Annotated[tuple[str, ...], Written(read_health_test, (STRING, STRINGS))] = Field(
        (), description="`[CMD, …]`, `[CMD-SHELL, …]`, `[NONE]`, or text for the shell."
    )
    interval: PositiveSeconds = Field(30.0, description="Between two tests; 30s by default.")
    timeout: PositiveSeconds = Field(30.0, description="A slower test fails; 30s by default.")
    retries: Positive = Field(3, description="So many failures in a row: unhealthy.")
    start_period: Seconds = Field(0.0, description="Failures do not count before.")
    disable: Flag = Field(False, description="No health check, not even the image's own.")
    start_interval: Annotated[Any, Refused("Use `interval`.")] = None

    @model_validator(mode="after")
    def _has_test(self) -> Health:
        if not (self.test or self.disable):
            raise wrong("`test` is missing", "Write `test`, or `disable: true`.")
        return self

    @property
    def disabled(self) -> bool:
        """Is no test to be run?"""
        return self.disable or self.test == ("NONE",)


def read_port_number(value: Any) -> int:
    """A port of the container: `80` or `":80"`."""
    text = read_value(value)
    if re.fullmatch(r":?\d{1,5}", text) and 1 <= int(text.removeprefix(":")) <= 65535:
        return int(text.removeprefix(":"))
    raise wrong(f"{shown(value)} is not a port", "Write a number from 1 to 65535.")


def read_http(value: Any) -> Any:
    """`":80/health"`, the port and the path to ask for, as a mapping; a mapping as it is."""
    if isinstance(value, dict):
        return value
    match = _HTTP.fullmatch(read_value(value))
    if match is None:
        remedy = "Write the container's port and a path, as in ':80/health'."
        raise wrong(f"{shown(value)} cannot be asked for", remedy)
    return {"port": match["port"], "path": match["path"] or "/"}


def read_path(value: Any) -> str:
    """What follows the port in a URL."""
    text = read_text(value)
    if _PATH.fullmatch(text) is None:
        remedy = "Begin it with '/', and write no blanks."
        raise wrong(f"{shown(value)} is not a path", remedy)
    return text


PortNumber = Annotated[int, Written(read_port_number, ({"type": "integer"}, STRING))]


class HttpCheck(Part):
    """`x-cube.check.http` in its long form."""

    title = "`x-cube.check.http`, long form"

    port: PortNumber = Field(description="Port in the container.")
    path: Annotated[str, Written(read_path, (STRING,))] = Field(
        "/", description="Asked for with GET; an answer of 200 to 399 passes."
    )


class Check(Part):
    """`x-cube.check` of a service."""

    title = "`x-cube.check`"

    http: Annotated[HttpCheck, Written(read_http, (STRING,), True)] | None = Field(
        None, description="`:80/health`, or `{port, path}`."
    )
    tcp: PortNumber | None = Field(None, description="Port in the container that must answer.")
    interval: PositiveSeconds = Field(10.0, description="Between two tests; 10s by default.")
    timeout: PositiveSeconds = Field(2.0, description="A slower answer fails; 2s by default.")
    retries: Positive = Field(3, description="So many failures in a row: unhealthy.")
    start_period: Seconds = Field(0.0, description="Failures do not count before.")

    @model_validator(mode="after")
    def _asks_one(self) -> Check:
        if (self.http is None) is (self.tcp is None):
            what = "neither `http` nor `tcp`" if self.http is None else "both `http` and `tcp`"
            raise wrong(f"it has {what}", "Write one of them, as in `http: ':80/health'`.")
        return self


def _read_expected(expected: bool) -> Written:
    """A boolean that Cube supports with one value only."""

    def read(value: Any) -> bool:
        if read_flag(value) is not expected:
            raise wrong(f"{shown(value)} is not supported by Cube", "Remove it.")
        return expected

    return Written(read, ({"const": expected},))


class DependsExtras(Part):
    """`x-cube` of a dependency."""

    title = "`x-cube` of a dependency"

    order_only: Flag = Field(
        False, description="Only the order matters: it need not be reached from another machine."
    )


class DependsEntry(Part):
    """An entry of `depends_on` in its long form."""

    title = "`depends_on`, long form"

    condition: Literal["service_started", "service_healthy", "service_completed_successfully"] = (
        Field(
            "service_started",
            description="`service_started`, `service_healthy` or `service_completed_successfully`.",
        )
    )
    restart: Annotated[bool, _read_expected(False)] = Field(False, description="Only `false`.")
    required: Annotated[bool, _read_expected(True)] = Field(True, description="Only `true`.")
    cube: DependsExtras = Field(DependsExtras(), alias="x-cube", description="See below.")


def read_depends(value: Any) -> Any:
    """A list of services, or a mapping to conditions."""
    if not isinstance(value, list):
        return value
    names = [read_text(item) for item in value]
    for name, times in Counter(names).items():
        if times > 1:
            raise wrong(f"'{name[:60]}' is written twice", "Keep one of them.")
    return {name: {} for name in names}


class EnvFile(Part):
    """An entry of `env_file` in its long form."""

    title = "`env_file`, long form"

    path: Text = Field(description="Relative to the job file. It is read at submit.")
    required: Flag = Field(True, description="With `false` the file may be missing.")
    format: Annotated[Any, Refused("Remove it; quotes and variables are understood.")] = None


EnvFileForm = Annotated[
    EnvFile, Written(lambda v: v if isinstance(v, dict) else {"path": v}, (STRING,), True)
]
EnvFiles = Annotated[
    tuple[EnvFileForm, ...],
    Written(read_list, (STRING,), True),
]
Depends = Annotated[dict[str, DependsEntry], Written(read_depends, (STRINGS,), True)]


class UlimitEntry(Part):
    """A value of `ulimits` in its long form."""

    title = "`ulimits`, long form"

    soft: Annotated[int, Field(ge=-1), Written(read_whole, (INTEGER,))] = Field(
        description="-1 is unlimited."
    )
    hard: Annotated[int, Field(ge=-1), Written(read_whole, (INTEGER,))] = Field(
        description="-1 is unlimited."
    )

    @model_validator(mode="after")
    def _ordered(self) -> UlimitEntry:
        if self.hard != -1 and not 0 <= self.soft <= self.hard:
            raise wrong(f"soft limit {self.soft} is above hard limit {self.hard}", "Lower it.")
        return self


UlimitForm = Annotated[
    UlimitEntry,
    Written(lambda v: v if isinstance(v, dict) else {"soft": v, "hard": v}, (INTEGER,), True),
]


class Logging(Part):
    """`logging` of a service."""

    title = "`logging`"

    driver: Text | None = Field(None, description="A log driver of the engine.")
    options: Pairs = Field({}, description="Its options. Rotation is on by default (10 MB x 3).")


def read_labels(value: Any) -> Any:
    """Labels; Cube keeps its own prefix to itself."""
    pairs = read_pairs(value)
    for name in pairs:
        if name.startswith(RESERVED_LABELS):
            raise wrong(f"label '{name[:60]}' belongs to Cube", "Choose another prefix.")
    return pairs


def read_hosts(value: Any) -> dict[str, str]:
    """`host:address` or `host=address` items, or a mapping, as host -> address."""
    if isinstance(value, dict):
        return {host: read_text(address) for host, address in value.items()}
    hosts: dict[str, str] = {}
    for item in read_list(value):
        host, mark, address = re.sub(":", "=", read_text(item), count=1).partition("=")
        if "=" in read_text(item):
            host, mark, address = read_text(item).partition("=")
        if not (host and mark and address):
            raise wrong(f"{shown(item)} names no host and address", "Write 'host:address'.")
        hosts[host] = address.strip("[]")
    return hosts


def read_device(value: Any) -> str:
    """A device file, as `/dev/a`, `/dev/a:/dev/b` or with `:rwm`."""
    text = read_text(value)
    if _DEVICE.fullmatch(text) is None:
        raise wrong(f"{shown(value)} is not a device", "Write '/dev/host:/dev/container:rwm'.")
    return text


def read_signal(value: Any) -> str:
    """A signal's name or number."""
    text = read_value(value)
    if _SIGNAL.fullmatch(text) is None:
        raise wrong(f"{shown(value)} is not a signal", "Write a name such as SIGTERM.")
    return text


def read_restart(value: Any) -> str:
    """One of Compose's four words for restarting."""
    text = as_text(value) or ""
    if _RESTART.fullmatch(text) is None:
        remedy = "Write 'no', always, unless-stopped, on-failure or on-failure:3."
        raise wrong(f"{shown(value)} is not a way to restart", remedy)
    return text


def read_pull_policy(value: Any) -> str:
    """When the image is pulled."""
    text = read_text(value)
    if text not in ("missing", "if_not_present", "always", "never"):
        remedy = "Write missing, always or never."
        raise wrong(f"{shown(value)} is not supported by Cube", remedy)
    return "missing" if text == "if_not_present" else text
