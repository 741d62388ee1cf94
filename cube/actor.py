"""Hosts a core in a Pykka actor: receive, then save, then send.

The same class runs on threads (`cube.world`) and in virtual time (`sim.world`). It owns the order
of effects (a batch's saves are durable before its sends leave), what happens when a core raises
(it is rebuilt; a message that raises twice is set aside, and the manager told of it) and when the
store fails (sends are held, saving is tried again, and nothing is rebuilt from a store that lags
behind). It never decides anything about the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import pykka

from cube.marks import mark
from cube.messages import MANAGER, Assign, Effect, Save, Send, SetAside, StoreDown, StoreUp, Wake

BATCH = 256  # messages per transaction at most
SAVE_RETRY_SECONDS = 1.0


class Core(Protocol):
    """An actor's mind: pure, and the only part that decides."""

    def receive(self, message: Any, now: float) -> list[Effect]:
        """Take one message; say what is to be done."""
        ...

    def birth(self) -> dict[str, Any]:
        """The values it was made from."""
        ...


class Keeper(Protocol):
    """What an actor needs of a store."""

    def save(self, records: Any) -> None:
        """Make `records` durable, all or none; raise if that fails."""
        ...


class Host(Protocol):
    """What an actor needs of the world it lives in."""

    def now(self) -> float:
        """Seconds; only differences mean something to a core."""
        ...

    def adopt(self, actor: CoreActor) -> None:
        """Enter a new actor into the directory of names, before it starts."""
        ...

    def next_life(self, name: str) -> int:
        """A number for a new life of that actor, higher than all before it."""
        ...

    def deliver(self, sender: str, effect: Send, life: int | None) -> None:
        """Carry a message to another actor, or a timer to the same one."""
        ...

    def handled(
        self, name: str, life: int, now: float, message: Any, effects: list[Effect]
    ) -> None:
        """Observe one message with what it led to."""
        ...

    def born(self, name: str, life: int, core: Core) -> None:
        """Observe the start of an actor's life."""
        ...

    def saved(self, name: str) -> None:
        """Observe that a batch is durable."""
        ...

    def failed(self, name: str, message: Any, error: Exception, set_aside: bool) -> None:
        """Observe that a core raised."""
        ...


class Letter(NamedTuple):
    """A message on its way; `life` marks a timer, which dies with the life that set it."""

    message: Any
    life: int | None = None


class Lives(dict[str, int]):
    """The latest life of each name; numbers rise across processes too, as the clock does."""

    def next(self, name: str, now: float) -> int:
        """Begin a life of `name`."""
        self[name] = max(self.get(name, 0) + 1, int(now * 1000))
        return self[name]


@dataclass(frozen=True, slots=True)
class RetrySave:
    """Actor to itself: try the store again."""


def is_edge(name: str) -> bool:
    """Is that the address of somebody who waits for a reply outside the actors?"""
    return name.startswith("edge/")


class CoreActor(pykka.Actor):
    """One core, its life, and the effects that are not out yet. Abstract over the runtime."""

    def __init__(
        self,
        name: str,
        make_core: Callable[[int], Core],
        host: Host,
        store: Keeper | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.life = 0
        self._make_core = make_core
        self._host = host
        self._store = store
        self.core: Core | None = None  # None: it waits for the store to be reborn
        self._effects: list[Effect] = []  # of this batch
        self._unsaved: list[Save] = []  # waiting for the store
        self._unsent: dict[Any, Send] = {}  # waiting for what is unsaved
        self._assigned: dict[str, Assign] = {}  # what each worker was told last
        self._knows = True  # was the core told that the store is down?
        self._batched = 0
        host.adopt(self)

    def on_start(self) -> None:
        """Begin the first life."""
        self._birth()
        self._flush()

    def on_receive(self, message: Any) -> None:
        """Handle one `Letter`; at the end of a batch let its effects out."""
        carried, life = message
        if life is not None and life != self.life:
            pass  # a timer of an earlier life; it may still be the last of a batch
        elif type(carried) is RetrySave:
            self._retry()
        else:
            self._handle(carried)
        self._batched += 1
        if self._batched >= BATCH or self.actor_inbox.empty():
            self._flush()

    @property
    def is_saved(self) -> bool:
        """Has all that the core decided become durable?"""
        return not self._unsaved

    @property
    def held_back(self) -> int:
        """How many messages wait for the store."""
        return len(self._unsent)

    # --- the core ---

    def _birth(self) -> None:
        """Begin a life; where that fails, try again later."""
        self.life = self._host.next_life(self.name)
        try:
            self.core = self._make_core(self.life)
            self._host.born(self.name, self.life, self.core)
            self._receive(self.core, Wake(self.life))
        except Exception as error:
            self.core = None
            self._host.failed(self.name, Wake(self.life), error, set_aside=False)
            self._retry_later()

    def _rebuild(self) -> None:
        """Begin another life, once the store knows what the last one decided."""
        self._flush()
        if self._unsaved:
            self.core = None
        else:
            self._birth()

    def _receive(self, core: Core, message: Any) -> None:
        now = self._host.now()
        effects = core.receive(message, now)
        self._host.handled(self.name, self.life, now, message, effects)
        if self._unsaved:
            if isinstance(message, StoreDown):
                self._knows = True
            if not any(isinstance(e, Save) for e in effects):
                effects = self._let_go(effects)
        self._effects += effects

    def _let_go(self, effects: Iterable[Effect]) -> list[Effect]:
        """Send what rests on nothing unsaved; returns what has to wait."""
        waiting: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Send) and self._is_saved_word(effect):
                self._send((effect,))
            else:
                waiting.append(effect)
        return waiting

    def _is_saved_word(self, effect: Send) -> bool:
        """Is it an answer of a core that knows of the failure, or what a worker was told before?

        Would workers not be answered, a full disk would end the leases of all nodes.
        """
        if isinstance(effect.message, Assign):
            before = self._assigned.get(effect.to)
            return before is not None and effect.message.repeats(before)
        return self._knows and is_edge(effect.to)

    def _handle(self, message: Any) -> None:
        """Give `message` to the core; on an exception to a rebuilt core, once more."""
        for again in (False, True):
            if self.core is None:
                return  # lost, as on a network
            try:
                self._receive(self.core, message)
                return
            except Exception as error:
                self._host.failed(self.name, message, error, set_aside=again)
                if again and not isinstance(message, SetAside):
                    shown = SetAside(self.name, type(message).__name__, repr(error))
                    self._host.deliver(self.name, Send(MANAGER, shown), None)
            self._rebuild()

    # --- effects ---

    def _flush(self) -> None:
        """Save what the batch saved, then send what it sent."""
        self._batched = 0
        if not self._effects:
            return
        effects, self._effects = self._effects, []
        if self._store is None:
            self._send(effects)
            return
        saves = [e for e in effects if isinstance(e, Save)]
        if self._unsaved:
            self._unsaved += saves
            self._hold(effects)
        elif self._save(saves):
            self._send(effects)
        else:
            self._unsaved, self._knows = saves, False
            self._hold(effects)

    def _save(self, saves: list[Save]) -> bool:
        """Make these durable, in one transaction; if that fails, see to it that it is retried."""
        if not saves:
            return True
        records = [record for save in saves for record in save.records]
        if not records or self._store is None:
            return True
        try:
            self._store.save(records)
        except Exception as error:
            mark("save-failed")
            self._retry_later()
            self._host.deliver(self.name, Send(self.name, StoreDown(str(error))), self.life)
            return False
        self._host.saved(self.name)
        return True

    def _hold(self, effects: Iterable[Effect]) -> None:
        """Keep sends back. Of one kind to one actor the newest says it all: none pile up."""
        for effect in effects:
            if isinstance(effect, Send):
                key = (effect.to, type(effect.message))
                self._unsent.pop(key, None)
                self._unsent[key] = effect

    def _retry_later(self) -> None:
        self._host.deliver(self.name, Send(self.name, RetrySave(), SAVE_RETRY_SECONDS), self.life)

    def _retry(self) -> None:
        """Try the store again; then go on, with a new core if the last one failed meanwhile."""
        if not self._save(self._unsaved):
            return
        mark("save-caught-up")
        sends, self._unsaved, self._unsent = list(self._unsent.values()), [], {}
        self._send(sends)
        if self.core is not None:
            self._handle(StoreUp())
        else:
            self._birth()

    def _send(self, effects: Iterable[Effect]) -> None:
        name, deliver = self.name, self._host.deliver
        for effect in effects:
            if type(effect) is Send:
                if type(effect.message) is Assign:
                    self._assigned[effect.to] = effect.message
                deliver(name, effect, self.life if effect.to == name else None)
