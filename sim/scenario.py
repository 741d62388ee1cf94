"""A whole experiment as one value, and as a TOML file: read with file and line, written in full.

Named scenarios ship in `sim/scenarios/`. Knows nothing of policies beyond their text.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, Field, ValidationError

from sim.cluster import Cluster
from sim.description import Description, Positive, Seconds, Share, Whole, told
from sim.errors import InputError, did_you_mean
from sim.machine import Failures, Machine
from sim.workload import Workload

SCENARIOS = Path(__file__).parent / "scenarios"
MAX_BYTES = 1 << 20

Place = tuple[str | int, ...]
Parsed = TypeVar("Parsed", bound=BaseModel)


class Control(Description):
    """How the control plane is set up."""

    network_seconds: Annotated[float, Field(strict=True, ge=0, le=10)] = 0.0005  # per message
    decision_seconds: Annotated[float, Field(strict=True, ge=0, le=2)] = 0.0  # per round
    reports_per_second: Positive = 50.0  # whole reports of all nodes together
    queue: Literal["bypass", "fifo"] = "bypass"  # may others pass a task that does not fit?


class Scenario(Description):
    """What is simulated. `run` takes the first policy and seed, `compare` all of them."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")] = "steady"
    policies: Annotated[tuple[str, ...], Field(min_length=1)] = ("epvm",)
    baseline: str = ""  # the policy that others are compared with; empty: the last one
    seeds: Annotated[tuple[Whole, ...], Field(min_length=1)] = (1,)
    metrics: tuple[str, ...] = ()  # of your own, as package.module:name
    warm_up: Share = 0.5  # of the time in which tasks arrive; left out of the figures
    horizon_seconds: Seconds = 0.0  # virtual; 0: until every task is final
    cluster: Cluster = Cluster()
    workload: Workload = Workload()
    machine: Machine = Machine()
    failures: Failures | None = None  # of machines; None: they never fail
    control: Control = Control()

    @property
    def told(self) -> str:
        """Its size, for people."""
        offered = f", offered load {self.workload.load:g}" if self.workload.load else ""
        return f"{self.cluster.count:,} nodes, {self.workload.tasks:,} tasks{offered}"


def named() -> list[str]:
    """Names of the scenarios that ship."""
    return sorted(path.stem for path in SCENARIOS.glob("*.toml"))


def read(source: str | Path) -> Scenario:
    """The scenario of that name, or in that file.

    Raises:
        InputError: there is none, or it is wrong; the text has file and line.
    """
    path = find(source, SCENARIOS)
    return parse(text_of(path), str(path))


def find(source: str | Path, folder: Path) -> Path:
    """The file of that name, or the scenario of that name in `folder`.

    Raises:
        InputError: there is none.
    """
    path = Path(source)
    if path.suffix != ".toml" and not path.exists():
        path = folder / f"{source}.toml"
        if not path.exists():
            names = sorted(file.stem for file in folder.glob("*.toml"))
            remedy = f"{did_you_mean(str(source), names)} A file's name ends in .toml."
            raise InputError(f"there is no scenario '{source}'", remedy)
    return path


def text_of(path: Path) -> str:
    """What is written in a scenario's file.

    Raises:
        InputError: it cannot be read, is no text, or is far too long.
    """
    try:
        data = path.read_bytes()
        text = data.decode()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", "Name a file that can be read.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: this is not text", "Name a TOML file in UTF-8.") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: a scenario is at most {MAX_BYTES >> 20} MiB")
    return text


def parse(text: str, file: str = "scenario") -> Scenario:
    """The scenario that `text` writes down; `file` stands in errors.

    Raises:
        InputError: with all that is wrong, one finding per line.
    """
    return parse_as(Scenario, text, file)


def parse_as(model: type[Parsed], text: str, file: str) -> Parsed:
    """The description of that kind that `text` writes down; `file` stands in errors.

    Raises:
        InputError: with all that is wrong, one finding per line.
    """
    try:
        return model.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        place = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error), re.DOTALL)
        where = f"{place[2]}:{place[3]}" if place else len(text.splitlines()) or 1
        what = place[1] if place else str(error).removesuffix(" (at end of document)")
        raise InputError(f"{file}:{where}: {what}") from None
    except ValidationError as error:
        lines = _lines(text)
        found = sorted((_line(lines, e["loc"]), _finding(model, e)) for e in error.errors())
        raise InputError("\n".join(f"{file}:{line}: {what}" for line, what in found)) from None


def line_of(source: str | Path, *place: str) -> str:
    """`file:line` at which a scenario says that, for errors that only others can find."""
    path = find(source, SCENARIOS)
    return f"{path}:{_line(_lines(text_of(path)), place)}"


def _finding(whole: type[BaseModel], error: Any) -> str:
    if error["type"] != "extra_forbidden":
        return told(error)
    *parents, key = error["loc"]
    known = _model(whole, tuple(parents)).model_fields
    return f"unknown key '{key}'. {did_you_mean(key, known)}"


def _model(whole: type[BaseModel], place: Place) -> type[BaseModel]:
    """The description at `place` of a whole one."""
    model: Any = whole
    for part in place:
        if isinstance(part, str):
            kind = model.model_fields[part].annotation
            model = next((k for k in get_args(kind) if isinstance(k, type)), kind)
    found: type[BaseModel] = model
    return found


def _lines(text: str) -> dict[Place, int]:
    """Line of every table header and key that stands at the start of a line."""
    lines: dict[Place, int] = {(): 1}
    counts: dict[Place, int] = {}
    table: Place = ()
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"\s*\[\[\s*([\w.\s-]+?)\s*\]\]", line):
            name: Place = tuple(part.strip() for part in match[1].split("."))
            counts[name] = counts.get(name, -1) + 1
            table = (*name, counts[name])
        elif match := re.match(r"\s*\[\s*([\w.\s-]+?)\s*\]", line):
            table = tuple(part.strip() for part in match[1].split("."))
        elif match := re.match(r"\s*([\w-]+(?:\s*\.\s*[\w-]+)*)\s*=", line):
            lines.setdefault((*table, *(p.strip() for p in match[1].split("."))), number)
            continue
        else:
            continue
        lines.setdefault(table, number)
    return lines


def _line(lines: dict[Place, int], place: Place) -> int:
    """Where `place` begins, or else what is around it."""
    while True:
        found = [line for p, line in lines.items() if p[: len(place)] == place]
        if found:
            return min(found)
        place = place[:-1]


def written(scenario: Scenario) -> str:
    """The scenario as TOML with every value, so that it replays as it is."""
    return "\n".join(_tables(scenario.model_dump(exclude_none=True), "")).lstrip("\n") + "\n"


def _tables(values: dict[str, Any], name: str) -> Iterator[str]:
    nested = {k: v for k, v in values.items() if _is_table(v)}
    yield from (f"{k} = {_value(v)}" for k, v in values.items() if k not in nested)
    for key, value in nested.items():
        full = f"{name}.{key}" if name else key
        for entry in [value] if isinstance(value, dict) else value:
            yield f"\n[{full}]" if isinstance(value, dict) else f"\n[[{full}]]"
            yield from _tables(entry, full)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, tuple | list) and bool(value) and isinstance(value[0], dict)
    )


def _value(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str():
            return _quoted(value)
        case _:
            return f"[{', '.join(map(_value, value))}]"


def _quoted(text: str) -> str:
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\u{ord(m[0]):04x}", plain) + '"'
