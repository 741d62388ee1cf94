"""The engine of a machine that a snapshot tells of: what ran there runs on.

Owns what is assumed of containers: all that runs, or is started, runs until it is stopped; a start
and a stop take as long as was measured of the service; a health check succeeds after one interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from cube.engine.simulated import Outcome, SimulatedEngine
from cube.messages import (
    Effect,
    EngineDown,
    Exited,
    Fact,
    Health,
    List,
    Listed,
    MachineMeasured,
    Measured,
    NodeInfo,
    Phase,
    Run,
    RunKey,
    Send,
)
from cube.snapshot import Times
from cube.spec import GpuNeed, TaskSpec
from cube.task import MachineUse, Node, Task, TaskUse

START_SECONDS = 1.0  # where nothing in the cluster was seen to start


class Durations:
    """How long runs take to start and to stop (`cube.engine.simulated.Behaviour`)."""

    def __init__(self, times: Mapping[str, Times]) -> None:
        self._times = times
        self._start = _typical([t.start_seconds for t in times.values()], START_SECONDS)
        self._stop = _typical([t.stop_seconds for t in times.values()], 0.0)

    def __call__(self, run: Run) -> Outcome:
        """What was measured of its service; of one that was not seen, what is usual here."""
        seen = self._times.get(run.key.uid.rpartition("/")[0], Times())
        start = self._start if seen.start_seconds is None else seen.start_seconds
        stop = self._stop if seen.stop_seconds is None else seen.stop_seconds
        return Outcome(start, None, stop_seconds=stop)


def _typical(seen: list[float | None], otherwise: float) -> float:
    known = [seconds for seconds in seen if seconds is not None]
    return median(known) if known else otherwise


def _is_verdict(effect: Effect) -> bool:
    return isinstance(effect, Send) and isinstance(effect.message, Health)


@dataclass(frozen=True, slots=True)
class CheckDue:
    """Engine to itself: a health check has succeeded."""

    key: RunKey


class StandIn(SimulatedEngine):
    """Holds what a snapshot says of one node, and pretends from there."""

    def __init__(
        self,
        info: NodeInfo,
        durations: Durations,
        uses: Mapping[str, TaskUse],
        node: Node | None = None,
    ) -> None:
        """`uses` is what tasks were seen to use, by uid; `node` None: it is a new one."""
        super().__init__(info, durations)
        self._uses = uses
        self._down = "" if node is None else node.engine_error
        self._known = None if node is None else node.machine  # with all that is held at first
        self._machine: MachineUse | None = None  # None: nobody has asked yet
        self._verdicts: dict[RunKey, bool | None] = {}  # of health checks; None: not yet

    def hold_task(self, task: Task) -> None:
        """One of the cluster's tasks has a container here, unless it has yet to be started."""
        if task.phase < Phase.RUNNING:
            return
        key = RunKey(task.uid, task.attempt, task.restart)
        run = Run(key, task.version, task.spec, task.failures, task.gpus)
        over = Exited(key, task.exit_code, task.reason) if task.phase == Phase.ENDED else None
        self.hold(run, task.ports, over)
        if task.spec.has_health and over is None:
            self._verdicts[key] = task.healthy

    def hold_stranger(self, fact: Fact) -> None:
        """So has a container that the manager does not know."""
        key = RunKey(fact.uid, fact.attempt, fact.restart)
        gpu = GpuNeed(len(fact.gpus), fact.gpu_milli) if fact.gpus else None
        cpu, memory, disk = fact.size
        sizes = TaskSpec("", "", cpu_milli=cpu, memory_mib=memory, disk_mib=disk, gpu=gpu)
        spec = fact.spec or sizes
        over = Exited(key, fact.exit_code, fact.reason) if fact.phase is Phase.ENDED else None
        self.hold(Run(key, fact.version, spec, fact.failures, fact.gpus), fact.ports, over)

    def receive(self, message: Any, now: float) -> list[Effect]:
        """As any simulated engine; it tells what is used before it tells what is there."""
        match message:
            case List():
                return self._tell(super().receive(message, now))
            case CheckDue():
                return self._checked(message.key)
            case _:
                before = self._machine
                effects = super().receive(message, now)
                if self._machine is not None and self._machine != before:
                    effects.insert(0, Send(self._worker, MachineMeasured(self._machine)))
                return effects

    def _tell(self, listed: list[Effect]) -> list[Effect]:
        """The node as it is; from here on what starts and stops changes what the machine uses."""
        self._machine = self._known if self._machine is None else self._machine
        used: list[Effect] = [Send(self._worker, Measured(self._load_milli, self._load_mib))]
        if self._machine is not None:
            used.append(Send(self._worker, MachineMeasured(self._machine)))
        effects = used + listed
        effects += [self._check_later(k) for k, known in self._verdicts.items() if known is None]
        if self._down:
            effects.append(Send(self._worker, EngineDown(self._down)))
        return effects

    def _listed(self) -> Listed:
        """With the verdicts that there are by now."""
        listed = super()._listed()
        found = (replace(f, healthy=self._verdicts.get(f.key)) for f in listed.found)
        return replace(listed, found=tuple(found))

    def _started(self, key: RunKey) -> list[Effect]:
        """A verdict takes its time here."""
        effects = super()._started(key)
        if effects and self._containers[key].run.spec.has_health:
            self._verdicts[key] = None
            effects = [e for e in effects if not _is_verdict(e)]
            effects.append(self._check_later(key))
        return effects

    def _check_later(self, key: RunKey) -> Send:
        spec = self._containers[key].run.spec
        check = spec.check or spec.healthcheck
        assert check is not None
        return Send(self._name, CheckDue(key), check.interval_seconds)

    def _checked(self, key: RunKey) -> list[Effect]:
        held = self._containers.get(key)
        if held is None or not held.running:
            return []
        self._verdicts[key] = True
        return [Send(self._worker, Health(key, True))]

    def _ended(self, key: RunKey, exit_code: int | None, reason: str) -> list[Effect]:
        self._verdicts.pop(key, None)
        return super()._ended(key, exit_code, reason)

    def _load(self, held: Any, sign: int) -> None:
        """What a task was seen to use comes and goes with it, else what it reserves."""
        super()._load(held, sign)
        if self._machine is not None:
            spec, use = held.run.spec, self._uses.get(held.run.key.uid)
            cpu, memory = spec.cpu_milli, spec.memory_mib
            if use is not None:
                cpu, memory = use.cpu_milli, use.memory_mib
            self._machine = self._machine._replace(
                cpu_milli=max(0, self._machine.cpu_milli + sign * cpu),
                memory_mib=max(0, self._machine.memory_mib + sign * memory),
            )
