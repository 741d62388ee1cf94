"""One run of a task on a node: what is known of it, and what follows when it ends.

The worker owns these; nothing here sends anything. The order of observations is (attempt, restart,
phase), and every change here keeps to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cube.marks import mark
from cube.messages import Exited, Fact, Found, Phase, Run, RunKey, Wanted
from cube.spec import TaskSpec
from cube.task import HostPort

SAME_FAILURE_SECONDS = 0.5  # two tellings of one failure differ by less


@dataclass(slots=True)
class Held:
    """An attempt that is on this node, in its newest run."""

    uid: str
    attempt: int
    restart: int = 0
    phase: Phase = Phase.STARTING
    wanted: Wanted | None = None  # None: found by label, nobody asked for it yet
    killing: float | None = None  # the grace of the Kill that is under way, seconds
    sick: bool = False  # killed because its health check failed
    complaint: str = ""  # what that check said
    fenced: bool = False  # killed because its lease ended
    exit_code: int | None = None
    reason: str = ""
    interrupted: bool = False  # ended through no doing of its own
    retry: bool = True  # would another start on this node help?
    started: bool = True
    final: bool = False
    stopped: bool = False
    charged: bool = False
    retry_at: float | None = None
    healthy: bool | None = None
    handle: str = ""
    ports: tuple[HostPort, ...] = ()
    image: str = ""
    failures: tuple[float, ...] = ()
    size: tuple[int, int, int] = (0, 0, 0)
    gpus: tuple[int, ...] = ()
    gpu_milli: int = 0
    on_disconnect: str = "keep"
    grace_seconds: float = 10.0
    version: int = 0  # what a found container was made from, as is the spec
    spec: TaskSpec | None = None
    strange: bool = False  # the manager does not know it: tell what it was made from
    leftovers: set[int] = field(default_factory=set)  # earlier runs whose containers still lie here

    @property
    def key(self) -> RunKey:
        """The newest run."""
        return RunKey(self.uid, self.attempt, self.restart)

    @property
    def lies_idle(self) -> bool:
        """It ended, and nobody has decided yet what follows?"""
        return (
            self.phase is Phase.ENDED
            and not self.final
            and self.retry_at is None
            and not self.fenced
        )

    @property
    def is_found_sick(self) -> bool:
        """It was adopted with a verdict on which an earlier life of ours did not act?"""
        running = self.phase is Phase.RUNNING and self.killing is None
        return running and self.healthy is False and not self.sick

    def learn(self, wanted: Wanted, manager_now: float, now: float) -> bool:
        """Take what the manager says of it; nobody forgets a failure because of the other.

        Says whether its fact may be another one now.
        """
        news = self.wanted is None or self.wanted.spec is not wanted.spec
        self.wanted = wanted
        self.on_disconnect = wanted.spec.on_disconnect
        self.grace_seconds = wanted.spec.stop_grace_seconds
        if wanted.failures:
            told = tuple(now - (manager_now - at) for at in wanted.failures)
            known = remembered(told, self.failures)
            if len(known) > len(self.failures):
                mark("budget-of-assign")
                self.failures, news = known, True
        return news

    def begin(self) -> None:
        """A new run starts."""
        self.phase = Phase.STARTING
        self.killing = None
        self.sick = self.fenced = self.interrupted = False
        self.charged = self.final = False
        self.exit_code, self.retry_at, self.healthy = None, None, None
        self.reason = ""

    def run(self) -> Run:
        """The order to start it; what it carries comes back when the engine lists it."""
        assert self.wanted is not None
        wanted = self.wanted
        return Run(self.key, wanted.version, wanted.spec, self.failures, wanted.gpus, wanted.image)

    def end(self, exited: Exited) -> None:
        """The run ended; what follows is decided by `after_exit` or `end_as_stopped`."""
        self.phase = Phase.ENDED
        self.exit_code = exited.exit_code
        self.reason = self._sickness() if self.sick else exited.reason
        self.interrupted = exited.interrupted or self.fenced
        self.started, self.retry = exited.started, exited.retry
        if self.interrupted and self.exit_code == 0:
            self.exit_code = None  # cut short: it has not done what it was for
        self.killing = None
        self.healthy = None

    def _sickness(self) -> str:
        complaint = f": {self.complaint}" if self.complaint else ""
        return f"its health check failed{complaint}"

    def end_as_stopped(self) -> None:
        """The manager wanted it to end, and it has."""
        self.phase = Phase.ENDED
        self.final = self.stopped = True
        self.charged = False
        self.retry_at = None

    def fact(self) -> Fact:
        """What to report."""
        size, gpus, gpu_milli = self.size, self.gpus, self.gpu_milli
        if self.wanted is not None:
            spec, gpus = self.wanted.spec, self.wanted.gpus
            size = (spec.cpu_milli, spec.memory_mib, spec.disk_mib)
            gpu_milli = 0 if spec.gpu is None else spec.gpu.milli
        return Fact(
            self.uid,
            self.attempt,
            self.restart,
            self.phase,
            self.exit_code,
            self.reason,
            self.final,
            self.charged,
            self.stopped,
            self.retry_at,
            self.healthy,
            self.ports,
            self.failures,
            self.handle,
            size,
            gpus,
            gpu_milli,
            *((self.version, self.spec) if self.strange else (0, None)),
            self.image,
        )


def remembered(told: tuple[float, ...], own: tuple[float, ...]) -> tuple[float, ...]:
    """Failures that either has seen: those told that are older than all of our own, and these.

    A word that was long on the way makes them look younger than they are; if that leaves fewer than
    were told, these hold.
    """
    first = own[0] - SAME_FAILURE_SECONDS if own else float("inf")
    return max(told, (*(at for at in told if at < first), *own), key=len)


def after_exit(held: Held, now: float) -> None:
    """Decide whether an ended run is restarted, and when: sets `final` or `retry_at`.

    A service that exits has failed to serve, whatever its exit code; ends that are not the task's
    own doing are not charged to its budget.
    """
    assert held.wanted is not None
    assert held.phase is Phase.ENDED
    spec = held.wanted.spec
    policy = spec.restart
    succeeded = held.exit_code == 0 and held.started and not held.sick and not held.interrupted
    if spec.kind.is_batch and succeeded:
        held.final = True
        return
    if policy.condition == "on-failure" and succeeded:
        held.final = True
        return
    held.charged = not held.interrupted
    if policy.condition == "none":
        held.final = True
    elif held.interrupted:
        mark("end-not-charged")
        held.retry_at = now
    elif not held.retry:
        held.final = True
    else:
        since = now - policy.interval_seconds
        recent = tuple(at for at in held.failures if at > since)
        if held.restart <= held.wanted.counted:
            mark("end-counted-before")  # told by an earlier life of this worker
            held.failures = recent
        else:
            held.failures = (*recent, now)
        if policy.attempts is not None and len(held.failures) > policy.attempts:
            mark("restart-budget-spent")
            held.final = True
        else:
            held.retry_at = now + policy.delay_seconds


def adopt(held: dict[tuple[str, int], Held], found: Found) -> bool:
    """Take in a container that the engine listed. Says whether that told us anything new."""
    uid, attempt, restart = found.key
    key = (uid, attempt)
    mine = held.get(key)
    if mine is None:
        held[key] = _from_found(found)
        return True
    if restart < mine.restart:
        mine.leftovers.add(restart)
        return False
    if restart > mine.restart:
        newer = held[key] = _from_found(found)
        newer.leftovers = mine.leftovers | {mine.restart}
        newer.failures = remembered(mine.failures, found.failures)
        return True
    if found.running and mine.phase is Phase.STARTING:
        mine.phase = Phase.RUNNING
        mine.handle, mine.ports, mine.image = found.handle, found.ports, found.image
        return True
    return False


def _from_found(found: Found) -> Held:
    held = Held(
        *found.key,
        phase=Phase.RUNNING,
        handle=found.handle,
        ports=found.ports,
        image=found.image,
        failures=found.failures,
        healthy=found.healthy,
        size=found.size,
        gpus=found.gpus,
        gpu_milli=found.gpu_milli,
        on_disconnect=found.on_disconnect,
        grace_seconds=found.stop_grace_seconds,
        version=found.version,
        spec=found.spec,
    )
    if not found.running:
        held.end(Exited(found.key, found.exit_code, found.reason, interrupted=found.interrupted))
    return held
