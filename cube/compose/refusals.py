"""Keys of a Compose service that Cube does not support, each with the way out."""

from __future__ import annotations

from typing import Annotated, Any

from cube.compose.part import Part, Refused

_RESOURCES = "Write it under `deploy.resources`."
_NETWORK = "Cube makes one network for each job; remove it."
_KERNEL = "Set it on the nodes and choose them by a constraint."


class UnsupportedKeys(Part):
    """The part of a service that is refused."""

    annotations: Annotated[Any, Refused("Use `labels`.")] = None
    attach: Annotated[Any, Refused("Use `cube logs -f`.")] = None
    blkio_config: Annotated[Any, Refused(_KERNEL)] = None
    build: Annotated[Any, Refused("Build and push the image, and name it in `image`.")] = None
    cgroup: Annotated[Any, Refused("Remove it.")] = None
    cgroup_parent: Annotated[Any, Refused("Remove it.")] = None
    configs: Annotated[Any, Refused("Bind a file, or put it into the image.")] = None
    cpu_count: Annotated[Any, Refused(_RESOURCES)] = None
    cpu_percent: Annotated[Any, Refused(_RESOURCES)] = None
    cpu_period: Annotated[Any, Refused(_RESOURCES)] = None
    cpu_quota: Annotated[Any, Refused(_RESOURCES)] = None
    cpu_rt_period: Annotated[Any, Refused(_RESOURCES)] = None
    cpu_rt_runtime: Annotated[Any, Refused(_RESOURCES)] = None
    cpu_shares: Annotated[Any, Refused(_RESOURCES)] = None
    cpus: Annotated[Any, Refused("Write `deploy.resources.limits.cpus`.")] = None
    cpuset: Annotated[Any, Refused(_RESOURCES)] = None
    credential_spec: Annotated[Any, Refused("Remove it.")] = None
    develop: Annotated[Any, Refused("Remove it.")] = None
    device_cgroup_rules: Annotated[Any, Refused("Use `devices`.")] = None
    dns: Annotated[Any, Refused("Set it in the engine of the nodes.")] = None
    dns_opt: Annotated[Any, Refused("Set it in the engine of the nodes.")] = None
    dns_search: Annotated[Any, Refused("Set it in the engine of the nodes.")] = None
    domainname: Annotated[Any, Refused("Remove it.")] = None
    driver_opts: Annotated[Any, Refused("Remove it.")] = None
    extends: Annotated[Any, Refused("Use an anchor and a merge: `<<: *base`.")] = None
    external_links: Annotated[Any, Refused("Use the other job's published port.")] = None
    gpus: Annotated[Any, Refused("Write `x-cube: {gpu: {count: N}}`.")] = None
    group_add: Annotated[Any, Refused("Write `user: uid:gid`.")] = None
    hostname: Annotated[Any, Refused("Use the service's name; remove it.")] = None
    ipc: Annotated[Any, Refused("Remove it; `shm_size` is supported.")] = None
    isolation: Annotated[Any, Refused("Remove it.")] = None
    label_file: Annotated[Any, Refused("Use `labels`.")] = None
    links: Annotated[Any, Refused("Services of a job find one another by name; remove it.")] = None
    mac_address: Annotated[Any, Refused(_NETWORK)] = None
    mem_limit: Annotated[Any, Refused("Write `deploy.resources.limits.memory`.")] = None
    mem_reservation: Annotated[Any, Refused("Write `deploy.resources.reservations.memory`.")] = None
    mem_swappiness: Annotated[Any, Refused(_KERNEL)] = None
    memswap_limit: Annotated[Any, Refused("Remove it.")] = None
    models: Annotated[Any, Refused("Run the model as a service.")] = None
    network_mode: Annotated[Any, Refused(_NETWORK)] = None
    oom_kill_disable: Annotated[Any, Refused("Remove it.")] = None
    oom_score_adj: Annotated[Any, Refused("Remove it.")] = None
    pid: Annotated[Any, Refused("Remove it.")] = None
    pids_limit: Annotated[Any, Refused("Write `ulimits: {nproc: N}`.")] = None
    platform: Annotated[Any, Refused("Choose the image, and nodes by a constraint.")] = None
    post_start: Annotated[Any, Refused("Do it in the command.")] = None
    pre_stop: Annotated[Any, Refused("Handle the stop signal in the command.")] = None
    profiles: Annotated[Any, Refused("Put the service into a file of its own.")] = None
    provider: Annotated[Any, Refused("Remove it.")] = None
    pull_refresh_after: Annotated[Any, Refused("Write `pull_policy: always`.")] = None
    read_only: Annotated[Any, Refused("Mount what must not change with `:ro`.")] = None
    runtime: Annotated[Any, Refused("Set it in the engine of the nodes.")] = None
    scale: Annotated[Any, Refused("Write `deploy.replicas`.")] = None
    secrets: Annotated[Any, Refused("Use `env_file`, or bind a file.")] = None
    security_opt: Annotated[Any, Refused("Remove it.")] = None
    stdin_open: Annotated[Any, Refused("Tasks have no terminal; remove it.")] = None
    storage_opt: Annotated[Any, Refused("Remove it.")] = None
    sysctls: Annotated[Any, Refused(_KERNEL)] = None
    tty: Annotated[Any, Refused("Tasks have no terminal; remove it.")] = None
    use_api_socket: Annotated[Any, Refused("Bind the socket.")] = None
    userns_mode: Annotated[Any, Refused("Remove it.")] = None
    uts: Annotated[Any, Refused("Remove it.")] = None
    volumes_from: Annotated[Any, Refused("Name the same volumes in both services.")] = None
