"""YAML text -> a tree of nodes that know their line and column.

Owns syntax: bad YAML, tabs, tags, anchors and aliases, and how much a file may hold. What scalars
mean, merges and duplicate keys are `document`'s. It builds no Python objects from tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import yaml

from cube.compose.problem import Problem, SpecError

MAX_DEPTH = 50
MAX_VALUES = 100_000  # counted with every alias expanded

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is ten times as fast
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_PLAIN_TAGS = {None, "!", "tag:yaml.org,2002:str"}
_COLLECTION_TAGS = {None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


@dataclass(slots=True)
class Scalar:
    """A single value; `plain` ones (unquoted, untagged) may mean a number, a boolean or nothing."""

    line: int
    column: int
    text: str
    plain: bool
    size: int = 1


@dataclass(slots=True)
class Sequence:
    """A list."""

    line: int
    column: int
    items: list[Node] = field(default_factory=list)
    size: int = 1  # values in it, itself included, with every alias expanded


@dataclass(slots=True)
class Mapping:
    """Keys and values as written: duplicates and merges are still in it."""

    line: int
    column: int
    entries: list[tuple[Node, Node]] = field(default_factory=list)
    size: int = 1


Node = Scalar | Sequence | Mapping


def parse(text: str, file: str) -> Mapping:
    """The one document in `text`, whose top is a mapping.

    Raises:
        SpecError: with the one syntax problem that ends the reading.
    """
    junk = _UNPRINTABLE.search(text)
    if junk:
        line = text.count("\n", 0, junk.start()) + 1
        column = junk.start() - text.rfind("\n", 0, junk.start())
        what = f"character U+{ord(junk.group()):04X} cannot be part of a YAML file"
        raise SpecError([Problem(file, line, column, what, "Is this really a job file?")])
    try:
        top = _Composer(yaml.parse(text, Loader=_PARSER), file).document()
    except yaml.MarkedYAMLError as error:
        raise SpecError([_syntax_problem(error, text, file)]) from None
    if not isinstance(top, Mapping):
        what = "this is a list" if isinstance(top, Sequence) else "this is a single value"
        remedy = "Begin with keys such as `services:`."
        raise SpecError(
            [Problem(file, top.line, top.column, f"{what}, where a job file is a mapping", remedy)]
        )
    return top


class _Composer:
    """Builds the tree from parser events; every alias shares its anchor's node."""

    def __init__(self, events: Iterator[yaml.Event], file: str) -> None:
        self.events = events
        self.file = file
        self.anchors: dict[str, Node | None] = {}  # None while the anchored value is still open

    def document(self) -> Node:
        next(self.events)  # the stream starts
        event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            raise SpecError([Problem(self.file, 1, 1, "the file is empty", "Write `services:`.")])
        top = self.node(next(self.events), 1)
        next(self.events)  # the document ends
        after = next(self.events)
        if not isinstance(after, yaml.StreamEndEvent):
            self.fail(after, "a second document begins here", "Keep one job in a file.")
        return top

    def node(self, event: yaml.Event, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self.fail(event, f"more than {MAX_DEPTH} levels lie within one another", "Flatten it.")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)
        assert isinstance(event, yaml.NodeEvent)
        anchor: str | None = event.anchor
        if anchor is not None:
            self.anchors[anchor] = None
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = self.scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self.sequence(event, depth)
        else:
            node = self.mapping(event, depth)
        if anchor is not None:
            self.anchors[anchor] = node
        return node

    def scalar(self, event: yaml.ScalarEvent) -> Scalar:
        self.check_tag(event, _PLAIN_TAGS)
        plain = event.implicit[0] and event.tag is None
        return Scalar(*_place(event), event.value, plain)

    def sequence(self, event: yaml.Event, depth: int) -> Sequence:
        self.check_tag(event, _COLLECTION_TAGS)
        result = Sequence(*_place(event))
        while not isinstance(item := next(self.events), yaml.SequenceEndEvent):
            child = self.node(item, depth + 1)
            result.items.append(child)
            self.grow(result, child.size, item)
        return result

    def mapping(self, event: yaml.Event, depth: int) -> Mapping:
        self.check_tag(event, _COLLECTION_TAGS)
        result = Mapping(*_place(event))
        while not isinstance(item := next(self.events), yaml.MappingEndEvent):
            key = self.node(item, depth + 1)
            value = self.node(next(self.events), depth + 1)
            result.entries.append((key, value))
            self.grow(result, key.size + value.size, item)
        return result

    def grow(self, node: Sequence | Mapping, by: int, event: yaml.Event) -> None:
        node.size += by
        if node.size > MAX_VALUES:
            what = f"the file holds more than {MAX_VALUES:,} values, counting aliases"
            self.fail(event, what, "Split it into several jobs.")

    def alias(self, event: yaml.AliasEvent) -> Node:
        name = str(event.anchor)
        if name not in self.anchors:
            self.fail(event, f"alias `*{name}` has no anchor above it", f"Write `&{name}` first.")
        node = self.anchors[name]
        if node is None:
            self.fail(event, f"alias `*{name}` lies within its own anchor", "Take it out.")
        return node

    def check_tag(self, event: yaml.Event, allowed: set[str | None]) -> None:
        tag = getattr(event, "tag", None)
        if tag not in allowed:
            shown = str(tag).replace("tag:yaml.org,2002:", "!!")
            self.fail(event, f"tag `{shown}` is not supported by Cube", "Remove it.")

    def fail(self, event: yaml.Event, text: str, remedy: str) -> NoReturn:
        raise SpecError([Problem(self.file, *_place(event), text, remedy)])


def _place(event: yaml.Event) -> tuple[int, int]:
    """Line and column from 1."""
    mark = event.start_mark
    assert mark is not None
    return mark.line + 1, mark.column + 1


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    """The parser's complaint in words that a writer of files can use."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.splitlines() or [""]
    here = lines[line][column : column + 1] if line < len(lines) else ""
    what, remedy = str(error.problem or error.context), "Check indentation, quotes and brackets."
    if here == "\t":
        what, remedy = "a tab stands where only spaces may", "Indent with spaces."
    elif "cannot start any token" in what:
        what, remedy = f"a value cannot begin with '{here}'", "Put it in quotes."
    elif "mapping values are not allowed" in what:
        what = "a colon is not allowed here"
        remedy = "Check the indentation; put text that holds ': ' in quotes."
    elif "unexpected end of stream" in what:
        what, remedy = "the file ends inside a quoted text", "Close the quote."
    elif error.context:
        what = f"{error.context}: {what}"
    return Problem(file, line + 1, column + 1, f"this is not valid YAML: {what}", remedy)
