"""Files of NAME=value lines: the `.env` beside a job file, and what `env_file` names.

Unquoted and double-quoted values may hold variables and comments; single-quoted ones are literal;
quoted ones may span lines. This reads text that it is given, never a file.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping

from cube.compose.interpolate import interpolate
from cube.compose.problem import Problem

_BLANK = re.compile(r"(?:\s|#[^\n]*(?:\n|$))+")
_ENTRY = re.compile(r"(?:export[ \t]+)?([^\s=#'\"]+)[ \t]*(=[ \t]*)?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_SINGLE = re.compile(r"'([^']*)'[ \t]*(?:#[^\n]*)?(?=\n|$)")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t]*(?:#[^\n]*)?(?=\n|$)', re.DOTALL)
_BARE = re.compile(r"[^\n]*")
_COMMENT = re.compile(r"(?:^|[ \t])#.*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def read_variables(
    text: str, file: str, environ: Mapping[str, str]
) -> tuple[dict[str, str], list[Problem]]:
    """The variables of such a file, and what is wrong with it.

    A line that is a name alone takes its value from `environ`, if it is there. Variables inside
    values come from `environ`, then from lines above.
    """
    found: dict[str, str] = {}
    problems: list[Problem] = []
    scope = ChainMap(dict(environ), found)
    text = text.replace("\r\n", "\n")
    at, counted, line = _skip(text, 0), 0, 1
    while at < len(text):
        line += text.count("\n", counted, at)
        counted = at
        entry = _ENTRY.match(text, at)
        if entry is None or _NAME.fullmatch(entry.group(1)) is None:
            problems.append(_bad_line(file, line, "this is not NAME=value"))
            at = _skip(text, _line_end(text, at))
            continue
        name, has_value = entry.group(1), entry.group(2) is not None
        if not has_value:
            at = _line_end(text, entry.end())
            if name in environ:
                found[name] = environ[name]
        else:
            value, at, literal = _value(text, entry.end())
            if value is None:
                problems.append(_bad_line(file, line, f"the quote of {name} is not closed"))
                return found, problems
            found[name] = value if literal else _fill(value, scope, file, line, problems)
        at = _skip(text, at)
    return found, problems


def _value(text: str, at: int) -> tuple[str | None, int, bool]:
    """(value or None if a quote stays open, where the text goes on, may it hold no variables)."""
    for quote, pattern in (("'", _SINGLE), ('"', _DOUBLE)):
        if text.startswith(quote, at):
            match = pattern.match(text, at)
            if match is None:
                return None, at, True
            if quote == "'":
                return match.group(1), match.end(), True
            return _ESCAPE.sub(_unescape, match.group(1)), match.end(), False
    bare = _BARE.match(text, at)
    assert bare is not None
    return _COMMENT.sub("", bare.group()).strip(), bare.end(), False


def _unescape(match: re.Match[str]) -> str:
    """A dollar sign stays protected, for the variables that are put in afterwards."""
    character = match.group(1)
    return "$$" if character == "$" else _ESCAPES.get(character, character)


def _fill(
    value: str, scope: Mapping[str, str], file: str, line: int, problems: list[Problem]
) -> str:
    result = interpolate(value, scope)
    problems.extend(Problem(file, line, 1, fault.text, fault.remedy) for fault in result.faults)
    return result.text


def _bad_line(file: str, line: int, text: str) -> Problem:
    return Problem(file, line, 1, text, "Write one NAME=value a line; quote what spans lines.")


def _skip(text: str, at: int) -> int:
    """Past blanks, empty lines and comments."""
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end
