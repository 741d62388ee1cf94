"""The JSON shapes of what there is: what the API answers, the client returns, `-o json` prints.

Owns names and types only. Times are RFC 3339 in UTC, sizes whole milli-cores and MiB, values of
variables that are named like secrets masked. Every key is always there.
"""

from __future__ import annotations

from typing_extensions import TypedDict


class SizeView(TypedDict):
    """An amount of each resource."""

    cpu_milli: int
    memory_mib: int
    disk_mib: int
    gpu_milli: int  # thousandths of a device


class LimitsView(TypedDict):
    """What the engine enforces; None is without limit."""

    cpu_milli: int | None
    memory_mib: int | None


class PortView(TypedDict):
    """A published port; `host` None: chosen when the task starts."""

    container: int
    host: int | None
    protocol: str


class RejectionView(TypedDict):
    """Nodes that one filter turned away. `need` and `best` are in the resource's unit."""

    reason: str
    nodes: int
    need: int | None
    best: int | None  # the most that any of these nodes has free
    node: str | None  # which one that is
    text: str  # the same as a sentence


class ScoreView(TypedDict):
    """A node with its score; lower is better."""

    node: str
    score: float


class DecisionView(TypedDict):
    """What was decided for one task, and why. `node` None: it fits nowhere."""

    node: str | None
    policy: str
    score: float | None
    runners_up: list[ScoreView]
    feasible: int  # nodes that passed every filter
    rejections: list[RejectionView]
    error: str  # the policy failed
    text: str  # the whole as one sentence


class TaskView(TypedDict):
    """One instance of a service."""

    id: str  # job/service/index
    job: str
    service: str
    index: str
    kind: str  # service, batch, global, global-batch
    image: str
    version: int  # of the job
    state: str
    then: str | None  # what follows `stopping`
    since: str
    reason: str
    node: str | None
    attempt: int
    restart: int
    restarting: bool  # its run ended, and its worker starts it again
    healthy: bool | None
    ready: bool  # running, healthy where that is checked; or completed
    exit_code: int | None
    retry_at: str | None  # when its worker starts it again
    not_before: str | None  # when it may be placed again
    reschedules: int
    failures: int  # charged to its restart budget
    ports: list[PortView]
    gpus: list[int]  # the device numbers that its latest attempt was given
    container: str  # the engine's id of it
    needs: SizeView
    revision: int
    decision: DecisionView | None


class AddressView(TypedDict):
    """Where one instance is reached from elsewhere."""

    task: str
    node: str
    host: str  # of the node
    port: int  # published there
    container: int  # the port behind it
    protocol: str
    healthy: bool | None
    ready: bool


class EndpointsView(TypedDict):
    """Where a service is reached; without addresses only by its name, on its tasks' own nodes."""

    job: str
    service: str
    instances: int  # that have not ended
    ready: int
    addresses: list[AddressView]


class ServiceView(TypedDict):
    """One service of a job: what it should be, and how many of its tasks are where."""

    name: str
    kind: str
    image: str
    command: list[str] | None
    environment: dict[str, str]  # secrets masked
    instances: int  # wanted; for global services the tasks there are
    states: dict[str, int]  # tasks by state, only states that occur
    ready: int
    needs: SizeView
    limits: LimitsView
    ports: list[PortView]  # as asked for
    volumes: list[str]
    constraints: list[str]
    depends_on: list[str]


class JobView(TypedDict):
    """A job in its newest version."""

    name: str
    # starting, running, pending, updating, halted, degraded, stopping, stopped, completed, failed
    state: str
    ready: bool  # every task is of this version and ready
    reason: str  # why it is not ready, in a sentence
    version: int
    revision: int
    priority: int
    datacenters: list[str]
    together: bool  # all of its tasks are kept on one node
    source: str  # the file it came from
    stopped: bool
    halted: str  # why a roll-out stopped half way
    removing: bool
    services: list[ServiceView]


class MachineView(TypedDict):
    """What a machine uses, Cube's tasks and everything else, of what it has."""

    used: SizeView
    capacity: SizeView
    shared: bool  # several nodes are on it


class UsageView(TypedDict):
    """What one task uses now, and what it was placed with."""

    task: str
    node: str
    cpu_milli: int
    memory_mib: int
    needs: SizeView


class NodeView(TypedDict):
    """A node with what it offers and what is taken."""

    name: str
    state: str  # alive, suspect, lost
    open: bool  # takes new tasks
    since: str
    heard: str  # its latest report
    engine: str
    host: str
    address: str  # where its worker listens; "": in the manager's own process
    datacenter: str
    labels: dict[str, str]
    note: str  # why it takes no new tasks
    draining: bool  # an operator wants it empty
    deadline: str | None  # when the drain waits no longer
    tasks: int
    capacity: SizeView
    used: SizeView
    free: SizeView
    gpus: list[str]  # the model of each device, by number; "": another node's
    cpu_load_milli: int  # measured: of the machine, or of this node's tasks if it is shared
    machine: MachineView | None  # None: not measured
    ports: list[str]  # host ports in use, as in 8080/tcp


class EventView(TypedDict):
    """One line of history. Epoch and revision together name its place."""

    epoch: int
    revision: int
    at: str
    kind: str  # job.submitted, task.placed, node.lost, ...
    text: str
    job: str
    task: str
    node: str


class ClusterView(TypedDict):
    """The cluster at one revision."""

    cluster: str
    version: str  # of Cube
    epoch: int
    revision: int
    now: str
    policy: str
    note: str  # why the manager is not itself: recovery, cut off, store down
    jobs: int
    tasks: dict[str, int]  # by state, only states that occur
    nodes: dict[str, int]  # by state, only states that occur
    capacity: SizeView
    used: SizeView
    unknown: int  # containers that await recovery


class UnknownView(TypedDict):
    """A container of this cluster that the store never knew."""

    node: str
    task: str
    container: str
    state: str  # starting, running, ended
    image: str  # empty until its worker has told what it was made from
    needs: SizeView


class RecoveryView(TypedDict):
    """What awaits a decision after the store was lost."""

    note: str
    unknown: list[UnknownView]
