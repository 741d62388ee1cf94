"""The simulated engine: a core that pretends.

Owns what "runs" on a node; everything takes the time that `behaviour` says. It is used by tests, by
`cube dev --engine simulated`, and by the simulator, which brings its own behaviour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from cube.messages import (
    Discard,
    Effect,
    Exited,
    Found,
    Health,
    Kill,
    List,
    Listed,
    Measured,
    NodeInfo,
    Run,
    RunDue,
    RunKey,
    Send,
    Started,
    engine_name,
    worker_name,
)
from cube.task import HostPort


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run will do. Times in seconds."""

    start_seconds: float = 0.0
    run_seconds: float | None = None  # None: until it is killed
    exit_code: int = 0
    stop_seconds: float = 0.0  # from the stop signal to the exit
    start_error: str = ""  # it cannot start, and why


Behaviour = Callable[[Run], Outcome]


def by_labels(run: Run) -> Outcome:
    """Read a run's fate from its labels `cube.sim.start|seconds|exit|stop|error`."""
    labels = dict(run.spec.labels)
    seconds = labels.get("cube.sim.seconds")
    try:
        return Outcome(
            float(labels.get("cube.sim.start", "0")),
            None if seconds is None else float(seconds),
            int(labels.get("cube.sim.exit", "0")),
            float(labels.get("cube.sim.stop", "0")),
            labels.get("cube.sim.error", ""),
        )
    except ValueError as error:
        return Outcome(start_error=f"its cube.sim labels are not numbers: {error}")


@dataclass(slots=True)
class _Container:
    run: Run
    outcome: Outcome
    running: bool = False
    ended: Exited | None = None
    stopping: bool = False
    ports: tuple[HostPort, ...] = ()


class SimulatedEngine:
    """Starts nothing, but on time."""

    def __init__(self, info: NodeInfo, behaviour: Behaviour = by_labels) -> None:
        self.info = info
        self._behaviour = behaviour
        self._name = engine_name(info.name)
        self._worker = worker_name(info.name)
        self._containers: dict[RunKey, _Container] = {}
        self._next_port = 20000
        self._load_milli = 0
        self._load_mib = 0

    def receive(self, message: Any, now: float) -> list[Effect]:
        """One case per message."""
        match message:
            case Run():
                return self._run(message)
            case RunDue(exit_code=None):
                return self._started(message.key)
            case RunDue():
                return self._ended(message.key, message.exit_code, message.reason)
            case Kill():
                return self._kill(message)
            case Discard():
                return self._discard(message.key)
            case List():
                return [Send(self._worker, self._listed())]
            case _:
                return []

    def birth(self) -> dict[str, Any]:
        """What it was made from; its behaviour is the maker's."""
        return {"info": self.info}

    def hold(self, run: Run, ports: tuple[HostPort, ...], ended: Exited | None = None) -> None:
        """Have a run here that began before the engine did: it runs on until it is killed."""
        held = _Container(run, self._behaviour(run), ended is None, ended, ports=ports)
        self._containers[run.key] = held
        if held.running:
            self._load(held, +1)

    def running(self) -> list[RunKey]:
        """What truly runs now; other threads may ask."""
        return [key for key, held in list(self._containers.items()) if held.running]

    def _run(self, run: Run) -> list[Effect]:
        held = self._containers.get(run.key)
        if held is not None:  # asked again: answer again
            if held.ended is not None:
                return [Send(self._worker, held.ended)]
            return [Send(self._worker, self._as_started(run.key, held))] if held.running else []
        outcome = self._behaviour(run)
        held = self._containers[run.key] = _Container(run, outcome)
        if outcome.start_error:
            held.ended = Exited(run.key, None, outcome.start_error, started=False)
            return [Send(self._worker, held.ended)]
        if outcome.start_seconds <= 0:
            return self._started(run.key)
        return [Send(self._name, RunDue(run.key), outcome.start_seconds)]

    def _started(self, key: RunKey) -> list[Effect]:
        held = self._containers.get(key)
        if held is None or held.stopping or held.ended is not None:
            return []
        held.running = True
        held.ports = tuple(
            HostPort(p.container, p.host or self._free_port(), p.protocol)
            for p in held.run.spec.ports
        )
        self._load(held, +1)
        effects: list[Effect] = [
            Send(self._worker, Measured(self._load_milli, self._load_mib)),
            Send(self._worker, self._as_started(key, held)),
        ]
        if held.run.spec.has_health:
            effects.append(Send(self._worker, Health(key, healthy=True)))
        if held.outcome.run_seconds is not None:
            code = held.outcome.exit_code
            due = RunDue(key, code, _exited(code))
            effects.append(Send(self._name, due, held.outcome.run_seconds))
        return effects

    def _as_started(self, key: RunKey, held: _Container) -> Started:
        return Started(key, _handle(key), held.ports)

    def _ended(self, key: RunKey, exit_code: int | None, reason: str) -> list[Effect]:
        held = self._containers.get(key)
        if held is None or held.ended is not None:
            return []
        effects: list[Effect] = []
        if held.running:
            self._load(held, -1)
            effects.append(Send(self._worker, Measured(self._load_milli, self._load_mib)))
        held.running = False
        held.ended = Exited(key, exit_code, reason)
        return [*effects, Send(self._worker, held.ended)]

    def _kill(self, kill: Kill) -> list[Effect]:
        held = self._containers.get(kill.key)
        if held is None:
            return [Send(self._worker, Exited(kill.key, None, "it is gone"))]
        if held.ended is not None:
            return [Send(self._worker, held.ended)]
        if held.stopping and kill.grace_seconds >= held.outcome.stop_seconds:
            return []  # a shorter grace than the first one's may still cut it off
        held.stopping = True
        code, reason, wait = 143, "stopped", held.outcome.stop_seconds
        if wait > kill.grace_seconds:
            code, reason, wait = 137, "killed after its grace", kill.grace_seconds
        if wait <= 0:
            return self._ended(kill.key, code, reason)
        return [Send(self._name, RunDue(kill.key, code, reason), wait)]

    def _discard(self, key: RunKey) -> list[Effect]:
        held = self._containers.get(key)
        if held is not None and held.ended is not None:
            del self._containers[key]
        return []

    def _listed(self) -> Listed:
        found = (
            Found(
                key,
                held.running,
                None if held.ended is None else held.ended.exit_code,
                "" if held.ended is None else held.ended.reason,
                held.ended is not None and held.ended.interrupted,
                handle=_handle(key),
                ports=held.ports,
                healthy=True if held.running and held.run.spec.has_health else None,
                size=(held.run.spec.cpu_milli, held.run.spec.memory_mib, held.run.spec.disk_mib),
                on_disconnect=held.run.spec.on_disconnect,
                stop_grace_seconds=held.run.spec.stop_grace_seconds,
                failures=held.run.failures,
                version=held.run.version,
                spec=held.run.spec,
                gpus=held.run.gpus,
                gpu_milli=0 if held.run.spec.gpu is None else held.run.spec.gpu.milli,
            )
            for key, held in self._containers.items()
            if held.running or held.ended is not None
        )
        return Listed(tuple(found), self.info)

    def _free_port(self) -> int:
        self._next_port += 1
        return self._next_port

    def _load(self, held: _Container, sign: int) -> None:
        self._load_milli += sign * held.run.spec.cpu_milli
        self._load_mib += sign * held.run.spec.memory_mib


def _handle(key: RunKey) -> str:
    return f"{key.uid}.a{key.attempt}.r{key.restart}"


@cache
def _exited(code: int) -> str:
    """Why it ended; one string for all of a code, of which a million tasks may keep one each."""
    return f"exited {code}"
