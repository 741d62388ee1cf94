"""What a job is, once read: frozen values that placement, worker and engine share.

A Compose file is read into these by `cube.compose`; the simulator builds them directly. Equal
specs compare equal, which is how a submit tells `unchanged` from a new version. Nothing here
reads files or knows YAML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from operator import attrgetter
from typing import Literal

from cube.values import cheap

DEFAULT_CPU_MILLI = 100  # what a task counts for that asks for nothing
DEFAULT_MEMORY_MIB = 128
WHOLE_GPU_MILLI = 1000  # thousandths of one device


class Kind(StrEnum):
    """The type of a task spec, by its `deploy.mode`."""

    SERVICE = "service"  # replicated
    BATCH = "batch"  # replicated-job
    GLOBAL = "global"  # one instance on every node that fits
    GLOBAL_BATCH = "global-batch"  # global-job

    def __init__(self, text: str) -> None:
        self.is_batch = text.endswith("batch")  # does exiting with 0 complete it?
        self.is_global = text.startswith("global")  # one per node instead of a number of them?


@dataclass(frozen=True, slots=True)
class Port:
    """A published port; `host` None lets the engine choose a free one."""

    container: int
    host: int | None = None
    protocol: Literal["tcp", "udp"] = "tcp"
    host_ip: str = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume, host path or tmpfs in a container. Unshared data ties a task to its node."""

    kind: Literal["volume", "bind", "tmpfs"]
    source: str  # volume name ("" is anonymous) or absolute host path
    target: str
    read_only: bool = False
    shared: bool = False  # reachable from every node: does not pin
    size_mib: int | None = None  # tmpfs only


@dataclass(frozen=True, slots=True)
class Ulimit:
    """One resource limit of the process."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Compose's healthcheck, run by the engine inside the container."""

    test: tuple[str, ...]  # ("CMD", ...), ("CMD-SHELL", "...") or ("NONE",): disabled
    interval_seconds: float = 30.0
    timeout_seconds: float = 30.0
    retries: int = 3
    start_period_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class PortCheck:
    """`x-cube.check`: asked over the network by the engine, from outside the container."""

    port: int  # of the container, tcp
    path: str | None = None  # asked for by HTTP; None: that something listens is enough
    interval_seconds: float = 10.0
    timeout_seconds: float = 2.0
    retries: int = 3
    start_period_seconds: float = 0.0

    def __str__(self) -> str:
        return f"tcp :{self.port}" if self.path is None else f"GET :{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class Dependency:
    """A service that must have come so far before this one is placed."""

    service: str
    condition: Literal["started", "healthy", "completed"] = "started"


@dataclass(frozen=True, slots=True)
class Constraint:
    """`attribute op value`, as in `node.labels.disk == ssd`."""

    attribute: str  # node.name, node.hostname, node.datacenter, node.labels.KEY
    operator: Literal["==", "!="]
    value: str

    def __str__(self) -> str:
        return f"{self.attribute} {self.operator} {self.value}"


@dataclass(frozen=True, slots=True)
class Spread:
    """How instances of one service share out over nodes, before the score decides."""

    mode: Literal["prefer", "require", "none"] = "prefer"
    by: str = "node"  # "node", "datacenter" or "node.labels.KEY"


@dataclass(frozen=True, slots=True)
class GpuNeed:
    """The GPUs of a task: whole devices, or a share of one."""

    count: int = 1
    milli: int = WHOLE_GPU_MILLI  # of each, in thousandths; a share is of one device only
    models: tuple[str, ...] = ()  # any of these will do; empty: any at all

    @property
    def total_milli(self) -> int:
        """Thousandths of a device altogether."""
        return self.count * self.milli

    @classmethod
    def all_of(cls, needs: Sequence[GpuNeed]) -> GpuNeed | None:
        """All of these on one node: whole devices of like models, or one need; else None."""
        if len(needs) < 2:
            return needs[0] if needs else None
        whole = all(need.milli == WHOLE_GPU_MILLI for need in needs)
        if not whole or len({need.models for need in needs}) > 1:
            return None
        return cls(sum(need.count for need in needs), models=needs[0].models)


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """What the worker does when a run ends: try again on the same node, within a budget."""

    condition: Literal["any", "on-failure", "none"] = "any"
    attempts: int | None = 2  # restarts within `interval_seconds`; None is without limit
    interval_seconds: float = 1800.0
    delay_seconds: float = 15.0


@dataclass(frozen=True, slots=True)
class ReschedulePolicy:
    """What the manager does when the worker has given up: place elsewhere, with back-off."""

    attempts: int | None = None  # None is without limit; 0 is never
    delay_seconds: float = 30.0
    max_delay_seconds: float = 3600.0


SERVICE_RESTART = RestartPolicy()
BATCH_RESTART = RestartPolicy("on-failure", 3, 86400.0, 15.0)


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One service of a job: what each of its tasks runs and needs.

    Sizes are whole milli-cores and MiB. `cpu_milli`, `memory_mib`, `disk_mib` are what placement
    counts; `*_limit_*` are what the engine enforces (None: no limit).
    """

    name: str
    image: str
    kind: Kind = Kind.SERVICE
    instances: int = 1
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: tuple[tuple[str, str], ...] = ()
    working_dir: str | None = None
    user: str | None = None
    ports: tuple[Port, ...] = ()
    mounts: tuple[Mount, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    stop_signal: str | None = None
    stop_grace_seconds: float = 10.0
    pull_policy: Literal["missing", "always", "never"] = "missing"
    init: bool = False
    ulimits: tuple[Ulimit, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    privileged: bool = False
    shm_size_bytes: int | None = None
    extra_hosts: tuple[tuple[str, str], ...] = ()
    log_driver: str | None = None
    log_options: tuple[tuple[str, str], ...] = ()
    healthcheck: HealthCheck | None = None
    check: PortCheck | None = None  # instead of a healthcheck
    depends_on: tuple[Dependency, ...] = ()
    cpu_milli: int = DEFAULT_CPU_MILLI
    memory_mib: int = DEFAULT_MEMORY_MIB
    disk_mib: int = 0
    gpu: GpuNeed | None = None
    cpu_limit_milli: int | None = None
    memory_limit_mib: int | None = None
    constraints: tuple[Constraint, ...] = ()
    max_per_node: int | None = None
    spread: Spread = Spread()
    on_disconnect: Literal["keep", "stop"] = "keep"
    restart: RestartPolicy = SERVICE_RESTART
    reschedule: ReschedulePolicy = ReschedulePolicy()

    @property
    def has_health(self) -> bool:
        """Is there a health check to wait for? A test of ("NONE",) turns the image's own off."""
        if self.check is not None:
            return True
        return self.healthcheck is not None and self.healthcheck.test != ("NONE",)

    def same_container(self, other: TaskSpec) -> bool:
        """Would a task of `other` run in the very container that one of this spec runs in?

        How many there are, what waits for what and what follows an end can change around a
        running container; everything else needs a new one.
        """
        return self is other or _container(self) == _container(other)

    @property
    def pinning_mounts(self) -> tuple[Mount, ...]:
        """Mounts whose data lives on one node only."""
        return tuple(m for m in self.mounts if m.kind != "tmpfs" and m.source and not m.shared)


_AROUND = {"instances", "restart", "reschedule", "depends_on"}  # a container
_container = attrgetter(*(f.name for f in fields(TaskSpec) if f.name not in _AROUND))


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a user submits: services under one name."""

    name: str
    services: tuple[TaskSpec, ...]
    priority: int = 50  # 0 to 100; higher is placed first
    datacenters: tuple[str, ...] = ()  # empty: any
    source: str = ""  # the file it came from; another file may not take its name
    together: bool = False  # all tasks on one node

    def service(self, name: str) -> TaskSpec | None:
        """The service of that name, or None."""
        for service in self.services:
            if service.name == name:
                return service
        return None


@cheap
@dataclass(frozen=True, slots=True)
class Demand:
    """What placement needs to know of a task. Equal demands share scores and answers."""

    cpu_milli: int
    memory_mib: int
    disk_mib: int = 0
    ports: tuple[tuple[int, str], ...] = ()  # asked host ports with protocol
    constraints: tuple[Constraint, ...] = ()
    datacenters: tuple[str, ...] = ()
    node: str | None = None  # pinned to this node (global tasks, data)
    service: str = ""  # "job/service"; "" where nothing is spread or counted; the whole's is "job"
    spread: Spread = Spread("none")
    max_per_node: int | None = None
    gpu: GpuNeed | None = None
    together: bool = False  # its job is kept on one node: `node`, once there is one

    @classmethod
    def of(cls, job: JobSpec, spec: TaskSpec, node: str | None = None) -> Demand:
        """The demand of a task of `spec` in `job`, tied to `node` if given."""
        counted = (spec.spread.mode != "none" and not spec.kind.is_batch) or (
            spec.max_per_node is not None
        )
        together = job.together and not spec.kind.is_global
        alone = spec.kind.is_batch or spec.kind.is_global or together
        spread = Spread("none") if alone else spec.spread
        return cls(
            spec.cpu_milli,
            spec.memory_mib,
            spec.disk_mib,
            tuple((p.host, p.protocol) for p in spec.ports if p.host is not None),
            spec.constraints,
            job.datacenters,
            node,
            f"{job.name}/{spec.name}" if counted else "",
            spread,
            spec.max_per_node,
            spec.gpu,
            together,
        )

    @classmethod
    def of_whole(cls, job: JobSpec, parts: Sequence[Demand]) -> Demand:
        """What tasks of a job that is kept together need of the one node that they go to.

        Of GPUs that cannot be added up (see `GpuNeed.all_of`) only the largest need is looked at.
        """
        ports = dict.fromkeys(port for part in parts for port in part.ports)
        constraints = dict.fromkeys(c for part in parts for c in part.constraints)
        needs = [part.gpu for part in parts if part.gpu is not None]
        return cls(
            sum(part.cpu_milli for part in parts),
            sum(part.memory_mib for part in parts),
            sum(part.disk_mib for part in parts),
            tuple(ports),
            tuple(constraints),
            job.datacenters,
            service=job.name,
            gpu=GpuNeed.all_of(needs) or max(needs, key=attrgetter("total_milli"), default=None),
            together=True,
        )

    @property
    def size(self) -> tuple[int, int, int]:
        """(cpu_milli, memory_mib, disk_mib)."""
        return (self.cpu_milli, self.memory_mib, self.disk_mib)

    @property
    def gpu_milli(self) -> int:
        """Thousandths of a GPU altogether; 0: it needs none."""
        return 0 if self.gpu is None else self.gpu.total_milli

    def pinned(self, node: str) -> Demand:
        """The same demand, on one node only."""
        return replace(self, node=node)
