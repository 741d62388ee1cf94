"""A job file's model -> `cube.spec`: defaults, restarts, sizes in whole units, absolute paths.

Everything here is decided by what was written; files and variables have been read before.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from cube import spec, units
from cube.compose.deploy import Deploy
from cube.compose.models import JobFile, Service
from cube.compose.process import Check, Health
from cube.compose.storage import MountEntry, TopVolume

_KINDS = {
    "replicated": spec.Kind.SERVICE,
    "global": spec.Kind.GLOBAL,
    "replicated-job": spec.Kind.BATCH,
    "global-job": spec.Kind.GLOBAL_BATCH,
}
_CONDITIONS: dict[str, Literal["started", "healthy", "completed"]] = {
    "service_started": "started",
    "service_healthy": "healthy",
    "service_completed_successfully": "completed",
}
BATCH_RESCHEDULE = spec.ReschedulePolicy(attempts=1)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a job's meaning takes from outside its file."""

    name: str
    source: str  # the file's absolute path, as an identity
    folder: str  # absolute: where relative paths start
    home: str = "/"
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by service


def translate(file: JobFile, around: Surroundings) -> spec.JobSpec:
    """The job that the file describes."""
    return spec.JobSpec(
        name=around.name,
        services=tuple(
            _task(name, service, file, around) for name, service in file.services.items()
        ),
        priority=file.cube.priority,
        datacenters=file.cube.datacenters,
        source=around.source,
        together=file.cube.together,
    )


def _task(name: str, service: Service, file: JobFile, around: Surroundings) -> spec.TaskSpec:
    """One service: what runs, then how many, how large, where, and what follows a failure."""
    deploy, extras = service.deploy, service.cube
    kind = _KINDS[deploy.mode]
    limits = deploy.resources.limits
    restart = restart_policy(service, kind)
    return replace(
        _container(name, service, file, around),
        kind=kind,
        instances=1 if kind.is_global else _or(deploy.replicas, 1),
        depends_on=tuple(
            spec.Dependency(n, _CONDITIONS[d.condition]) for n, d in service.depends_on.items()
        ),
        cpu_milli=_counted(deploy.resources.reservations.cpus, limits.cpus, spec.DEFAULT_CPU_MILLI),
        memory_mib=_memory(deploy),
        disk_mib=units.mib(extras.disk or 0),
        gpu=gpu_need(service),
        cpu_limit_milli=limits.cpus,
        memory_limit_mib=None if limits.memory is None else units.mib(limits.memory),
        constraints=deploy.placement.constraints,
        max_per_node=deploy.placement.max_replicas_per_node,
        spread=_spread(service),
        on_disconnect=extras.on_disconnect,
        restart=restart,
        reschedule=reschedule_policy(service, kind, restart),
    )


def _container(name: str, service: Service, file: JobFile, around: Surroundings) -> spec.TaskSpec:
    """What an engine is to run for a service, wherever that is."""
    return spec.TaskSpec(
        name=name,
        image=service.image,
        command=service.command,
        entrypoint=service.entrypoint,
        environment=_pairs(around.environments.get(name, {})),
        working_dir=service.working_dir,
        user=service.user,
        ports=_ports(service),
        mounts=_mounts(service, file.volumes, around),
        labels=_pairs({**service.deploy.labels, **service.labels}),
        stop_signal=service.stop_signal,
        stop_grace_seconds=service.stop_grace_period,
        pull_policy=service.pull_policy,
        init=service.init,
        ulimits=tuple(spec.Ulimit(n, u.soft, u.hard) for n, u in service.ulimits.items()),
        cap_add=service.cap_add,
        cap_drop=service.cap_drop,
        devices=service.devices,
        privileged=service.privileged,
        shm_size_bytes=service.shm_size,
        extra_hosts=_pairs(service.extra_hosts),
        log_driver=service.logging.driver,
        log_options=_pairs(service.logging.options),
        healthcheck=_health(service.healthcheck),
        check=_check(service.cube.check),
    )


def restart_policy(service: Service, kind: spec.Kind) -> spec.RestartPolicy:
    """The kind's default, changed by `restart`, `deploy.restart_policy` and `x-cube.restart`.

    The later of these wins, key by key.
    """
    policy = spec.BATCH_RESTART if kind.is_batch else spec.SERVICE_RESTART
    word, _, count = (service.restart or "").partition(":")
    if word == "no":
        policy = replace(policy, condition="none", attempts=0)
    elif word in ("always", "unless-stopped"):
        policy = replace(policy, condition="any", attempts=None)
    elif word == "on-failure":
        policy = replace(policy, condition="on-failure", attempts=int(count) if count else None)
    swarm = service.deploy.restart_policy
    if swarm is not None:
        policy = spec.RestartPolicy(
            condition=_or(swarm.condition, policy.condition),
            attempts=_or(swarm.max_attempts, policy.attempts),
            interval_seconds=_or(swarm.window, policy.interval_seconds),
            delay_seconds=_or(swarm.delay, policy.delay_seconds),
        )
    own = service.cube.restart
    if own is not None:
        policy = replace(
            policy,
            attempts=own.attempts if "attempts" in own.model_fields_set else policy.attempts,
            interval_seconds=_or(own.interval, policy.interval_seconds),
            delay_seconds=_or(own.delay, policy.delay_seconds),
        )
    return policy


def reschedule_policy(
    service: Service, kind: spec.Kind, restart: spec.RestartPolicy
) -> spec.ReschedulePolicy:
    """The kind's default, or never where nothing is to be restarted, changed by `x-cube`."""
    policy = BATCH_RESCHEDULE if kind.is_batch else spec.ReschedulePolicy()
    if restart.condition == "none":
        policy = replace(policy, attempts=0)
    own = service.cube.reschedule
    if own is None:
        return policy
    return spec.ReschedulePolicy(
        attempts=own.attempts if "attempts" in own.model_fields_set else policy.attempts,
        delay_seconds=_or(own.delay, policy.delay_seconds),
        max_delay_seconds=_or(own.max_delay, policy.max_delay_seconds),
    )


def _or(written: T | None, default: T) -> T:
    return default if written is None else written


def _counted(reserved: int | None, limit: int | None, default: int) -> int:
    """What placement counts: the reservation, else the limit, else the default."""
    return _or(reserved, _or(limit, default))


def _memory(deploy: Deploy) -> int:
    """MiB that placement counts."""
    default = spec.DEFAULT_MEMORY_MIB * units.BYTES_PER_MIB
    resources = deploy.resources
    return units.mib(_counted(resources.reservations.memory, resources.limits.memory, default))


def gpu_need(service: Service) -> spec.GpuNeed | None:
    """The reservation's count, and what `x-cube.gpu` says of it or instead of it."""
    reserved, own = service.deploy.resources.reservations.devices, service.cube.gpu
    if not reserved and own is None:
        return None
    count = reserved[0].count if reserved else 1
    if own is None:
        return spec.GpuNeed(count)
    if own.share is not None:
        return spec.GpuNeed(1, own.share, own.models)
    return spec.GpuNeed(_or(own.count, count), models=own.models)


def _pairs(values: Mapping[str, str | None]) -> tuple[tuple[str, str], ...]:
    """Sorted, so that the order in the file makes no new version."""
    return tuple(sorted((name, value or "") for name, value in values.items()))


def _ports(service: Service) -> tuple[spec.Port, ...]:
    ports: list[spec.Port] = []
    for entry in service.ports:
        protocol: Literal["tcp", "udp"] = "udp" if entry.protocol == "udp" else "tcp"
        hosts: Iterable[int | None] = entry.published or [None] * len(entry.target)
        for container, host in zip(entry.target, hosts, strict=True):
            ports.append(spec.Port(container, host, protocol, entry.host_ip))
    return tuple(ports)


def _mounts(
    service: Service, volumes: Mapping[str, TopVolume], around: Surroundings
) -> tuple[spec.Mount, ...]:
    return tuple(_mount(entry, volumes, around) for entry in (*service.volumes, *service.tmpfs))


def _mount(entry: MountEntry, volumes: Mapping[str, TopVolume], around: Surroundings) -> spec.Mount:
    source, shared, size = entry.source or "", entry.cube.shared, entry.tmpfs.size
    if entry.type == "bind":
        home = around.home + source[1:] if source.startswith("~") else source
        source = os.path.normpath(os.path.join(around.folder, home))
    elif source in volumes:
        shared = shared or volumes[source].cube.shared
        source = volumes[source].name or source
    return spec.Mount(
        kind=entry.type,
        source=source,
        target=entry.target,
        read_only=entry.read_only,
        shared=shared,
        size_mib=None if entry.type != "tmpfs" or size is None else units.mib(size),
    )


def _health(health: Health | None) -> spec.HealthCheck | None:
    if health is None:
        return None
    return spec.HealthCheck(
        test=("NONE",) if health.disabled else health.test,
        interval_seconds=health.interval,
        timeout_seconds=health.timeout,
        retries=health.retries,
        start_period_seconds=health.start_period,
    )


def _check(check: Check | None) -> spec.PortCheck | None:
    if check is None:
        return None
    port, path = (check.tcp, None) if check.http is None else (check.http.port, check.http.path)
    assert port is not None
    return spec.PortCheck(
        port, path, check.interval, check.timeout, check.retries, check.start_period
    )


def _spread(service: Service) -> spec.Spread:
    own = service.cube.spread
    if own is not None:
        return spec.Spread(own.mode, own.by)
    preferences = service.deploy.placement.preferences
    return spec.Spread("prefer", preferences[0].spread) if preferences else spec.Spread()
