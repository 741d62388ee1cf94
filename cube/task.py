"""A task's states, the one transition table, and the records that must survive.

Every change of a task's state goes through `transition`, so the table below is the whole truth
about a task's life; `docs/task-states.md` is drawn from it. Records are frozen: a change makes a
new one, and the new one is what is saved.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple

from cube.spec import JobSpec, TaskSpec
from cube.values import cheap


class State(StrEnum):
    """Where a task stands. The last three are final and never revive."""

    PENDING = "pending"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    STOPPING = "stopping"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"

    def __init__(self, text: str) -> None:
        # Attributes, not properties: they are asked more often than anything else.
        self.final = text in ("completed", "failed", "stopped")  # has it ended for good?
        self.placed = text in ("scheduled", "running", "stopping")  # does it hold resources?


FINAL: Final = frozenset(state for state in State if state.final)
PLACED_STATES: Final = frozenset(state for state in State if state.placed)


class TaskEvent(StrEnum):
    """What can befall a task."""

    PLACED = "placed"  # a node was picked
    STARTED = "started"  # its node reports it running
    COMPLETED = "completed"  # a batch task exited with 0
    GAVE_UP = "gave up"  # it failed and its budgets are spent
    RESCHEDULED = "rescheduled"  # it failed on its node and may run elsewhere
    LOST = "lost"  # its node is lost
    STOP = "stop"  # a user wants it ended
    REPLACE = "replace"  # a new version, a drain or a restart wants it placed anew
    GONE = "gone"  # its node reports that the stop is done


Then = Literal["stopped", "pending"]  # what follows STOPPING

_P, _S, _R, _X = State.PENDING, State.SCHEDULED, State.RUNNING, State.STOPPING
_E = TaskEvent

TABLE: Final[dict[tuple[State, TaskEvent], State | Literal["then"]]] = {
    (_P, _E.PLACED): _S,
    (_P, _E.STOP): State.STOPPED,
    (_P, _E.REPLACE): _P,
    (_S, _E.STARTED): _R,
    (_S, _E.COMPLETED): State.COMPLETED,
    (_S, _E.GAVE_UP): State.FAILED,
    (_S, _E.RESCHEDULED): _P,
    (_S, _E.LOST): _P,
    (_S, _E.STOP): _X,
    (_S, _E.REPLACE): _X,
    (_R, _E.STARTED): _R,
    (_R, _E.COMPLETED): State.COMPLETED,
    (_R, _E.GAVE_UP): State.FAILED,
    (_R, _E.RESCHEDULED): _P,
    (_R, _E.LOST): _P,
    (_R, _E.STOP): _X,
    (_R, _E.REPLACE): _X,
    (_X, _E.STARTED): _X,
    (_X, _E.LOST): "then",
    (_X, _E.GONE): "then",
    (_X, _E.STOP): _X,
    (_X, _E.REPLACE): _X,
}


class Impossible(AssertionError):
    """A pair of state and event that the table does not know: a bug in a core."""


def transition(state: State, event: TaskEvent, then: Then = "stopped") -> State:
    """The state after `event`; `then` says what follows STOPPING.

    Raises:
        Impossible: the table has no such pair.
    """
    after = TABLE.get((state, event))
    if after is None:
        raise Impossible(f"a {state} task cannot be {event}")
    return State(then) if after == "then" else State(after)


class HostPort(NamedTuple):
    """A port as it was really published."""

    container: int
    host: int
    protocol: str


@cheap
@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a filter turned nodes away: how many, and how near the best of them came."""

    reason: str  # cpu, memory, disk, gpu, port 80/tcp, constraint ..., spread ..., closed, ...
    nodes: int
    need: int | None = None  # in the resource's unit
    best: int | None = None  # the most that any of these nodes has free
    node: str | None = None  # which one that is


@cheap
@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one task, and why. `row` None: it fits nowhere now."""

    uid: str
    row: int | None
    node: str | None = None
    policy: str = ""
    score: float = 0.0
    runners_up: tuple[tuple[str, float], ...] = ()  # next best nodes with their scores
    rejections: tuple[Rejection, ...] = ()
    feasible: int = 0  # nodes that passed every filter
    error: str = ""  # the policy raised or returned nonsense
    gpus: tuple[int, ...] = ()  # the device numbers that were chosen on the node
    whole: bool = False  # it is about all of its job at once, which is kept together


@cheap
@dataclass(frozen=True, slots=True)
class Task:
    """One instance of a task spec, as the manager knows it."""

    id: str  # job/service/index
    incarnation: int  # when it was made, in milliseconds, and never the same twice for one id
    job: str
    service: str
    index: str  # a number, or the node's name for global tasks
    version: int  # of the job, whose spec this is
    spec: TaskSpec
    state: State = State.PENDING
    then: Then = "stopped"
    revision: int = 0  # of its latest change
    submitted: int = 0  # revision of the submit that made it: its place in the queue
    since: float = 0.0  # when it came into this state
    node: str | None = None
    attempt: int = 0  # rises with every placement
    restart: int = 0  # of this attempt, as last reported
    phase: int = -1  # of that run, as last reported; -1: nothing reported yet
    healthy: bool | None = None
    retry_at: float | None = None  # when its worker will restart it
    not_before: float = 0.0  # when it may be placed again (reschedule back-off)
    reschedules: int = 0
    failures: tuple[float, ...] = ()  # when charged failures were seen
    exit_code: int | None = None
    reason: str = ""  # why it is where it is
    ports: tuple[HostPort, ...] = ()
    handle: str = ""  # the engine's id of the container
    decision: Decision | None = None  # the latest placement decision, or why there was none
    lost_on: str = ""  # it waits because that node was lost: if it returns, so does the task
    gpus: tuple[int, ...] = ()  # the devices that its latest attempt was given
    displaced: bool = False  # it was stopped because its own node has no place for it now
    placed_on: str = ""  # where its latest attempt was placed, also once it is there no longer

    @property
    def uid(self) -> str:
        """Unique for ever: tells a task from its namesake of an earlier incarnation."""
        return f"{self.id}@{self.incarnation}"


_UID = re.compile(r"([^\s/@]+)/([^\s/@]+)/([^\s/@]+)@([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class TaskName:
    """The parts of a task's uid."""

    job: str
    service: str
    index: str
    incarnation: int

    @classmethod
    def parse(cls, uid: str) -> TaskName:
        """Split `job/service/index@incarnation`.

        Raises:
            ValueError: it is of another form; labels of containers can say anything.
        """
        found = _UID.fullmatch(uid)
        if found is None:
            raise ValueError(f"{uid!r} is no task")
        job, service, index, incarnation = found.groups()
        return cls(job, service, index, int(incarnation))


Images = tuple[tuple[str, str], ...]  # (service, what its image stood for at first)


@dataclass(frozen=True, slots=True)
class JobVersion:
    """What a job was in one of its versions."""

    version: int
    spec: JobSpec
    images: Images = ()


@cheap
@dataclass(frozen=True, slots=True)
class Job:
    """What a user submitted, in its newest version."""

    name: str
    spec: JobSpec
    version: int
    revision: int
    submitted: int  # revision of the first submit of this version
    stopped: bool = False  # a user ended it
    halted: str = ""  # why a roll-out stopped half way
    removing: bool = False  # to be forgotten once all its tasks have ended
    earlier: tuple[JobVersion, ...] = ()  # those before that differ, newest first
    restarting: tuple[tuple[str, int], ...] = ()  # (uid, attempt) of instances to be made anew
    adopted: bool = False  # made from containers that a lost store left, not from a file
    images: Images = ()


class MachineUse(NamedTuple):
    """What a machine uses of what it has, Cube's tasks and everything else."""

    cpu_milli: int
    cpu_of_milli: int
    memory_mib: int
    memory_of_mib: int
    disk_mib: int  # of the file system that tasks fill
    disk_of_mib: int
    shared: bool = False  # several nodes are on it: what each uses cannot be told apart


class TaskUse(NamedTuple):
    """What one task uses."""

    uid: str
    attempt: int
    cpu_milli: int
    memory_mib: int


class NodeState(StrEnum):
    """A node's life."""

    ALIVE = "alive"
    SUSPECT = "suspect"  # missed reports; takes no new tasks
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Node:
    """A node as the manager knows it; `capacity` and labels come from its worker."""

    name: str
    state: NodeState
    since: float  # when it came into this state
    heard: float  # when its latest report came
    row: int  # in the fleet
    engine: str
    datacenter: str
    labels: tuple[tuple[str, str], ...]
    note: str = ""  # why it takes no new tasks
    draining: bool = False  # an operator wants it empty
    deadline: float | None = None  # when the drain waits no longer
    machine: MachineUse | None = None  # as last measured; None: it is not
    usage: tuple[TaskUse, ...] = ()
    engine_error: str = ""  # its engine does not answer


# --- records that are not tasks, jobs or nodes -------------------------------------------


@cheap
@dataclass(frozen=True, slots=True)
class Event:
    """One line of history."""

    revision: int
    at: float
    kind: str  # job.submitted, task.placed, task.failed, node.lost, ...
    text: str
    job: str = ""
    task: str = ""
    node: str = ""
    epoch: int = 0  # of the manager that wrote it: tells histories of one store apart


@dataclass(frozen=True, slots=True)
class Meta:
    """A value of the manager itself: cluster, epoch, revision, spans, incarnation, patience."""

    key: str
    value: str


@cheap
@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to a request id, so that repeating it changes nothing."""

    request: str
    revision: int
    status: str
    text: str
    body: Any = None  # plain JSON values


@dataclass(frozen=True, slots=True)
class Volume:
    """Where a named volume (`job_volume`) or host path has its data."""

    name: str
    node: str
    revision: int


@dataclass(frozen=True, slots=True)
class NodeMark:
    """What an operator decided about a node; it holds whether the node is there or not."""

    node: str
    draining: bool
    revision: int
    labels: tuple[tuple[str, str], ...] = ()  # added to those that its worker tells
    deadline: float | None = None  # when a drain waits no longer


TokenScope = Literal["full", "read", "join"]


@dataclass(frozen=True, slots=True)
class Token:
    """What a bearer may do. The secret itself is known to nobody but them."""

    name: str
    scope: TokenScope
    digest: str = field(repr=False)  # SHA-256 of the secret, in hex
    created: float
    expires: float | None = None  # seconds since 1970; None: never


@dataclass(frozen=True, slots=True)
class NodeKey:
    """What a node that has joined proves itself with. Without this record it is nobody."""

    node: str
    key: str  # SHA-256 of its public key, in hex
    digest: str = field(repr=False)  # SHA-256 of its secret, in hex
    since: float


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete the record of that kind and key."""

    kind: Literal["job", "task", "volume", "node mark", "token", "node key"]
    key: str
    revision: int


Record = Task | Job | Event | Meta | Answer | Volume | NodeMark | Token | NodeKey | Forget


@dataclass(frozen=True, slots=True)
class Saved:
    """What a store gives back: the latest record of every key. Events stay in the store."""

    meta: dict[str, str]
    jobs: dict[str, Job]
    tasks: dict[str, Task]  # by uid
    volumes: dict[str, Volume]
    answers: dict[str, Answer]
    node_marks: dict[str, NodeMark] = field(default_factory=dict)  # by node
    tokens: dict[str, Token] = field(default_factory=dict)  # by name
    node_keys: dict[str, NodeKey] = field(default_factory=dict)  # by node
