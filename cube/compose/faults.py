"""Validation errors of the models -> problems that a writer of files can use.

Owns every sentence about wrong structure. A file is validated, what is wrong is cut out, and the
rest is validated again, so that checks across services still see all that is right.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cube.compose.document import Document, Path, existing
from cube.compose.models import JobFile
from cube.compose.part import UnknownKey
from cube.compose.problem import MOST_PROBLEMS, Problem
from cube.compose.scalars import as_text, shown

MAX_SERVICES = 1000

_KEY = "[key]"  # pydantic's mark of an error in a mapping's key
_AT_KEY = {"extra_forbidden", "refused"}
_BY_KEY = {*_AT_KEY, "missing"}  # these are about the key, which need not be in the file
_CUT = object()
_MOST_CUTS = 3


def validate(document: Document) -> tuple[JobFile | None, frozenset[str]]:
    """The file's model, without what is wrong, and the services in which something is.

    What is wrong is added to the document's problems. The model is None when nothing is left.
    """
    services = document.data.get("services")
    if isinstance(services, dict) and len(services) > MAX_SERVICES:
        text = f"`services` holds more than {MAX_SERVICES}"
        remedy = "Write `replicas`, or split it into several jobs."
        document.problems.append(document.problem(("services",), text, remedy))
        return None, frozenset()
    try:
        return JobFile.model_validate(document.data), frozenset()
    except ValidationError as error:
        details = error.errors(include_url=False)
    document.problems += _problems(document, details)
    broken = {str(d["loc"][1]) for d in details if d["loc"][0] == "services" and len(d["loc"]) > 1}
    return _remainder(document, details), frozenset(broken)


def _remainder(document: Document, details: list[ErrorDetails]) -> JobFile | None:
    """The model of what is left when these errors are cut out.

    A mapping that loses a key which it needs is cut out in turn.
    """
    data: Any = document.data
    for _ in range(_MOST_CUTS):
        data = _without(data, {_cut_path(data, d) for d in details}, (), document.cut)
        services = data.get("services") if isinstance(data, dict) else None
        if not isinstance(services, dict):
            return None
        for service in services.values():
            service.setdefault("image", "left-out")
        try:
            return JobFile.model_validate(data)
        except ValidationError as error:
            details = error.errors(include_url=False)
    return None


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    words = list(known)
    if len(word) > 40 or len(words) > 100:  # too slow to be worth it
        return None
    return next(iter(difflib.get_close_matches(word, words, 1, 0.6)), None)


def _problems(document: Document, details: list[ErrorDetails]) -> list[Problem]:
    """One problem for each error, but one for a key that is missing because it is misspelt.

    Where a problem is known already (a variable that is not set), its value says nothing more.
    """
    told = {(problem.line, problem.column) for problem in document.problems}
    placed = sorted(details, key=lambda detail: document.place(detail["loc"]))
    described = placed[: 2 * MOST_PROBLEMS]
    misspelt = {(*d["loc"][:-1], _meant(d)) for d in described if d["type"] == "extra_forbidden"}
    kept = [d for d in described if d["type"] != "missing" or d["loc"] not in misspelt]
    found = [_problem(document, detail) for detail in kept]
    return [problem for problem in found if (problem.line, problem.column) not in told]


def _problem(document: Document, detail: ErrorDetails) -> Problem:
    path, kind = detail["loc"], detail["type"]
    at_key = kind in _AT_KEY or path[-1:] == (_KEY,)
    written = path if kind in _BY_KEY else existing(document.data, path)
    names = [step for step in written if isinstance(step, str) and step != _KEY]
    subject = f"`{names[-1][:60]}`" if names else "the file"
    context = detail.get("ctx", {})
    if kind == "missing":
        return document.problem(path[:-1], f"{subject} is missing", "Add it.", at_key=True)
    if kind == "extra_forbidden":
        meant = _meant(detail)
        remedy = f"Did you mean `{meant}`?" if meant else "Remove it; `cube schema` lists all keys."
        return document.problem(path, f"unknown key {subject}", remedy, at_key=True)
    if kind == "refused":
        text = f"Compose's {subject} is not supported by Cube"
        return document.problem(path, text, context["remedy"], at_key=True)
    if kind == "wrong":
        text = context["text"] if path[-1:] == (_KEY,) else f"{subject}: {context['text']}"
        return document.problem(path, text, context["remedy"], at_key=at_key)
    describe = _TEXTS.get(kind)
    text, remedy = describe(context, detail["input"]) if describe else (detail["msg"], "")
    return document.problem(path, f"{subject} {text}", remedy, at_key=at_key)


def _meant(detail: ErrorDetails) -> str | None:
    unknown = detail["input"]
    assert isinstance(unknown, UnknownKey)
    return closest(str(detail["loc"][-1]), unknown.known)


def _one_of(context: dict[str, Any], value: Any) -> tuple[str, str]:
    expected = str(context["expected"])
    near = closest(as_text(value) or "", re.findall(r"'([^']*)'", expected))
    return f"must be {expected}, not {shown(value)}", f"Did you mean {near}?" if near else ""


def _type_of(what: str) -> Callable[[dict[str, Any], Any], tuple[str, str]]:
    return lambda _, value: (f"must be {what}, not {shown(value)}", "Check the indentation.")


def _bound(word: str, key: str) -> Callable[[dict[str, Any], Any], tuple[str, str]]:
    def describe(context: dict[str, Any], value: Any) -> tuple[str, str]:
        bound = context[key]
        written = bound if isinstance(value, int) else f"{bound:g}"
        return f"must be {word} {written}, not {value}", ""

    return describe


_TEXTS: dict[str, Callable[[dict[str, Any], Any], tuple[str, str]]] = {
    "model_type": _type_of("a mapping"),
    "model_attributes_type": _type_of("a mapping"),
    "dict_type": _type_of("a mapping"),
    "list_type": _type_of("a list"),
    "tuple_type": _type_of("a list"),
    "literal_error": _one_of,
    "greater_than_equal": _bound("at least", "ge"),
    "greater_than": _bound("more than", "gt"),
    "less_than_equal": _bound("at most", "le"),
    "string_too_short": lambda _, __: ("is empty", "Write it."),
    "too_short": lambda _, __: ("is empty", "Add at least one."),
    "too_long": lambda context, _: (f"holds more than {context['max_length']}", "Use fewer."),
}


def _cut_path(data: Any, detail: ErrorDetails) -> Path:
    """What to cut out for this error: of a list, the whole item.

    A service without an image stays: it gets a stand-in.
    """
    path = detail["loc"]
    if detail["type"] == "missing" and len(path) == 3 and path[0] == "services":
        return ("services", path[1], "image")
    found = existing(data, path)
    items = [at for at, step in enumerate(found) if isinstance(step, int)]
    return found[: items[0] + 1] if items else found


def _without(data: Any, paths: set[Path], here: Path, cut: dict[Path, list[int]]) -> Any:
    """A copy of `data` without these paths; indices of cut items are noted in `cut`."""
    if not paths:
        return data
    if () in paths:
        return _CUT
    below: dict[str | int, set[Path]] = defaultdict(set)
    for first, *rest in paths:
        below[first].add(tuple(rest))
    pairs = enumerate(data) if isinstance(data, list) else data.items()
    copies = {k: _without(v, below.get(k, set()), (*here, k), cut) for k, v in pairs}
    if isinstance(data, list):
        cut[here] = [index for index, copy in copies.items() if copy is _CUT]
        return [copy for copy in copies.values() if copy is not _CUT]
    return {key: copy for key, copy in copies.items() if copy is not _CUT}
