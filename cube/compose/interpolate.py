"""Variables in text: ${VAR}, ${VAR:-x}, ${VAR-x}, ${VAR:?msg}, ${VAR?msg}, ${VAR:+x}, $VAR, $$.

The rules are Compose's, nested defaults included. Values come from the mapping that is handed in;
a value is never looked into again, and nothing here reads the environment or a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

MAX_NESTING = 20

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")
_DOLLARS = "Write $$ for a dollar sign."


class Fault(NamedTuple):
    """What is wrong with a variable, and what to do."""

    text: str
    remedy: str


class Substituted(NamedTuple):
    """Text with its variables put in, and what was found on the way."""

    text: str
    faults: tuple[Fault, ...]
    unset: tuple[str, ...]  # names without a value or a default, taken as empty


def interpolate(text: str, variables: Mapping[str, str]) -> Substituted:
    """Put the values of `variables` into `text`."""
    template = _Template(variables)
    result = template.fill(text, 0)
    return Substituted(result, tuple(template.faults), tuple(template.unset))


class _Template:
    """One text being filled; collects faults and unset names."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = variables
        self.faults: list[Fault] = []
        self.unset: list[str] = []

    def fill(self, text: str, depth: int) -> str:
        """The text with every variable in it replaced."""
        parts: list[str] = []
        at = 0
        while (dollar := text.find("$", at)) >= 0:
            parts.append(text[at:dollar])
            value, at = self._one(text, dollar + 1, depth)
            parts.append(value)
        parts.append(text[at:])
        return "".join(parts)

    def _one(self, text: str, at: int, depth: int) -> tuple[str, int]:
        """The value of what follows a dollar sign, and where the text goes on."""
        if text.startswith("$", at):
            return "$", at + 1
        if text.startswith("{", at):
            return self._braced(text, at + 1, depth)
        name = _NAME.match(text, at)
        if name is None:
            self._fault(f"'{text[at - 1 : at + 5]}' is not a variable", _DOLLARS)
            return "", at
        return self._plain(name.group()), name.end()

    def _braced(self, text: str, at: int, depth: int) -> tuple[str, int]:
        end = _closing_brace(text, at)
        name = _NAME.match(text, at)
        if end < 0:
            self._fault(f"'{text[at - 2 : at + 20]}' lacks its closing brace", _DOLLARS)
            return "", len(text)
        if name is None:
            self._fault(f"'{text[at - 2 : end + 1][:40]}' is not a variable", _DOLLARS)
            return "", end + 1
        if name.end() == end:
            return self._plain(name.group()), end + 1
        operator = _OPERATOR.match(text, name.end())
        if operator is None or depth >= MAX_NESTING:
            written = text[at - 2 : end + 1][:40]
            self._fault(f"'{written}' is not understood", "Write ${NAME}, or ${NAME:-default}.")
            return "", end + 1
        rest = text[operator.end() : end]
        return self._operated(name.group(), operator.group(), rest, depth), end + 1

    def _operated(self, name: str, operator: str, rest: str, depth: int) -> str:
        value = self.variables.get(name)
        present = bool(value) if operator.startswith(":") else value is not None
        match operator[-1]:
            case "-":
                return (value or "") if present else self.fill(rest, depth + 1)
            case "+":
                return self.fill(rest, depth + 1) if present else ""
        if not present:
            why = self.fill(rest, depth + 1)
            lacks = "is empty" if value == "" else "is not set"
            self._fault(
                f"variable {name} {lacks}" + (f": {why}" if why else ""),
                f"Set {name} in the environment or in .env.",
            )
        return value or ""

    def _plain(self, name: str) -> str:
        if name not in self.variables:
            self.unset.append(name)
        return self.variables.get(name, "")

    def _fault(self, text: str, remedy: str) -> None:
        self.faults.append(Fault(text, remedy))


def _closing_brace(text: str, at: int) -> int:
    """Where the brace that was opened before `at` is closed; -1 if it is not."""
    depth = 1
    while at < len(text):
        if text.startswith("${", at):
            depth += 1
            at += 2
            continue
        if text.startswith("$$", at):
            at += 2
            continue
        if text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    return -1
