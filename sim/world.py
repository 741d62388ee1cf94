"""Virtual time: the same Pykka actors on SimPy.

Owns the virtual clock, the delays between actors and the order of deliveries. One SimPy event per
message that takes time; messages that take none (a worker and its own engine) are handled in the
same event, in order. A core that raises ends the run, unless it is to be rebuilt as in a live
world: a simulation hides nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import pykka
import simpy
from simpy.events import EventPriority

from cube.actor import Core, CoreActor, Keeper, Letter, Lives, is_edge
from cube.messages import BeginRound, Effect, Exited, Reply, RunDue, Send, Submit
from sim.sharing import WorkDue

NETWORK_SECONDS = 0.0005
Observer = Callable[[str, Any, float, list[Effect]], None]

# At equal times: exits, then arrivals, then everything else, then rounds that wait for all this.
_URGENCY = {RunDue: 0, WorkDue: 0, Exited: 0, Submit: 1, BeginRound: 3}
_PRIORITY: dict[type, EventPriority] = {of: EventPriority(n) for of, n in _URGENCY.items()}
_ANY_OTHER = EventPriority(2)


class SimInbox:
    """An inbox in which nothing ever waits: the world hands over a letter when it arrives."""

    def put(self, envelope: Any) -> None:
        """Nobody tells an actor anything but through the world."""
        raise NotImplementedError("send it through the world")

    def get(self) -> Any:
        """There is no loop that would ask."""
        raise NotImplementedError("the world hands letters over")

    def empty(self) -> bool:
        """Is there nothing to handle? Always, so every letter is a batch."""
        return True


class SimCore(CoreActor):
    """A core in virtual time."""

    @staticmethod
    def _create_actor_inbox() -> Any:
        return SimInbox()

    @staticmethod
    def _create_future() -> Any:
        raise NotImplementedError("nobody waits for an answer in virtual time")

    def _start_actor_loop(self) -> None:
        self._actor_loop_setup()  # and no loop: virtual time calls `on_receive`

    def _handle_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        raise exception_value


class Delivery(simpy.Event):
    """A message that arrives later."""

    _value = None
    _ok = True

    def __init__(self, arrivals: list[Callable[[Any], None]], to: str, letter: Letter) -> None:
        self.callbacks = arrivals  # the same list for all: SimPy takes it away, and changes it not
        self.to = to
        self.letter = letter


class SimWorld:
    """Hosts actors in virtual time."""

    def __init__(
        self,
        env: simpy.Environment | None = None,
        *,
        delay: Callable[[str, str], float] | None = None,
    ) -> None:
        self.env = env or simpy.Environment(0.0)
        self._delivered: dict[type, int] = {}  # by type
        self.lost: Counter[str] = Counter()  # to nobody, by type
        self.rebuilds = False  # rebuild a core that raises, as a live world does
        self._delay = delay or network_delay
        self._lives = Lives()
        self._actors: dict[str, SimCore] = {}
        self._edges: dict[str, Callable[[Reply], None]] = {}
        self._observers: list[Observer] = []
        self._ready: deque[tuple[str, Letter]] = deque()
        self._draining = False
        self._arrivals: list[Callable[[Any], None]] = [self.arrive]

    # --- for those who build a cluster ---

    def start_core(
        self, name: str, make_core: Callable[[int], Core], store: Keeper | None = None
    ) -> None:
        """Host the core that `make_core(life)` builds."""
        SimCore.start(name, make_core, self, store)

    def stop_actor(self, name: str) -> None:
        """End one actor at once, as a crash of its process would."""
        actor = self._actors.pop(name)
        pykka.ActorRegistry.unregister(actor.actor_ref)

    def core(self, name: str) -> Any:
        """The core of an actor, for those who check what it knows."""
        return self._actors[name].core

    def stop(self) -> None:
        """End all actors."""
        for name in list(self._actors):
            self.stop_actor(name)

    def observe(self, observer: Observer) -> None:
        """Call `observer(actor, message, now, effects)` for each message handled."""
        self._observers.append(observer)

    def on_reply(self, address: str, callback: Callable[[Reply], None]) -> None:
        """Call `callback` with what is sent to `edge/...` address."""
        self._edges[address] = callback

    def send(self, to: str, message: Any, after: float = 0.0) -> None:
        """Send from outside the actors; arrives `after` seconds from now, without delay."""
        self._schedule(to, Letter(message), after)

    @property
    def messages(self) -> Counter[str]:
        """How many were delivered, by type."""
        return Counter({of.__name__: count for of, count in self._delivered.items()})

    def run(self, until: float | simpy.Event | None = None) -> Any:
        """Let virtual time pass."""
        return self.env.run(until)

    # --- for actors (cube.actor.Host) ---

    def adopt(self, actor: CoreActor) -> None:
        """Hold a new actor: Pykka's references are weak."""
        assert isinstance(actor, SimCore)
        self._actors[actor.name] = actor

    def now(self) -> float:
        """Virtual seconds since the start."""
        return self.env.now

    def next_life(self, name: str) -> int:
        """Lives are numbered across restarts of an actor."""
        return self._lives.next(name, self.now())

    def deliver(self, sender: str, effect: Send, life: int | None) -> None:
        """Send it on its way."""
        to, message, after = effect
        self.carry(sender, to, Letter(message, life), after)

    def carry(self, sender: str, to: str, letter: Letter, after: float) -> None:
        """Carry a letter that leaves `after` seconds from now, with the delay of its way."""
        self._post(to, letter, after if to == sender else after + self._delay(sender, to))

    def _post(self, to: str, letter: Letter, delay: float) -> None:
        """Have a letter arrive after `delay`; one without delay is handled in the same event."""
        if delay <= 0 and self._draining and type(letter.message) is not BeginRound:
            self._ready.append((to, letter))
        else:
            self._schedule(to, letter, delay)

    def _schedule(self, to: str, letter: Letter, delay: float) -> None:
        priority = _PRIORITY.get(type(letter.message), _ANY_OTHER)
        self.env.schedule(Delivery(self._arrivals, to, letter), priority, delay)

    def handled(
        self, name: str, life: int, now: float, message: Any, effects: list[Effect]
    ) -> None:
        """Show it to the observers."""
        for observer in self._observers:
            observer(name, message, now, effects)

    def born(self, name: str, life: int, core: Core) -> None:
        """Nothing to do: cores are built afresh in each run."""

    def saved(self, name: str) -> None:
        """Nothing to do: nobody waits."""

    def failed(self, name: str, message: Any, error: Exception, set_aside: bool) -> None:
        """End the run, unless cores are rebuilt."""
        if not self.rebuilds:
            raise error

    def arrive(self, event: Delivery) -> None:
        """Hand over a message, and all that follows from it without delay."""
        self._ready.append((event.to, event.letter))
        self._work_off()

    def _work_off(self) -> None:
        """Hand over all that has arrived, in the order in which it has."""
        self._draining = True
        try:
            while self._ready:
                self._hand_over(*self._ready.popleft())
        finally:
            self._draining = False

    def _hand_over(self, to: str, letter: Letter) -> None:
        actor = self._actors.get(to)
        if actor is not None:
            of = type(letter.message)
            self._delivered[of] = self._delivered.get(of, 0) + 1
            actor.on_receive(letter)
        elif is_edge(to) and to in self._edges:
            self._edges[to](letter.message)
        else:
            self.lost[type(letter.message).__name__] += 1


def network_delay(sender: str, to: str) -> float:
    """Half a millisecond between machines; none between a worker and its own engine."""
    if sender[:7] == "engine/" or to[:7] == "engine/":
        return 0.0
    return NETWORK_SECONDS
