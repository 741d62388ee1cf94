"""Turns a task spec into the body of Docker's create call. Talks to nobody.

Sizes are limits only where the user asked for a limit; what placement counts is not enforced.
"""

from __future__ import annotations

from typing import Any

from docker.api.client import APIClient
from docker.types import DeviceRequest, Healthcheck, LogConfig, Mount, Ulimit

from cube import spec as cube_spec
from cube.engine import task_environment
from cube.engine.capacity import MIB
from cube.engine.docker.names import container_name, labels_of, network_name, volume_name
from cube.messages import Run
from cube.spec import TaskSpec
from cube.task import TaskName

LOG_DRIVER = "json-file"
LOG_OPTIONS = {"max-size": "10m", "max-file": "3"}

NO_HEALTHCHECK = cube_spec.HealthCheck(("NONE",))  # the image's own does not run either


def create_arguments(
    api: APIClient,
    cluster: str,
    node: str,
    run: Run,
    boot: str,
    dns: list[str] | None = None,
) -> dict[str, Any]:
    """Keyword arguments for `APIClient.create_container`. `dns` None: as the engine has it."""
    spec, job = run.spec, TaskName.parse(run.key.uid).job
    network = network_name(cluster, job)
    alias = api.create_endpoint_config(aliases=[spec.name])
    networks: Any = {network: alias}  # the stubs take it for one endpoint
    environment = {**dict(spec.environment), **task_environment(run.key, node)}
    return {
        "image": run.image or spec.image,
        "name": container_name(cluster, run.key),
        "command": _words(spec.command),
        "entrypoint": _words(spec.entrypoint),
        "environment": environment,
        "user": spec.user,
        "working_dir": spec.working_dir,
        "labels": labels_of(cluster, node, run, boot),
        "ports": [(port.container, port.protocol) for port in spec.ports],
        "stop_signal": spec.stop_signal,
        "healthcheck": _healthcheck(NO_HEALTHCHECK if spec.check else spec.healthcheck),
        "networking_config": api.create_networking_config(networks),
        "host_config": api.create_host_config(**_host_arguments(run, cluster, job), dns=dns),
        "use_config_proxy": False,
    }


def _host_arguments(run: Run, cluster: str, job: str) -> dict[str, Any]:
    spec = run.spec
    memory = None if spec.memory_limit_mib is None else spec.memory_limit_mib * MIB
    cpu = None if spec.cpu_limit_milli is None else spec.cpu_limit_milli * 1_000_000
    return {
        "network_mode": network_name(cluster, job),
        "nano_cpus": cpu,
        "mem_limit": memory,
        "memswap_limit": memory,  # equal: no swap beyond the limit
        "shm_size": spec.shm_size_bytes,
        "port_bindings": _port_bindings(spec),
        "mounts": [_mount(mount, cluster, job) for mount in spec.mounts],
        "init": spec.init or None,
        "ulimits": [Ulimit(name=u.name, soft=u.soft, hard=u.hard) for u in spec.ulimits],
        "cap_add": list(spec.cap_add) or None,
        "cap_drop": list(spec.cap_drop) or None,
        "devices": list(spec.devices) or None,
        "device_requests": _gpu_requests(run),
        "privileged": spec.privileged,
        "extra_hosts": dict(spec.extra_hosts) or None,
        "log_config": _log_config(spec),
        "restart_policy": {"Name": "no"},
    }


def _gpu_requests(run: Run) -> list[DeviceRequest] | None:
    """The GPUs that placement chose. A share is counted, not enforced: its task sees the device."""
    if not run.gpus:
        return None
    numbers = [str(number) for number in run.gpus]
    return [DeviceRequest(driver="nvidia", device_ids=numbers, capabilities=[["gpu"]])]


def _words(words: tuple[str, ...] | None) -> list[str] | None:
    if words is None:
        return None
    return list(words) or [""]  # an empty list means "as in the image"; [""] means none


def _port_bindings(spec: TaskSpec) -> dict[str, list[dict[str, str]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in spec.ports:
        host = "" if port.host is None else str(port.host)
        binding = {"HostIp": port.host_ip, "HostPort": host}
        bindings.setdefault(f"{port.container}/{port.protocol}", []).append(binding)
    return bindings


def _mount(mount: cube_spec.Mount, cluster: str, job: str) -> Mount:
    if mount.kind == "tmpfs":
        size = None if mount.size_mib is None else mount.size_mib * MIB
        return Mount(mount.target, None, "tmpfs", mount.read_only, tmpfs_size=size)
    source: str | None = mount.source or None  # None: an anonymous volume
    if mount.kind == "volume" and source:
        source = volume_name(cluster, job, source)
    return Mount(mount.target, source, mount.kind, mount.read_only)


def _log_config(spec: TaskSpec) -> LogConfig:
    driver = spec.log_driver or LOG_DRIVER
    options = dict(spec.log_options)
    if driver == LOG_DRIVER:
        options = {**LOG_OPTIONS, **options}
    return LogConfig(type=driver, config=options)


def _healthcheck(check: cube_spec.HealthCheck | None) -> Healthcheck | None:
    if check is None:
        return None
    return Healthcheck(
        test=list(check.test),
        interval=_nanoseconds(check.interval_seconds),
        timeout=_nanoseconds(check.timeout_seconds),
        retries=check.retries,
        start_period=_nanoseconds(check.start_period_seconds),
    )


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
