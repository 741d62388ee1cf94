"""An engine that fails: it does not answer, ignores kills, keeps ends to itself, loses containers.

Owns what truly runs on a node; the checkers look here, and only here, for the truth. It behaves as
the live engines do: what it could not tell is told by a later listing, kills are repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cube.engine.simulated import SimulatedEngine
from cube.messages import (
    Effect,
    EngineDown,
    Exited,
    Kill,
    List,
    MachineMeasured,
    NodeInfo,
    Run,
    RunKey,
    Send,
)
from cube.task import MachineUse

Trouble = Literal["unreachable", "deaf", "quiet", "refusing", "imageless", "full"]
KILLED = 137  # the exit code of what was killed, for want of memory too
RECONCILE_SECONDS = 20.0  # until a slow reconcile notices what no event told


class Fate:
    """What befalls an engine from outside, even one whose machine stands still."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SetTrouble(Fate):
    """Ordeal to engine: begin or end a kind of trouble."""

    kind: Trouble
    on: bool


@dataclass(frozen=True, slots=True)
class Strike(Fate):
    """Ordeal to engine: one running container dies of memory, or vanishes without notice."""

    vanish: bool
    draw: float  # in [0, 1): which one


@dataclass(frozen=True, slots=True)
class Reboot(Fate):
    """Ordeal to engine: the machine went down and came back; nothing runs."""

    wiped: bool  # and its disk is new: there are not even ended containers


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Engine to itself: tell what is there, as the live engines do from time to time."""


class FaultyEngine(SimulatedEngine):
    """A simulated engine with troubles."""

    def __init__(self, info: NodeInfo) -> None:
        super().__init__(info)
        self._troubles: dict[Trouble, int] = {}  # how many of each are in force
        self._kills: dict[RunKey, Kill] = {}  # ignored so far, repeated at the end
        self._was_full = False  # has its disk ever been?

    def has(self, kind: Trouble) -> bool:
        """Is it in that trouble now?"""
        return kind in self._troubles

    @property
    def containers(self) -> dict[RunKey, Any]:
        """Everything that is there, running or not."""
        return self._containers

    @property
    def is_starting(self) -> bool:
        """Is a container neither running yet nor at its end?"""
        return any(not held.running and held.ended is None for held in self._containers.values())

    def receive(self, message: Any, now: float) -> list[Effect]:
        """One case per message; troubles decide what gets through."""
        match message:
            case SetTrouble():
                return self._trouble(message)
            case Strike():
                return self._told(self._strike(message))
            case Reboot():
                return self._reboot(message)
            case Reconcile():
                return self._told([Send(self._worker, self._listed())])
            case List() if self.has("unreachable"):
                return [Send(self._worker, EngineDown("the engine does not answer"))]
            case Run() if self.has("unreachable"):
                return []
            case Run() if self.has("refusing") or self.has("imageless"):
                return self._told(self._refuse(message))
            case Kill() if self.has("unreachable"):
                return []
            case Kill() if self.has("deaf") and message.key in self._containers:
                self._kills[message.key] = message
                return []
            case List() if self._was_full:  # the live engines measure again and again
                return self._told([*super().receive(message, now), self._disk()])
            case _:
                return self._told(super().receive(message, now))

    def _told(self, effects: list[Effect]) -> list[Effect]:
        """What reaches the worker: nothing of an engine that it cannot reach."""
        if self.has("unreachable"):
            return [e for e in effects if not _to(e, self._worker)]
        if self.has("quiet"):
            return [e for e in effects if not (_to(e, self._worker) and _is_end(e))]
        return effects

    def _trouble(self, message: SetTrouble) -> list[Effect]:
        count = self._troubles.pop(message.kind, 0) + (1 if message.on else -1)
        if count > 0:
            self._troubles[message.kind] = count
        if message.kind == "unreachable" and message.on and count == 1:
            return [Send(self._worker, EngineDown("the engine does not answer"))]
        if message.kind == "full" and message.on and count == 1:
            self._was_full = True
            return self._told([self._disk()])
        if message.on or count > 0:
            return []
        effects: list[Effect] = []
        if message.kind == "full":
            effects.append(self._disk())
        if message.kind == "deaf":
            kills, self._kills = self._kills, {}
            for kill in kills.values():
                effects += self._kill(kill)
        if message.kind in ("unreachable", "quiet"):
            effects.append(Send(self._worker, self._listed()))  # as the slow reconcile does
        return self._told(effects)

    def _disk(self) -> Effect:
        """What is measured of the machine's disk."""
        use = MachineUse(0, 4000, 0, 8192, 95 if self.has("full") else 40, 100)
        return Send(self._worker, MachineMeasured(use))

    def _refuse(self, run: Run) -> list[Effect]:
        if run.key in self._containers:
            return self._run(run)
        if self.has("imageless"):
            ended = Exited(run.key, None, "no such image", started=False, retry=False)
        else:
            ended = Exited(run.key, None, "the engine cannot start it", started=False)
        return [Send(self._worker, ended)]

    def _strike(self, strike: Strike) -> list[Effect]:
        running = sorted(self.running())
        if not running:
            return []
        key = running[int(strike.draw * len(running))]
        if not strike.vanish:
            return self._ended(key, KILLED, "out of memory")
        del self._containers[key]  # nobody is told; the next listing lacks it
        return [Send(self._name, Reconcile(), RECONCILE_SECONDS)]

    def _reboot(self, reboot: Reboot) -> list[Effect]:
        if reboot.wiped:
            self._containers.clear()
        for key in self.running():
            self._ended(key, 0, "the host restarted")
            # In an orderly shutdown many a program exits with 0, whatever it has left undone.
            self._containers[key].ended = Exited(key, 0, "the host restarted", interrupted=True)
        for key in [k for k, held in self._containers.items() if held.ended is None]:
            del self._containers[key]  # it had not started
        self._kills.clear()
        self._troubles.clear()
        return []


def _to(effect: Effect, worker: str) -> bool:
    return isinstance(effect, Send) and effect.to == worker


def _is_end(effect: Effect) -> bool:
    return isinstance(effect, Send) and isinstance(effect.message, Exited)
