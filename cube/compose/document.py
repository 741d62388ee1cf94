"""The tree of nodes -> plain mappings, lists and values that still know where they stand.

Owns merges (`<<`), duplicate keys, variables in values, and finding the line and column of a path
such as ("services", "web", "ports", 0). Which keys exist is the models' business.
"""

from __future__ import annotations

from collections.abc import Mapping as Variables
from dataclasses import dataclass, field
from typing import Any

from cube.compose import loader, scalars
from cube.compose.interpolate import interpolate
from cube.compose.problem import Problem

Place = tuple[int, int]  # line, column
Path = tuple[str | int, ...]


class Map(dict[str, Any]):
    """A mapping whose keys and values have places."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.keys_at: dict[str, Place] = {}
        self.values_at: dict[str, Place] = {}

    def put(self, key: str, value: Any, key_at: Place, value_at: Place) -> None:
        """Add an entry. A block collection is pointed at by its key, a value by itself."""
        self[key] = value
        self.keys_at[key] = key_at
        self.values_at[key] = key_at if isinstance(value, dict | list) else value_at


class Seq(list[Any]):
    """A list whose items have places."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.items_at: list[Place] = []


@dataclass(slots=True)
class Document:
    """A job file as data, with its findings so far."""

    file: str
    data: Map
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    cut: dict[Path, list[int]] = field(default_factory=dict)  # items that models no longer have

    def problem(self, path: Path, text: str, remedy: str = "", *, at_key: bool = False) -> Problem:
        """A finding at `path`; a path that goes deeper than the file ends where the file ends."""
        line, column = self.place(path, at_key=at_key)
        return Problem(self.file, line, column, text, remedy)

    def place(self, path: Path, *, at_key: bool = False) -> Place:
        """Where the value (or, if asked, the key) at `path` stands."""
        node: Any = self.data
        place = self.data.place
        for step in existing(node, self._uncut(path)):
            if isinstance(node, Map):
                place = (node.keys_at if at_key else node.values_at)[str(step)]
            elif isinstance(node, Seq):
                place = node.items_at[int(step)]
            node = node[step]
        return place

    def _uncut(self, path: Path) -> Path:
        """A path in what was left after cutting, as a path in the file."""
        steps: list[str | int] = []
        for step in path:
            if isinstance(step, int):
                for index in self.cut.get(tuple(steps), ()):
                    step += index <= step
            steps.append(step)
        return tuple(steps)


def existing(data: Any, path: Path) -> Path:
    """`path` as far as it exists in `data`; steps that the models added are left out."""
    found: list[str | int] = []
    for step in path:
        index = _index(data, step)
        if index is not None:
            found.append(index)
            data = data[index]
    return tuple(found)


def _index(node: Any, step: str | int) -> str | int | None:
    """The key or index of `step` in `node`; in a list, a name finds the item that bears it."""
    if isinstance(node, dict):
        return str(step) if str(step) in node else None
    if not isinstance(node, list):
        return None
    if isinstance(step, int):
        return step if step < len(node) else None
    named = (
        i for i, item in enumerate(node) if str(scalars.as_text(item)).split("=")[0].strip() == step
    )
    return next(named, None)


def read_document(text: str, file: str, variables: Variables[str, str]) -> Document:
    """The document in `text`, with `variables` put into its values.

    Raises:
        SpecError: when it is not YAML or not a mapping; other findings are in the result.
    """
    top = loader.parse(text, file)
    document = Document(file, Map((top.line, top.column)))
    builder = _Builder(document, variables)
    document.data = builder.mapping(top)
    return document


class _Builder:
    """Builds values from nodes; what several aliases share is built once."""

    def __init__(self, document: Document, variables: Variables[str, str]) -> None:
        self.document = document
        self.variables = variables
        self.unset: set[str] = set()
        self.built: dict[int, Any] = {}

    def value(self, node: loader.Node) -> Any:
        if id(node) not in self.built:
            if isinstance(node, loader.Scalar):
                built = self.scalar(node)
            elif isinstance(node, loader.Sequence):
                built = self.sequence(node)
            else:
                built = self.mapping(node)
            self.built[id(node)] = built
        return self.built[id(node)]

    def scalar(self, node: loader.Scalar) -> Any:
        if "$" not in node.text:
            return scalars.resolve(node.text) if node.plain else node.text
        text, faults, unset = interpolate(node.text, self.variables)
        for fault in faults:
            self.report(node, fault.text, fault.remedy)
        for name in dict.fromkeys(unset):
            if name not in self.unset:
                self.unset.add(name)
                remedy = f"Set it, or write ${{{name}:-default}}; it is taken as empty."
                place = (self.document.file, node.line, node.column)
                warning = Problem(*place, f"variable {name} is not set", remedy)
                self.document.warnings.append(warning)
        return scalars.filled(text, node.text)

    def sequence(self, node: loader.Sequence) -> Seq:
        result = Seq((node.line, node.column))
        for item in node.items:
            result.append(self.value(item))
            result.items_at.append((item.line, item.column))
        return result

    def mapping(self, node: loader.Mapping) -> Map:
        result = Map((node.line, node.column))
        merges: list[loader.Node] = []
        merge_keys = 0
        for key, value in node.entries:
            if not isinstance(key, loader.Scalar):
                self.report(key, "a list or mapping cannot be a key", "Write a name.")
            elif key.plain and key.text == "<<":
                merges += value.items if isinstance(value, loader.Sequence) else [value]
                merge_keys += 1
                if merge_keys > 1:
                    self.report(key, "`<<` is written twice", "Write `<<: [*one, *two]`.")
            elif key.text in result:
                first = result.keys_at[key.text][0]
                what = f"`{key.text[:60]}` is written twice; first in line {first}"
                self.report(key, what, "Keep one of them.")
            else:
                here = (key.line, key.column)
                result.put(key.text, self.value(value), here, (value.line, value.column))
        for merge in merges:
            self.merge(result, merge)
        return result

    def merge(self, result: Map, node: loader.Node) -> None:
        """Add the entries that `result` lacks; they keep the places where they are written."""
        source = self.value(node)
        if not isinstance(source, Map):
            self.report(node, "`<<` takes a mapping or a list of mappings", "Write `<<: *anchor`.")
            return
        for key, value in source.items():
            if key not in result:
                result.put(key, value, source.keys_at[key], source.values_at[key])

    def report(self, node: loader.Node, text: str, remedy: str) -> None:
        self.document.problems.append(
            Problem(self.document.file, node.line, node.column, text, remedy)
        )
