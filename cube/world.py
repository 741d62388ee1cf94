"""Real time: cores and engines as Pykka actors on threads.

Owns the clock, the directory of names (actors of this process, and those that other machines host),
the timers, and the mailboxes of those who wait for a reply. What an actor decides is none of its
business, nor how a message gets to another machine. Messages to a name that nobody has are lost,
as on a network; the protocol repairs that.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import pykka

from cube.actor import Core, CoreActor, Keeper, Letter, Lives, is_edge
from cube.messages import Effect, Reply, Send, engine_name, worker_name

log = logging.getLogger("cube")


Carrier = Callable[[Any], None]  # takes a message to an actor on another machine

STOP_SECONDS = 5.0  # for an actor to finish what it has begun


class Engine(Protocol):
    """What starts and stops containers; may use threads, never blocks in `handle`."""

    def handle(self, message: Any) -> None:
        """Take List, Run, Kill or Discard; answer later through `emit`."""
        ...

    def close(self) -> None:
        """Let go of threads and connections; containers go on."""
        ...


class Recorder(Protocol):
    """Writes down what cores were told and what they did (`cube.record`)."""

    def birth(self, name: str, life: int, birth: dict[str, Any]) -> None:
        """An actor begins a life with a core made from these values."""
        ...

    def handled(
        self, name: str, life: int, now: float, message: Any, effects: list[Effect]
    ) -> None:
        """A core handled a message."""
        ...


class NoAnswer(Exception):
    """Nobody replied in time."""


class ThreadedCore(CoreActor, pykka.ThreadingActor):
    """A core on a thread of its own."""

    use_daemon_thread = True


class EngineActor(pykka.ThreadingActor):
    """An engine, which may block a little, on a thread of its own."""

    use_daemon_thread = True

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def on_receive(self, message: Any) -> None:
        """Pass the message on; an engine that raises must not die silently."""
        try:
            self._engine.handle(message.message)
        except Exception:
            log.exception("an engine failed on %s", type(message.message).__name__)

    def on_stop(self) -> None:
        """Close the engine; what it runs goes on."""
        self._engine.close()


class World:
    """Hosts actors in real time."""

    def __init__(self, *, recorder: Recorder | None = None) -> None:
        # Wall time at the start, then a clock that nobody sets and that counts sleep.
        self._start = time.time() - _boot_seconds()
        self._recorder = recorder
        self._lives = Lives()
        self._actors: dict[str, pykka.ActorRef[Any]] = {}
        self._remote: dict[str, Carrier] = {}
        self._edges: dict[str, queue.SimpleQueue[Any]] = {}
        self._edge_numbers = itertools.count(1)
        self._on_saved: list[Callable[[], None]] = []
        self._timers = _Timers(self.now, self._arrive)
        self.lost: Counter[str] = Counter()  # messages that reached nobody, by type

    # --- for those who build a cluster ---

    def start_core(
        self, name: str, make_core: Callable[[int], Core], store: Keeper | None = None
    ) -> None:
        """Host the core that `make_core(life)` builds, now and after each failure."""
        ThreadedCore.start(name, make_core, self, store)

    def start_engine(
        self, node: str, make_engine: Callable[[Callable[[Any], None]], Engine]
    ) -> Engine:
        """Host a node's engine; what it emits goes to the node's worker."""
        name, worker = engine_name(node), worker_name(node)
        engine = make_engine(lambda message: self.send(worker, message))
        self._actors[name] = EngineActor.start(engine)
        return engine

    def connect(self, name: str, carry: Carrier) -> None:
        """Have `carry` take the messages to `name`, an actor that another machine hosts.

        It is called from the sender's thread: it must not block, and may lose what it takes.
        What comes the other way is handed to `send`.
        """
        self._remote[name] = carry

    def disconnect(self, name: str) -> None:
        """Forget the way to `name`; messages to it are lost."""
        self._remote.pop(name, None)

    def stop_actor(self, name: str) -> None:
        """End one actor at once, as a crash of its process would."""
        ref = self._actors.pop(name, None)
        if ref is None:
            return
        try:
            ref.stop(block=True, timeout=STOP_SECONDS)
        except pykka.Timeout:  # its thread ends with the process
            log.error("%s did not stop within %g s", name, STOP_SECONDS)

    def stop(self) -> None:
        """End timers and actors. What runs in engines goes on."""
        self._timers.stop()
        for name in sorted(self._actors, key=lambda n: n.startswith("engine/")):
            self.stop_actor(name)

    def on_saved(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each commit, from the actor's thread; it must not block."""
        self._on_saved.append(callback)

    # --- for the edge ---

    def send(self, to: str, message: Any, after: float = 0.0) -> None:
        """Send from outside the actors."""
        self.deliver("", Send(to, message, after), None)

    def ask(self, to: str, make: Callable[[str], Any], timeout: float = 5.0) -> Reply:
        """Send `make(address)` and wait for the Reply to that address.

        Raises:
            NoAnswer: none came within `timeout` seconds.
        """
        address = f"edge/{next(self._edge_numbers)}"
        box: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._edges[address] = box
        try:
            self.send(to, make(address))
            reply: Reply = box.get(timeout=timeout)
            return reply
        except queue.Empty:
            raise NoAnswer(f"{to} did not answer within {timeout:g} s") from None
        finally:
            del self._edges[address]

    # --- for actors (cube.actor.Host) ---

    def adopt(self, actor: CoreActor) -> None:
        """Enter a new actor into the directory."""
        self._actors[actor.name] = actor.actor_ref

    def now(self) -> float:
        """Seconds since 1970, from a clock that only moves forward while this process lives."""
        return self._start + _boot_seconds()

    def next_life(self, name: str) -> int:
        """Lives are numbered across restarts of an actor."""
        return self._lives.next(name, self.now())

    def deliver(self, sender: str, effect: Send, life: int | None) -> None:
        """Carry one message."""
        letter = Letter(effect.message, life)
        if effect.after > 0:
            self._timers.add(effect.after, effect.to, letter)
        else:
            self._arrive(effect.to, letter)

    def handled(
        self, name: str, life: int, now: float, message: Any, effects: list[Effect]
    ) -> None:
        """Record it, if somebody asked for that."""
        if self._recorder is None:
            return
        try:
            self._recorder.handled(name, life, now, message, effects)
        except Exception:  # recording never stops the recorded
            log.exception("%s could not be recorded", type(message).__name__)

    def born(self, name: str, life: int, core: Core) -> None:
        """Record the beginning of a life."""
        if self._recorder is None:
            return
        try:
            self._recorder.birth(name, life, core.birth())
        except Exception:
            log.exception("the birth of %s could not be recorded", name)

    def saved(self, name: str) -> None:
        """Wake those who follow the store. What they do wrong does not end the actor."""
        for callback in self._on_saved:
            try:
                callback()
            except Exception:
                log.exception("one who follows the store failed")

    def failed(self, name: str, message: Any, error: Exception, set_aside: bool) -> None:
        """Log a core's failure."""
        log.error("%s failed on %s", name, type(message).__name__, exc_info=error)

    def _arrive(self, to: str, letter: Letter) -> None:
        if is_edge(to):
            box = self._edges.get(to)
            if box is not None:  # else: it stopped waiting
                box.put(letter.message)
            return
        ref, carry = self._actors.get(to), self._remote.get(to)
        try:
            if ref is not None:
                ref.tell(letter)
                return
            if carry is not None:
                carry(letter.message)
                return
        except pykka.ActorDeadError:
            pass
        except Exception:  # a carrier's: whoever sent it goes on
            log.exception("%s could not be carried to %s", type(letter.message).__name__, to)
        self.lost[type(letter.message).__name__] += 1


def _boot_seconds() -> float:
    """Seconds since boot, sleep included."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class _Timers:
    """One thread that delivers letters when they are due."""

    def __init__(self, now: Callable[[], float], arrive: Callable[[str, Letter], None]) -> None:
        self._now = now
        self._arrive = arrive
        self._heap: list[tuple[float, int, str, Letter]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="cube-timers", daemon=True)
        self._thread.start()

    def add(self, after: float, to: str, letter: Letter) -> None:
        with self._changed:
            entry = (self._now() + after, next(self._numbers), to, letter)
            heapq.heappush(self._heap, entry)
            if self._heap[0] is entry:
                self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and (not self._heap or self._heap[0][0] > self._now()):
                    wait = self._heap[0][0] - self._now() if self._heap else None
                    self._changed.wait(wait)
                if self._stopped:
                    return
                _, _, to, letter = heapq.heappop(self._heap)
            self._arrive(to, letter)
