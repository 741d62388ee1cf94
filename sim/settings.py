"""`--set workload.load=0.9`: any value of a scenario by its path, and back to a command.

A path is what the TOML file would say: keys with dots between, and a number for an entry of a
list. `nodes` stands for the size of the whole cluster, in the scenario's proportions.
"""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from sim.description import told
from sim.errors import InputError, did_you_mean
from sim.scenario import Scenario, named, read

NODES = "nodes"
APART = ("policies", "seeds", "baseline")  # are not set, but have options of their own


def setting(text: str) -> tuple[str, Any]:
    """Read `PATH=VALUE`, the value as TOML has it; what is none is taken as text.

    Raises:
        InputError: there is no `=`.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise InputError(f"'{text}' sets nothing", "Write it as in workload.load=0.9.")
    return path.strip(), _value(value.strip())


def settings(text: str) -> tuple[str, tuple[Any, ...]]:
    """Read `PATH=VALUE,VALUE,...`; TOML's arrays and strings keep their commas.

    Raises:
        InputError: there is no `=`, or no value.
    """
    path, equals, values = text.partition("=")
    if not equals or not path.strip() or not values.strip():
        remedy = "Write it as in workload.load=0.7,0.8,0.9."
        raise InputError(f"'{text}' names no values", remedy)
    try:
        found = tomllib.loads(f"x = [{values}]")["x"]
    except tomllib.TOMLDecodeError:
        found = [_value(part.strip()) for part in values.split(",")]
    return path.strip(), tuple(found)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def changed(scenario: Scenario, values: Mapping[str, Any]) -> Scenario:
    """The scenario with these values, checked again.

    Raises:
        InputError: there is no such parameter, or the value makes no sense.
    """
    whole = scenario.model_dump()
    for path, value in values.items():
        if path != NODES:
            _put(whole, path, value)
    try:
        found = Scenario.model_validate(whole)
    except ValidationError as error:
        raise InputError("; ".join(map(told, error.errors()))) from None
    if NODES in values:
        return _with_nodes(found, values[NODES])
    return found


def _with_nodes(scenario: Scenario, nodes: Any) -> Scenario:
    if not isinstance(nodes, int) or nodes < 1:
        raise InputError(f"nodes: {nodes!r} is no number of nodes", "Write it as in nodes=500.")
    resized: Scenario = scenario.but(cluster=scenario.cluster.scaled(nodes))
    return resized


def _put(whole: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    place: Any = whole
    for done, part in enumerate(parents, 1):
        found = _within(place, part, path, whole)
        if found is None:  # a table that was left out: whether it has such a key is checked later
            found = place[part] = {}
            for deeper in parents[done:]:
                found[deeper] = found = {}
            found[last] = value
            return
        place = found
    _within(place, last, path, whole)
    if isinstance(place, dict):
        place[last] = value
    else:
        raise InputError(f"{path} is a whole entry of a list", "Set one of its keys.")


def _within(place: Any, part: str, path: str, whole: dict[str, Any]) -> Any:
    if isinstance(place, dict) and part in place:
        if isinstance(place[part], tuple):
            place[part] = list(place[part])
        return place[part]
    if isinstance(place, list) and part.isdecimal() and int(part) < len(place):
        return place[int(part)]
    known = [NODES, *(leaf for leaf, _ in _leaves(whole, ""))]
    raise InputError(f"a scenario has no '{path}'", did_you_mean(path, known))


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def differences(scenario: Scenario, base: Scenario) -> dict[str, Any]:
    """What must be set to come from `base` to `scenario`, by path."""
    before = dict(_leaves(base.model_dump(), ""))
    return {
        path: value
        for path, value in _leaves(scenario.model_dump(), "")
        if path not in APART and value is not None and before.get(path) != value
    }


def replay_command(scenario: Scenario) -> str:
    """The command that runs the first policy with the first seed of that scenario."""
    base = scenario.name if scenario.name in named() else "steady"
    words = ["python", "-m", "sim", "run", "--scenario", base]
    for path, value in differences(scenario, read(base)).items():
        words += ["--set", f"{path}={inline(value)}"]
    words += ["--policy", scenario.policies[0], "--seed", str(scenario.seeds[0])]
    return shlex.join(words)


def inline(value: Any) -> str:
    """A value as TOML on one line."""
    match value:
        case str():
            return json.dumps(value)
        case bool():
            return str(value).lower()
        case dict():
            return "{" + ", ".join(f"{k} = {inline(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(inline, value)) + "]"
        case _:
            return repr(value)
