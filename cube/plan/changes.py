"""What a new version of a job changes: per service, and per field where one is changed.

Owns how a field's value is written for people; secrets are masked. Decides nothing: the manager
compares whole specs, this says where they differ.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from cube.secrets import is_secret_name, mask_value
from cube.spec import Dependency, JobSpec, Mount, Port, TaskSpec, Ulimit
from cube.views import FieldChange, ServiceChange
from cube.views.show import mount_text

_HIDDEN_CHANGE = " (another value)"  # two secrets that differ look the same once masked


def diff(old: JobSpec | None, new: JobSpec) -> list[ServiceChange]:
    """What `new` does to each service: its own in their order, then those that vanish."""
    changes = [_change(None if old is None else old.service(s.name), s) for s in new.services]
    gone = [] if old is None else [s for s in old.services if new.service(s.name) is None]
    return changes + [
        {
            "service": s.name,
            "change": "removed",
            "fields": [],
            "instances_before": s.instances,
            "instances_after": 0,
        }
        for s in gone
    ]


def diff_job(old: JobSpec | None, new: JobSpec) -> list[FieldChange]:
    """What changes about the job itself, its services left aside."""
    if old is None:
        return []
    return _compare(_of_job(old), _of_job(new))


def _of_job(job: JobSpec) -> dict[str, str]:
    together = str(job.together).lower()
    return {
        "priority": str(job.priority),
        "datacenters": _line(job.datacenters),
        "together": together,
    }


def _change(old: TaskSpec | None, new: TaskSpec) -> ServiceChange:
    return {
        "service": new.name,
        "change": "created" if old is None else "unchanged" if old == new else "changed",
        "fields": [] if old is None or old == new else _field_changes(old, new),
        "instances_before": 0 if old is None else old.instances,
        "instances_after": new.instances,
    }


def _field_changes(old: TaskSpec, new: TaskSpec) -> list[FieldChange]:
    changes = _compare(dict(leaves(old)), dict(leaves(new)))
    return changes + _changed_secrets(old, new)


def _compare(before: dict[str, str], after: dict[str, str]) -> list[FieldChange]:
    names = [*before, *(name for name in after if name not in before)]
    return [
        {"field": name, "before": before.get(name), "after": after.get(name)}
        for name in names
        if before.get(name) != after.get(name)
    ]


def _changed_secrets(old: TaskSpec, new: TaskSpec) -> list[FieldChange]:
    """Values that differ and look the same, because both are masked."""
    found: list[FieldChange] = []
    for field in ("environment", "labels", "log_options"):
        before, after = dict(getattr(old, field)), dict(getattr(new, field))
        for name in before.keys() & after.keys():
            was, now = mask_value(name, before[name]), mask_value(name, after[name])
            if before[name] != after[name] and was == now:
                entry = f"{field}.{name}"
                found.append({"field": entry, "before": was, "after": now + _HIDDEN_CHANGE})
    return sorted(found, key=lambda change: change["field"])


def leaves(spec: TaskSpec) -> Iterator[tuple[str, str]]:
    """Every field that is set, as (name, text): `image`, `environment.MODE`, `restart.attempts`."""
    for field in fields(spec):
        yield from _leaves(field.name, getattr(spec, field.name))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if value is None or value == ():
        return
    if name in ("environment", "labels", "log_options"):
        yield from ((f"{name}.{key}", mask_value(key, text)) for key, text in value)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _leaves(f"{name}.{field.name}", getattr(value, field.name))
    elif (unit := _unit(name)) is not None:
        label, write = unit
        yield label, write(value)
    elif isinstance(value, tuple):
        yield name, _tuple(name, value)
    else:
        yield name, mask_value("", str(value).lower() if isinstance(value, bool) else str(value))


_UNITS: dict[str, Callable[[Any], str]] = {
    "_cpu_milli": lambda milli: f"{milli / 1000:g}",
    "_mib": lambda mib: f"{mib} MiB",
    "_bytes": lambda size: f"{size} B",
    "_seconds": lambda seconds: f"{seconds:g} s",
}


def _unit(name: str) -> tuple[str, Callable[[Any], str]] | None:
    """The name without its unit, and how values are written with it."""
    if name in ("cpu_milli", "cpu_limit_milli"):
        return name.removesuffix("_milli"), _UNITS["_cpu_milli"]
    for suffix, write in _UNITS.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix), write
    return None


def _tuple(name: str, values: tuple[Any, ...]) -> str:
    if name in ("command", "entrypoint", "healthcheck.test"):
        return mask_value("", shlex.join(_without_secrets(values)))
    return _line(map(_item, values))


def _without_secrets(words: tuple[str, ...]) -> Iterator[str]:
    """A command's words; of `--password=x` only the name."""
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name.isascii() and " " not in name and is_secret_name(name):
            yield f"{name}={mask_value(name, value)}"
        else:
            yield word


def _item(value: Any) -> str:
    match value:
        case Port(container, host, protocol, host_ip):
            asked = "" if host is None else f"{host}:"
            address = "" if host_ip == "0.0.0.0" else f"{host_ip}:"
            return f"{address}{asked}{container}/{protocol}"
        case Mount():
            size = "" if value.size_mib is None else f":{value.size_mib} MiB"
            return mount_text(value) + size + (" (shared)" if value.shared else "")
        case Ulimit(name, soft, hard):
            return f"{name}={soft}:{hard}"
        case Dependency(service, condition):
            return f"{service} {condition}"
        case (key, text):
            return f"{key}:{text}"
        case _:
            return str(value)


def _line(values: Any) -> str:
    return ", ".join(values)
