"""A world of several machines: their clocks drift, their links fail, they crash and freeze.

Owns what happens to messages and actors on their way; when it happens is decided by the ordeal.
The cores know nothing of it: an actor sees its own machine's clock and whatever messages arrive.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from cube.actor import Core, CoreActor, Keeper, Letter, is_edge
from cube.messages import MANAGER, SCHEDULER, Effect, Send
from sim.faults.engine import Fate
from sim.network import Network
from sim.world import SimCore, SimWorld

CONTROL = "control"  # the machine of manager and scheduler


class Crashed(Exception):
    """An actor's process died in the middle of what it did."""


@cache
def machine_of(actor: str) -> str:
    """The machine on which an actor lives."""
    return CONTROL if actor in (MANAGER, SCHEDULER) or is_edge(actor) else actor.partition("/")[2]


class Machine:
    """The host of a machine's actors: the world, seen by a clock that may run wrong."""

    def __init__(self, world: FaultyWorld, rate: float, offset: float) -> None:
        self._world = world
        self._rate = rate
        self._offset = offset

    def now(self) -> float:
        """Seconds by this machine's clock."""
        return self._world.env.now * self._rate + self._offset

    def adopt(self, actor: CoreActor) -> None:
        """See `Host.adopt`."""
        self._world.adopt(actor)

    def next_life(self, name: str) -> int:
        """See `Host.next_life`."""
        return self._world.next_life(name)

    def deliver(self, sender: str, effect: Send, life: int | None) -> None:
        """Timers run by this machine's clock."""
        to, message, after = effect
        self._world.carry(sender, to, Letter(message, life), after / self._rate)

    def handled(
        self, name: str, life: int, now: float, message: Any, effects: list[Effect]
    ) -> None:
        """Observers see true time."""
        self._world.handled(name, life, self._world.now(), message, effects)

    def born(self, name: str, life: int, core: Core) -> None:
        """See `Host.born`."""

    def saved(self, name: str) -> None:
        """See `Host.saved`."""
        self._world.saved(name)

    def failed(self, name: str, message: Any, error: Exception, set_aside: bool) -> None:
        """See `Host.failed`."""
        self._world.failed(name, message, error, set_aside)


class FaultyWorld(SimWorld):
    """Hosts actors on machines that fail."""

    def __init__(self, network: Network, clock: Callable[[str], tuple[float, float]]) -> None:
        super().__init__()
        self.network = network
        self.frozen: dict[str, list[Letter]] = {}  # actor: what waits for its thaw
        self.crash_between: list[str] = []  # faults: the manager dies between save and send
        self.on_crash: Callable[[str], None] = lambda name: None
        self.after_event: Callable[[], None] = lambda: None
        self._clock = clock
        self._machines: dict[str, Machine] = {}

    def start_core(
        self, name: str, make_core: Callable[[int], Core], store: Keeper | None = None
    ) -> None:
        """Host a core on its machine."""
        try:
            SimCore.start(name, make_core, self._machine(machine_of(name)), store)
        except Crashed:
            self._crash(name)

    def alive(self, name: str) -> bool:
        """Is that actor's process there?"""
        return name in self._actors

    def is_saved(self, name: str) -> bool:
        """Has all that the actor decided become durable?"""
        return self._actors[name].is_saved

    def held_back(self, name: str) -> int:
        """How many messages of the actor wait for its store."""
        return self._actors[name].held_back

    def call_at(self, at: float, call: Callable[[], None]) -> None:
        """Call it at that virtual time."""
        timeout = self.env.timeout(max(0.0, at - self.now()))
        assert timeout.callbacks is not None
        timeout.callbacks.append(lambda _: call())

    def freeze(self, actor: str) -> None:
        """Stop its process in mid-air."""
        self.frozen.setdefault(actor, [])

    def thaw(self, actor: str) -> None:
        """Let it go on: what has arrived meanwhile is handled before all that follows from it."""
        self._ready.extend((actor, letter) for letter in self.frozen.pop(actor, ()))
        self._work_off()

    def carry(self, sender: str, to: str, letter: Letter, after: float) -> None:
        """Let one message take its way: locally, or through whatever the network is now."""
        a, b = machine_of(sender), machine_of(to)
        if a == b:
            self._post(to, letter, after)
            return
        for delay in self.network.delays(a, b):
            self._post(to, letter, after + delay)

    def saved(self, name: str) -> None:
        """Die here, if that was decided: what is saved is saved, what was to be sent is lost."""
        if self.crash_between and name == MANAGER:
            self.crash_between.pop(0)
            raise Crashed(name)

    def arrive(self, event: Any) -> None:
        """Hand over a message and all that follows at once; then let the checkers look."""
        super().arrive(event)
        self.after_event()

    def _machine(self, name: str) -> Machine:
        machine = self._machines.get(name)
        if machine is None:
            machine = self._machines[name] = Machine(self, *self._clock(name))
        return machine

    def _hand_over(self, to: str, letter: Letter) -> None:
        held = self.frozen.get(to)
        if held is not None and not isinstance(letter.message, Fate):
            held.append(letter)
            return
        try:
            super()._hand_over(to, letter)
        except Crashed:
            self._crash(to)

    def _crash(self, name: str) -> None:
        self.stop_actor(name)
        self.on_crash(name)
