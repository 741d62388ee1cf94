"""What is let in: a job that came over the wire keeps the rules that job files keep.

The manager trusts its specs, so whatever would make it stumble is refused here. Reads JSON,
changes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from cube.api.problems import Problem
from cube.codec import decode
from cube.spec import JobSpec, TaskSpec

MAX_INSTANCES = 100_000  # of a job
MAX_NUMBER = 1 << 50
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_ATTRIBUTES = ("node.name", "node.hostname", "node.datacenter")
_SPREADS = (*_ATTRIBUTES, "node", "datacenter")
_LABEL = "node.labels."


def admit(body: Any) -> JobSpec:
    """The job in `body`, as `cube.codec.encode` wrote it.

    Raises:
        Problem: it breaks a rule; all that it breaks is told.
        cube.codec.CodecError: it is not a job at all.
    """
    _check_text(body)
    job = decode(body)
    if not isinstance(job, JobSpec):
        raise Problem(422, "`job` is not a JobSpec.", "Send what cube.codec.encode makes of one.")
    return check(job)


def check(job: JobSpec) -> JobSpec:
    """The job itself, if it keeps the rules.

    Raises:
        Problem: it breaks one; all that it breaks is told.
    """
    faults = list(_faults(job))
    if faults:
        more = f" (and {len(faults) - 10} more)" if len(faults) > 10 else ""
        raise Problem(422, "; ".join(faults[:10]) + more, "Correct the job, and send it again.")
    return job


def is_admissible(spec: TaskSpec) -> bool:
    """Could a job have such a service, whatever else is in it?"""
    return not any(_service(spec, [dependency.service for dependency in spec.depends_on]))


def _check_text(body: Any) -> None:
    """Refuse text that no answer could ever repeat (half of a surrogate pair)."""
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Problem(422, "The job contains text that is not valid Unicode.") from None


def _faults(job: JobSpec) -> Iterator[str]:
    if NAME.fullmatch(job.name) is None:
        yield f"name {job.name[:60]!r}: use 1 to 40 of a-z, 0-9 and -"
    if not job.services:
        yield "a job has at least one service"
    if not 0 <= job.priority <= 100:
        yield f"priority {job.priority}: use 0 to 100"
    names = [s.name for s in job.services]
    yield from (
        f"two services are named {n[:60]}" for n in sorted(set(names)) if names.count(n) > 1
    )
    if sum(s.instances for s in job.services) > MAX_INSTANCES:
        yield f"a job has at most {MAX_INSTANCES} tasks"
    if job.together and any(s.kind.is_global for s in job.services):
        yield "a job that is kept together has no global services"
    for spec in job.services:
        yield from (f"service {spec.name[:60]}: {text}" for text in _service(spec, names))
    try:
        TopologicalSorter(
            {s.name: [d.service for d in s.depends_on] for s in job.services}
        ).prepare()
    except CycleError as error:
        yield f"services wait for one another: {' -> '.join(error.args[1])}"


def _service(spec: TaskSpec, names: list[str]) -> Iterator[str]:
    if NAME.fullmatch(spec.name) is None:
        yield "its name: use 1 to 40 of a-z, 0-9 and -"
    if not spec.image:
        yield "it has no image"
    for port in spec.ports:
        if not all(0 < number < 65536 for number in (port.container, port.host or 1)):
            yield f"port {port.host}:{port.container}: use 1 to 65535"
    for dependency in spec.depends_on:
        if dependency.service not in names:
            yield f"depends_on names {dependency.service[:60]}, which is not a service here"
    for constraint in spec.constraints:
        if constraint.attribute not in _ATTRIBUTES and not _is_label(constraint.attribute):
            yield f"constraint {constraint}: nodes have no {constraint.attribute[:60]}"
    if spec.spread.by not in _SPREADS and not _is_label(spec.spread.by):
        yield f"spread by {spec.spread.by[:60]}: nodes have no such attribute"
    if spec.max_per_node is not None and spec.max_per_node < 1:
        yield "max_per_node: use 1 or more"
    if spec.kind.is_global is False and spec.instances > 1 and spec.pinning_mounts:
        yield "several instances cannot have one unshared volume"
    if any(not name or "=" in name for name, _ in spec.environment):
        yield "environment: use names that are not empty and have no ="
    yield from _values(spec)


def _is_label(attribute: str) -> bool:
    return attribute.startswith(_LABEL) and attribute != _LABEL


def _values(value: Any, path: str = "") -> Iterator[str]:
    """Sizes, counts and times are finite and not negative; a ulimit of -1 is without limit.

    Texts have no NUL, as no system call takes one.
    """
    if is_dataclass(value):
        for field in fields(value):
            yield from _values(getattr(value, field.name), f"{path}.{field.name}".lstrip("."))
    elif isinstance(value, tuple):
        for item in value:
            yield from _values(item, path)
    elif isinstance(value, str) and "\0" in value:
        yield f"{path}: it has a NUL character"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        least = -1 if path.startswith("ulimits") else 0
        if not least <= value <= MAX_NUMBER:  # as NaN never is
            shown = f"{value:g}" if isinstance(value, float) else str(value)[:20]
            yield f"{path} {shown}: use a number from {least} to {MAX_NUMBER}"
