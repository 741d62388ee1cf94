"""From a path to a job: the one place of the reader that touches the file system.

Order of work: size and text, variables, document, models, checks across services, env files,
translation. Every step adds what it finds; the job is refused at the end, with all of it.
"""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydantic_core import PydanticCustomError

from cube import spec
from cube.compose.checks import check
from cube.compose.document import Document, read_document
from cube.compose.dotenv import read_variables
from cube.compose.faults import validate
from cube.compose.models import JobFile, read_name
from cube.compose.problem import MOST_PROBLEMS, Problem, SpecError
from cube.compose.reach import unreachable
from cube.compose.translate import Surroundings, translate

MAX_BYTES = 1 << 20
STDIN = "-"

_UNNAMED = {"compose", "docker-compose"}  # Compose's own names say nothing about the job


@dataclass(frozen=True, slots=True)
class Reading:
    """A job, and what is worth knowing about its file."""

    job: spec.JobSpec
    warnings: tuple[Problem, ...] = ()
    unreachable: tuple[Problem, ...] = ()  # dependencies, where there are several machines


def read_job(
    path: str | os.PathLike[str], environ: Mapping[str, str], *, stdin: str | None = None
) -> Reading:
    """Read a job file, or the text `stdin` if `path` is "-".

    Variables come from `environ`, then from `.env` beside the file.

    Raises:
        SpecError: with every problem of the file.
    """
    file = os.fspath(path)
    text = _checked(stdin or "", "<stdin>") if file == STDIN else read_text(file, file)
    shown = "<stdin>" if file == STDIN else file
    folder = os.path.dirname(file) if file != STDIN else ""
    variables, problems = _variables(folder, environ)
    try:
        document = read_document(text, shown, variables)
    except SpecError as error:
        raise SpecError([*problems, *error.problems]) from None
    document.problems += problems
    around = Surroundings(
        name=_name(document, file),
        source=STDIN if file == STDIN else os.path.abspath(file),
        folder=os.path.abspath(folder),
        home=environ.get("HOME", "/"),
    )
    return finish(document, around, variables)


def finish(document: Document, around: Surroundings, variables: Mapping[str, str]) -> Reading:
    """Validate, check and translate a document.

    Raises:
        SpecError: with every problem of the document.
    """
    file, broken = validate(document)
    if file is not None:
        check(document, file, broken)
        environments = _environments(document, file, around.folder, variables)
        if not document.problems:
            job = translate(file, _with(around, environments))
            apart = (document.problem(*found) for found in islice(unreachable(file), MOST_PROBLEMS))
            return Reading(job, tuple(sorted(set(document.warnings))), tuple(sorted(apart)))
    raise SpecError(document.problems)


def read_text(path: str, shown: str) -> str:
    """The text of a file of at most 1 MiB; never more of it is read.

    Raises:
        SpecError: when it is missing, a folder, unreadable, too large or not text.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _refusal(shown, "there is no such file", "Check the path.") from None
    except IsADirectoryError:
        remedy = f"Name a file in it, as in {os.path.join(shown, 'shop.compose.yaml')}."
        raise _refusal(shown, "this is a folder", remedy) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _refusal(shown, f"cannot be read: {reason}", "Check its permissions.") from None
    if len(data) > MAX_BYTES:
        raise _too_large(shown)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        what = "this is not text in UTF-8"
        raise _refusal(shown, what, "Is this really a job file?") from None


def _checked(text: str, shown: str) -> str:
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise _too_large(shown)
    return text


def _too_large(shown: str) -> SpecError:
    return _refusal(shown, "the file is larger than 1 MiB", "Split it into several jobs.")


def _refusal(shown: str, text: str, remedy: str) -> SpecError:
    return SpecError([Problem(shown, 0, 0, text, remedy)])


def _variables(folder: str, environ: Mapping[str, str]) -> tuple[Mapping[str, str], list[Problem]]:
    """`environ` before the `.env` of `folder`, if there is one."""
    path = os.path.join(folder, ".env")
    if not os.path.isfile(path):
        return environ, []
    try:
        found, problems = read_variables(read_text(path, path), path, environ)
    except SpecError as error:
        return environ, list(error.problems)
    return ChainMap(dict(environ), found), problems


def _name(document: Document, file: str) -> str:
    """The name that the file gives, or its own before the first dot, or its folder's."""
    written = document.data.get("name")
    if written is not None:
        return str(written)
    if file == STDIN:
        text = "`name` is missing, and there is no file to take it from"
        document.problems.append(document.problem((), text, "Write `name:` at the top."))
        return ""
    path = Path(os.path.abspath(file))
    stem = path.name.split(".")[0]
    name = path.parent.name if stem in _UNNAMED else stem
    try:
        return read_name(name)
    except PydanticCustomError as error:
        remedy = str((error.context or {})["remedy"]).replace("Use ", "Write `name:` with ", 1)
        text = f"{error.message()}, which is the default for this file"
        document.problems.append(document.problem((), text, remedy))
        return ""


def _environments(
    document: Document, file: JobFile, folder: str, variables: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """The environment of each service: env files in their order, then `environment`."""
    result: dict[str, dict[str, str]] = {}
    for name, service in file.services.items():
        found: dict[str, str] = {}
        for index, entry in enumerate(service.env_file):
            path = os.path.join(folder, entry.path)
            if not entry.required and not os.path.exists(path):
                continue
            try:
                values, problems = read_variables(
                    read_text(path, entry.path), entry.path, variables
                )
            except SpecError as error:
                here = ("services", name, "env_file", index, "path")
                for problem in error.problems:
                    text = f"env_file {entry.path}: {problem.text}"
                    remedy = "Check the path, or write `required: false`."
                    document.problems.append(document.problem(here, text, remedy))
                continue
            found.update(values)
            document.problems += problems
        for key, value in service.environment.items():
            if any(map(str.isspace, key)):
                # What follows may be its value: `NAME: value` in quotes is a common slip.
                first = next(iter(key.split()), "")[:60]
                text = f"'{first} ...' is not the name of a variable"
                remedy = "Write NAME=value, with no blank in the name."
                place = ("services", name, "environment")
                document.problems.append(document.problem(place, text, remedy))
            if value is not None:
                found[key] = value
            elif key in variables:
                found[key] = variables[key]
        result[name] = found
    return result


def _with(around: Surroundings, environments: Mapping[str, Mapping[str, str]]) -> Surroundings:
    return Surroundings(around.name, around.source, around.folder, around.home, environments)
