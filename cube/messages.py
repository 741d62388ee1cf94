"""The catalogue: every message that actors exchange, and the two effects of a core.

Messages are frozen values. Each says who sends it to whom. Times inside a message are the
sender's own clock and are only ever compared with other times of the same message.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal, NamedTuple

from cube.spec import Demand, JobSpec, TaskSpec
from cube.task import (
    Decision,
    HostPort,
    Job,
    MachineUse,
    Node,
    NodeKey,
    Task,
    TaskUse,
    Token,
    TokenScope,
)
from cube.values import cheap, replace

MANAGER = "manager"
SCHEDULER = "scheduler"


def worker_name(node: str) -> str:
    """The actor that runs a node's tasks."""
    return f"worker/{node}"


def engine_name(node: str) -> str:
    """The actor that starts and stops a node's containers."""
    return f"engine/{node}"


# --- effects -----------------------------------------------------------------------------


class Send(NamedTuple):
    """Deliver `message` to the actor named `to`, `after` seconds from now (a timer)."""

    to: str
    message: Any
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Save:
    """Make `records` durable, all or none, before anything that is sent with them."""

    records: tuple[Any, ...]


Effect = Send | Save

# --- words shared by several messages ----------------------------------------------------


FENCE_SECONDS = 5.0  # a fenced task is gone so long after its lease at the latest


def resend_seconds(interval: float) -> float:
    """After how long a worker tells again what was not answered, at first.

    A second; a tenth of the report interval where many nodes make that longer, so that answers can
    wait for one another.
    """
    return max(1.0, interval / 10)


class Generation(NamedTuple):
    """Which manager speaks, and how new its word is. Ordered within one cluster."""

    cluster: str
    epoch: int
    number: int


class Round(NamedTuple):
    """Names one question to the scheduler."""

    epoch: int
    number: int


class RunKey(NamedTuple):
    """One run of one attempt of a task: what an engine starts once."""

    uid: str  # job/service/index@incarnation
    attempt: int
    restart: int


class Phase(IntEnum):
    """How far one run has come; observations are ordered by (attempt, restart, phase)."""

    STARTING = 0
    RUNNING = 1
    ENDED = 2


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a node is: told in every whole report. Capacity is what tasks may use."""

    name: str
    cpu_milli: int
    memory_mib: int
    disk_mib: int
    host: str = ""  # nodes of one host share its host ports; "" means the node itself
    datacenter: str = "dc1"
    labels: tuple[tuple[str, str], ...] = ()
    engine: str = "simulated"
    boot_id: str = ""
    gpus: tuple[str, ...] = ()  # the model of each GPU, by device number
    address: str = ""  # HOST:PORT where its worker listens; "": in the manager's own process


@cheap
@dataclass(frozen=True, slots=True)
class NodeRow:
    """One row of the fleet, in absolute values."""

    row: int
    info: NodeInfo
    open: bool  # may take new tasks
    cpu_used_milli: int = 0
    memory_used_mib: int = 0
    disk_used_mib: int = 0
    tasks: int = 0
    cpu_load_milli: int = 0  # measured
    ports: tuple[tuple[int, str], ...] = ()  # asked host ports in use by this row's tasks
    gpu_used_milli: tuple[int, ...] = ()  # by device number; what follows the last used is left out


# --- user -> manager ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Submit:
    """Make this job so. Repeating a request id gets the first answer again."""

    request: str
    job: JobSpec
    reply_to: str = ""
    again: bool = False  # run finished batch tasks once more


@dataclass(frozen=True, slots=True)
class Stop:
    """End a job, a service (`job/service`) or one task (`job/service/index`)."""

    request: str
    target: str
    reply_to: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """Change how many instances services of a job have, and nothing else."""

    request: str
    job: str
    counts: tuple[tuple[str, int], ...]  # (service, instances)
    reply_to: str = ""


@dataclass(frozen=True, slots=True)
class Restart:
    """Stop what runs of a job, a service or a task, one after the other, and start it anew."""

    request: str
    target: str
    reply_to: str = ""


@dataclass(frozen=True, slots=True)
class Rollback:
    """Make a job what it was in an earlier version; `version` 0: the one before."""

    request: str
    job: str
    reply_to: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Remove:
    """Forget an ended job; with `force`, stop it first."""

    request: str
    job: str
    reply_to: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """Ask for a `Snapshot` of everything the manager knows."""

    request: str
    reply_to: str


@dataclass(frozen=True, slots=True)
class Recover:
    """Decide on unknown containers of a manager in recovery; `which` empty: on all of them.

    Adopted ones are tasks from then on, of the job that they name; removed ones are stopped.
    """

    request: str
    reply_to: str = ""
    action: Literal["remove", "adopt"] = "remove"
    which: tuple[tuple[str, str], ...] = ()  # (node, uid)


@dataclass(frozen=True, slots=True)
class Drain:
    """Move a node's tasks elsewhere and give it no new ones; `on` False: let it have some again.

    After `deadline_seconds` what is left is stopped without waiting for anything.
    """

    request: str
    node: str
    reply_to: str = ""
    on: bool = True
    deadline_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class DeclareLost:
    """An operator knows that a silent node is gone: place its tasks elsewhere at once (rule 8)."""

    request: str
    node: str
    reply_to: str = ""


@dataclass(frozen=True, slots=True)
class LabelNode:
    """Add labels to those that a node's worker tells, or take added ones away again."""

    request: str
    node: str
    reply_to: str = ""
    add: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoveNode:
    """Forget a node that is gone for good, with all that was decided about it."""

    request: str
    node: str
    reply_to: str = ""


@dataclass(frozen=True, slots=True)
class CreateToken:
    """Let whoever holds the secret of that digest in. The secret itself stays at the edge."""

    request: str
    name: str
    scope: TokenScope
    digest: str = field(repr=False)  # SHA-256, in hex
    reply_to: str = ""
    seconds: float | None = None  # until it expires; None: never


@dataclass(frozen=True, slots=True)
class RemoveToken:
    """Let nobody in by that token any more."""

    request: str
    name: str
    reply_to: str = ""


@dataclass(frozen=True, slots=True)
class Enrol:
    """A machine wants to be a node: it has shown a join token, and that it has the key."""

    request: str
    node: str
    key: str  # SHA-256 of its public key, in hex
    join: str = field(repr=False)  # digest of the join token's secret
    digest: str = field(repr=False)  # of the secret that it is given if it may join
    reply_to: str = ""


@dataclass(frozen=True, slots=True)
class LookAccess:
    """Ask for the `Access` that doors need; its Reply's body."""

    request: str
    reply_to: str


@dataclass(frozen=True, slots=True)
class Access:
    """All tokens, and the keys of all nodes that have joined."""

    tokens: tuple[Token, ...]
    node_keys: dict[str, NodeKey]  # by node


@dataclass(frozen=True, slots=True)
class Reply:
    """The manager's answer to one request.

    `status` is one of ok, unchanged, changed, created, not-found, conflict, refused, forbidden,
    unavailable.
    """

    request: str
    status: str
    text: str = ""
    body: Any = None


# --- manager <-> scheduler ---------------------------------------------------------------


@cheap
@dataclass(frozen=True, slots=True)
class Question:
    """Tasks of one demand in a round, with where instances of their service already are."""

    demand: Demand
    tasks: tuple[str, ...]  # uids, in queue order
    present: tuple[tuple[int, int], ...] = ()  # (row, instances of demand.service there)
    whole: bool = False  # the demand is that of all of them: one row, which is taken once


@cheap
@dataclass(frozen=True, slots=True)
class Place:
    """Manager to scheduler: decide these, on this fleet. `base` 0 means `rows` is all of it."""

    round: Round
    base: int  # the fleet revision that `rows` builds on
    revision: int  # the fleet revision once `rows` is applied
    rows: tuple[NodeRow, ...]
    questions: tuple[Question, ...]
    order: tuple[int, ...]  # queue order: the k-th task to place is the next of questions[order[k]]
    fifo: bool = False  # one that does not fit ends the round: nobody passes it


@dataclass(frozen=True, slots=True)
class Placed:
    """Scheduler to manager: the answer to one round, in order."""

    round: Round
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class NeedFleet:
    """Scheduler to manager: I hold another base; tell me the whole fleet."""

    round: Round


# --- manager <-> worker ------------------------------------------------------------------


@cheap
@dataclass(frozen=True, slots=True)
class Wanted:
    """One task that a node should hold; `run` False: stop it and keep it for its report."""

    uid: str
    attempt: int
    version: int
    spec: TaskSpec
    run: bool = True
    restart: int = 0  # restarts of this attempt that the manager knows of
    failures: tuple[float, ...] = ()  # when charged failures were seen (manager's clock)
    gpus: tuple[int, ...] = ()  # the device numbers that it may use
    counted: int = -1  # the newest run whose judged end the manager has seen: in `failures`
    image: str = ""  # what the spec's image stands for, once that is known


@cheap
@dataclass(frozen=True, slots=True)
class Assign:
    """Manager to worker: all that the node should run. Newest wins; equal numbers are equal.

    Everything else that this worker holds is to be stopped and removed, except `keep`.
    """

    generation: Generation
    node: str
    now: float
    answers: tuple[int, int]  # (life, seq) of the latest report received
    interval: float  # seconds between whole reports
    lease: float  # seconds that `on_disconnect: stop` tasks may outlive the answered report
    grace: float  # seconds of silence after which the node is lost
    tasks: tuple[Wanted, ...]
    keep: tuple[tuple[str, int], ...] = ()  # (uid, attempt) unknown to the manager; leave alone
    tell_whole: bool = False  # send a whole report at once

    def repeats(self, before: Assign) -> bool:
        """Does it grant and want what that one did, and at most answer a later report?"""
        return self == replace(
            before, now=self.now, answers=self.answers, tell_whole=self.tell_whole
        )


@cheap
@dataclass(frozen=True, slots=True)
class Fact:
    """What a worker saw of one run."""

    uid: str
    attempt: int
    restart: int
    phase: Phase
    exit_code: int | None = None
    reason: str = ""  # why it ended, or why it has not started
    final: bool = False  # ended, and the worker will not restart it
    charged: bool = True  # an end that counts against budgets
    stopped: bool = False  # ended because the manager wanted it so
    retry_at: float | None = None  # worker's clock, while a restart waits
    healthy: bool | None = None  # None: no check, or no verdict yet
    ports: tuple[HostPort, ...] = ()
    failures: tuple[float, ...] = ()  # worker's clock
    handle: str = ""  # the engine's short id
    size: tuple[int, int, int] = (0, 0, 0)  # cpu, memory, disk of a container found by label
    gpus: tuple[int, ...] = ()  # the device numbers that it holds
    gpu_milli: int = 0  # thousandths of each of them
    version: int = 0  # of a container that the manager does not know: from which version of its
    spec: TaskSpec | None = None  # job it was made, and what that was, if its engine can tell
    image: str = ""  # what it runs, if its engine has images


@cheap
@dataclass(frozen=True, slots=True)
class Report:
    """Worker to manager: what the node does run. Whole: all of it; else only what changed."""

    node: str
    cluster: str
    life: int  # of this worker
    seq: int  # rising within a life
    now: float
    whole: bool
    echoes: Generation | None  # the latest Assign accepted
    facts: tuple[Fact, ...]
    info: NodeInfo | None = None  # in whole reports
    engine_error: str = ""  # the engine does not answer: absence means nothing
    cpu_load_milli: int = 0  # of the whole machine if it is this node's alone, else of its tasks
    memory_load_mib: int = 0
    machine: MachineUse | None = None  # in whole reports, as is what each task uses
    usage: tuple[TaskUse, ...] = ()


# --- worker <-> engine -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class List:
    """Worker to engine: what is there? Answered by `Listed`."""


@cheap
@dataclass(frozen=True, slots=True)
class Run:
    """Worker to engine: start this once. Answered by `Started` or `Exited` (failed start)."""

    key: RunKey
    version: int
    spec: TaskSpec
    failures: tuple[float, ...] = ()  # when charged failures were seen (worker's clock)
    gpus: tuple[int, ...] = ()  # the device numbers that it may use
    image: str = ""  # what the spec's image stands for; "": whatever it does here and now


@dataclass(frozen=True, slots=True)
class Kill:
    """Worker to engine: stop signal, `grace_seconds`, then kill. Answered by `Exited`."""

    key: RunKey
    grace_seconds: float


@dataclass(frozen=True, slots=True)
class Discard:
    """Worker to engine: remove what is left of an ended run (container, logs)."""

    key: RunKey


@cheap
@dataclass(frozen=True, slots=True)
class Started:
    """Engine to worker: it runs."""

    key: RunKey
    handle: str = ""
    ports: tuple[HostPort, ...] = ()
    image: str = ""  # `repository@sha256:…`, or an id that only this engine knows


@dataclass(frozen=True, slots=True)
class Progress:
    """Engine to worker: why a start takes long (an image is being pulled)."""

    key: RunKey
    text: str


@cheap
@dataclass(frozen=True, slots=True)
class Exited:
    """Engine to worker: it ended, or could not be started (`started` False).

    `interrupted`: not its own doing (the engine or the host restarted); not charged to budgets.
    `retry` False: trying again on this node cannot help (no such image).
    """

    key: RunKey
    exit_code: int | None
    reason: str = ""
    started: bool = True
    interrupted: bool = False
    retry: bool = True


@dataclass(frozen=True, slots=True)
class Health:
    """Engine to worker: the verdict of the health check changed."""

    key: RunKey
    healthy: bool
    reason: str = ""  # why not, where the engine knows


@dataclass(frozen=True, slots=True)
class Found:
    """One run that the engine knows of, with what its labels say."""

    key: RunKey
    running: bool
    exit_code: int | None = None
    reason: str = ""
    interrupted: bool = False
    handle: str = ""
    ports: tuple[HostPort, ...] = ()
    healthy: bool | None = None
    size: tuple[int, int, int] = (0, 0, 0)
    on_disconnect: str = "keep"
    stop_grace_seconds: float = 10.0
    failures: tuple[float, ...] = ()  # as its Run said: what was known when it started
    gpus: tuple[int, ...] = ()  # as its Run said
    gpu_milli: int = 0  # thousandths of each of them
    version: int = 0  # as its Run said, as is the spec; None: the engine does not remember it
    spec: TaskSpec | None = None
    image: str = ""  # as `Started` says


@dataclass(frozen=True, slots=True)
class Listed:
    """Engine to worker: everything of this cluster and node that exists, at one moment.

    Sent in answer to `List` and by itself after the engine came back. `info` is the node.
    """

    found: tuple[Found, ...]
    info: NodeInfo


@dataclass(frozen=True, slots=True)
class EngineDown:
    """Engine to worker: the engine does not answer; a `Listed` follows when it does."""

    reason: str


@dataclass(frozen=True, slots=True)
class Measured:
    """Engine to worker: what the node's tasks use now, together and each."""

    cpu_load_milli: int
    memory_load_mib: int
    tasks: tuple[TaskUse, ...] = ()


@dataclass(frozen=True, slots=True)
class MachineMeasured:
    """Engine to worker: what the whole machine uses now."""

    use: MachineUse


# --- timers and life ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wake:
    """World to actor: the first message of a life. `life` rises with each."""

    life: int


@dataclass(frozen=True, slots=True)
class StoreDown:
    """Actor host to its core: saves fail; what was decided is held until they succeed."""

    reason: str


@dataclass(frozen=True, slots=True)
class StoreUp:
    """Actor host to its core: saves succeed again."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """World to manager: an actor's core raised twice on this message; it will not see it again."""

    actor: str
    message: str  # its kind
    error: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A core to itself: look at the clock."""


@dataclass(frozen=True, slots=True)
class BeginRound:
    """Manager to itself: what happens at this moment has been heard, so ask now."""


@dataclass(frozen=True, slots=True)
class RestartDue:
    """Worker to itself: the delay before a restart is over."""

    key: RunKey


@dataclass(frozen=True, slots=True)
class RunDue:
    """Simulated engine to itself: a run starts (`exit_code` None) or ends."""

    key: RunKey
    exit_code: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the manager knows, at one revision. Immutable; the edge renders it."""

    cluster: str
    epoch: int
    revision: int
    now: float
    policy: str
    jobs: tuple[Job, ...]
    tasks: tuple[Task, ...]
    nodes: tuple[Node, ...]
    rows: tuple[NodeRow, ...]
    volumes: tuple[tuple[str, str], ...] = ()  # (job_volume, node)
    unknown: tuple[tuple[str, Fact], ...] = ()  # (node, container) awaiting recovery
    note: str = ""  # recovery, cut-off, store down: why the manager is not itself
    reports_per_second: float = 50.0  # the manager's options, as is the queue's discipline
    queue: Literal["bypass", "fifo"] = "bypass"
