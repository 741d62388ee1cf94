"""What only the whole file can tell: names that must exist, and values that must fit one another.

Adds problems and warnings to the document; changes nothing else and reads no files.
"""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from typing import Any

from pydantic import BaseModel

from cube.compose.document import Document, Path
from cube.compose.faults import closest
from cube.compose.models import JobFile, Service
from cube.compose.part import ignorance, written_fields
from cube.compose.problem import MOST_PROBLEMS
from cube.compose.storage import MountEntry
from cube.compose.together import Finding, together_problems, together_warnings

MIN_MEMORY_LIMIT = 6 << 20  # engines refuse less
_MOST = MOST_PROBLEMS + 1  # of each sort; placing them takes time
_MOST_CYCLES = 20


def check(document: Document, file: JobFile, broken: frozenset[str]) -> None:
    """Add every finding. Services named in `broken` are known in part: they are not judged by."""
    for path, text, remedy in islice(_problems(document, file, broken), _MOST):
        document.problems.append(document.problem(path, text, remedy))
    for path, text, remedy in islice(_warnings(file, broken), _MOST):
        document.warnings.append(document.problem(path, text, remedy))
    for path, key, remedy in islice(_ignored(file, ()), _MOST):
        text = f"`{key}` is ignored"
        document.warnings.append(document.problem(path, text, remedy, at_key=True))


def _problems(document: Document, file: JobFile, broken: frozenset[str]) -> Iterator[Finding]:
    services = document.data.get("services")
    volumes = document.data.get("volumes") or {}
    names = list(services) if isinstance(services, dict) else []
    yield from _cycles(file)
    yield from _host_ports(file)
    yield from together_problems(file)
    for name, service in file.services.items():
        path = ("services", name)
        yield from _dependencies(path, service, names, file, broken)
        yield from _scale(path, service)
        yield from _sizes(path, service)
        yield from _gpus(path, service)
        yield from _health(path, service)
        yield from _restarts(path, service)
        yield from _mounts(path, service, file, list(volumes) if isinstance(volumes, dict) else [])


def _cycles(file: JobFile) -> Iterator[Finding]:
    """Each cycle once, at one of its `depends_on`."""
    graph = {name: set(service.depends_on) for name, service in file.services.items()}
    for _ in range(_MOST_CYCLES):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            cycle = list(reversed(error.args[1]))
            path = ("services", cycle[0], "depends_on", cycle[1])
            names = cycle if len(cycle) < 10 else [*cycle[:4], "…", *cycle[-4:]]
            yield path, f"services wait for one another: {' -> '.join(names)}", "Break the circle."
            graph[cycle[0]].discard(cycle[1])
        else:
            return


def _host_ports(file: JobFile) -> Iterator[Finding]:
    taken: dict[tuple[int, str], str] = {}
    for name, service in file.services.items():
        for index, entry in enumerate(service.ports):
            for port in entry.published or ():
                key = (port, entry.protocol)
                if key in taken:
                    text = f"host port {port}/{entry.protocol} is already published by {taken[key]}"
                    remedy = "Choose another, or leave it out to let the engine choose."
                    yield ("services", name, "ports", index), text, remedy
                taken.setdefault(key, f"`{name}`")


def _dependencies(
    path: Path, service: Service, names: list[str], file: JobFile, broken: frozenset[str]
) -> Iterator[Finding]:
    for name, entry in service.depends_on.items():
        here = (*path, "depends_on", name)
        if name not in names:
            near = closest(name, names)
            remedy = f"Did you mean `{near}`?" if near else f"Services are {', '.join(names[:9])}."
            yield here, f"`depends_on` names `{name[:60]}`, which is not a service here", remedy
            continue
        other = file.services.get(name)
        if other is None or name in broken:
            continue
        completes = other.deploy.mode.endswith("-job")
        if entry.condition == "service_completed_successfully" and not completes:
            remedy = f"Write `deploy: {{mode: replicated-job}}` in `{name}`."
            yield here, f"`{name}` never completes: it is a service", remedy
        health, checked = other.healthcheck, other.cube.check is not None
        disabled = health is not None and health.disabled and not checked
        if entry.condition == "service_healthy" and disabled:
            yield here, f"`{name}` has no health: its healthcheck is disabled", "Enable it."


def _scale(path: Path, service: Service) -> Iterator[Finding]:
    deploy = service.deploy
    placement = (*path, "deploy", "placement")
    if deploy.mode.startswith("global") and deploy.replicas is not None:
        text = f"`{deploy.mode}` runs one instance on every node and has no `replicas`"
        yield (*path, "deploy", "replicas"), text, "Remove one of them."
    several = (deploy.placement.max_replicas_per_node or 0) > 1 and (deploy.replicas or 1) > 1
    if several and any(entry.published for entry in service.ports):
        text = "instances on one node cannot share a host port"
        remedy = "Write max_replicas_per_node: 1, or publish without a host port."
        yield (*placement, "max_replicas_per_node"), text, remedy
    if deploy.placement.preferences and service.cube.spread is not None:
        text = "`preferences` and `x-cube.spread` say the same thing twice"
        yield (*placement, "preferences"), text, "Remove one of them."


def _sizes(path: Path, service: Service) -> Iterator[Finding]:
    limits, reserved = service.deploy.resources.limits, service.deploy.resources.reservations
    here = (*path, "deploy", "resources", "limits")
    for key, limit, need in (
        ("cpus", limits.cpus, reserved.cpus),
        ("memory", limits.memory, reserved.memory),
    ):
        if limit is not None and need is not None and limit < need:
            yield (*here, key), f"the limit of `{key}` is below its reservation", "Raise it."
    if limits.memory is not None and limits.memory < MIN_MEMORY_LIMIT:
        text = f"a limit of {limits.memory} bytes of memory is too small"
        yield (*here, "memory"), text, "Write at least 6M; a number alone is bytes."
    if reserved.memory == 0:
        text = "`memory`: nothing cannot be reserved"
        yield (*path, "deploy", "resources", "reservations", "memory"), text, "Leave it out."


def _gpus(path: Path, service: Service) -> Iterator[Finding]:
    own, here = service.cube.gpu, (*path, "x-cube", "gpu")
    if own is None:
        return
    if own.share is not None and own.count is not None:
        yield (*here, "share"), "a share is of one GPU, not of several", "Remove `count`."
    if service.deploy.resources.reservations.devices:
        for key in ("count", "share"):
            if getattr(own, key) is not None:
                text = f"`{key}` and `reservations.devices` say how many GPUs twice"
                yield (*here, key), text, "Remove one of them."


def _health(path: Path, service: Service) -> Iterator[Finding]:
    health = service.healthcheck
    if service.cube.check is not None and health is not None and not health.disabled:
        text = "`healthcheck` and `x-cube.check` both say when it is healthy"
        yield (*path, "x-cube", "check"), text, "Remove one of them."


def _restarts(path: Path, service: Service) -> Iterator[Finding]:
    """A batch task that is run again after it succeeded would never complete."""
    if not service.deploy.mode.endswith("-job"):
        return
    remedy = "Write on-failure or none, or make it a service."
    policy = service.deploy.restart_policy
    if policy is not None and policy.condition == "any":
        here = (*path, "deploy", "restart_policy", "condition")
        yield here, "a job that completes cannot be restarted on `any` exit", remedy
    if service.restart in ("always", "unless-stopped"):
        text = f"a job that completes cannot be restarted `{service.restart}`"
        yield (*path, "restart"), text, remedy


def _mounts(path: Path, service: Service, file: JobFile, declared: list[str]) -> Iterator[Finding]:
    deploy = service.deploy
    several = (deploy.replicas or 1) > 1 or deploy.mode.startswith("global")
    targets: set[str] = set()
    for key, entries in (("volumes", service.volumes), ("tmpfs", service.tmpfs)):
        for index, entry in enumerate(entries):
            here = (*path, key, index)
            if entry.target in targets:
                yield here, f"two mounts at {entry.target}", "Remove one of them."
            targets.add(entry.target)
            source = entry.source or ""
            if entry.type == "volume" and source and source not in declared:
                near = closest(source, declared)
                remedy = f"Add `{source}:` to the job's `volumes`."
                remedy = f"Did you mean `{near}`?" if near else remedy
                yield here, f"volume `{source[:60]}` is not declared", remedy
            elif several and _pins(entry, file):
                text = f"several instances cannot share `{source[:60]}`, which is on one node only"
                yield here, text, _share_remedy(entry)


def _pins(entry: MountEntry, file: JobFile) -> bool:
    """Does this mount tie a task to one node?"""
    if entry.type == "tmpfs" or not entry.source:
        return False
    volume = file.volumes.get(entry.source) if entry.type == "volume" else None
    return not (entry.cube.shared or (volume is not None and volume.cube.shared))


def _share_remedy(entry: MountEntry) -> str:
    where = "its volume" if entry.type == "volume" else "the long form of the mount"
    return f"Run one, or write `x-cube: {{shared: true}}` in {where} if every node has the data."


def _warnings(file: JobFile, broken: frozenset[str]) -> Iterator[Finding]:
    yield from together_warnings(file)
    for name, service in file.services.items():
        path = ("services", name)
        for index, entry in enumerate(service.ports):
            if entry.mode == "ingress":
                text = "`ingress` is taken as `host`: there is no routing mesh"
                remedy = "The port is open on the nodes that run the service."
                yield (*path, "ports", index, "mode"), text, remedy
        if service.cube.spread is not None and service.deploy.mode != "replicated":
            text = f"`spread` has no effect on `{service.deploy.mode}`"
            yield (*path, "x-cube", "spread"), text, "Remove it."
        for other, condition in service.depends_on.items():
            known = file.services.get(other) if other not in broken else None
            if (
                condition.condition == "service_healthy"
                and known is not None
                and known.healthcheck is None
                and known.cube.check is None
            ):
                text = f"`{other}` has no healthcheck in this file"
                remedy = "Write one; without it, started is taken for healthy."
                yield (*path, "depends_on", other), text, remedy


def _ignored(value: Any, path: Path) -> Iterator[Finding]:
    """(path, key, remedy) of everything that is accepted without effect."""
    if isinstance(value, BaseModel):
        fields = dict(written_fields(type(value)))
        names = {field.alias or name: name for name, field in type(value).model_fields.items()}
        for key, field in fields.items():
            if names[key] not in value.model_fields_set:
                continue
            ignored = ignorance(field)
            if ignored is not None:
                yield (*path, key), key, ignored.remedy
            else:
                yield from _ignored(getattr(value, names[key]), (*path, key))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _ignored(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _ignored(item, (*path, index))
