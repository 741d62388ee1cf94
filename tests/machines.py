"""A small cluster on several machines, in either world: what the cases about faults run on.

Between machines are wires that hold messages back, lose them, or copy them. On threads each machine
is a world of its own, and the wires are what carries messages to actors of other machines; in
virtual time they stand before the world's own deliveries.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from cube.actor import Core, Letter
from cube.engine.simulated import SimulatedEngine
from cube.manager import Manager
from cube.messages import (
    MANAGER,
    Effect,
    NodeInfo,
    Run,
    RunKey,
    Snapshot,
    worker_name,
)
from cube.store import MemoryStore
from cube.store.contract import StoreError
from cube.task import Record, Saved, State
from cube.world import World
from sim.faults.world import CONTROL, machine_of
from sim.world import SimWorld
from tests.clusters import CLUSTER, PATIENCE, SimulatedCluster, SmallCluster, ThreadedCluster

Way = tuple[str, str]  # from one machine to another


class Wires:
    """What links the machines; each direction by itself."""

    def __init__(self) -> None:
        self.copies = 1
        self._held: dict[Way, list[Callable[[], None]]] = {}
        self._lock = threading.Lock()

    def carry(self, way: Way, arrive: Callable[[], None]) -> None:
        """Let one message arrive, unless this way is held."""
        with self._lock:
            if way in self._held:
                self._held[way].append(arrive)
                return
        for _ in range(self.copies):
            arrive()

    def hold(self, *ways: Way) -> None:
        """Let nothing through until these are released."""
        with self._lock:
            self._held.update((way, []) for way in ways)

    def waiting(self, way: Way) -> int:
        """How many messages are held back."""
        with self._lock:
            return len(self._held[way])

    def release(self, *ways: Way, backwards: bool = False) -> None:
        """Let these work again. What was held arrives now, the newest first if `backwards`."""
        for way in ways:
            with self._lock:
                held = self._held.pop(way)
            for arrive in reversed(held) if backwards else held:
                arrive()

    def forget(self, *ways: Way) -> None:
        """Let these work again. What was held is lost."""
        with self._lock:
            for way in ways:
                del self._held[way]


class Disk:
    """The store as one process of the manager has it. A process that has died writes no more."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._left: int | None = None
        self.died = False

    def load(self) -> Saved:
        return self._store.load()

    def save(self, records: Sequence[Record]) -> None:
        """Save. The last save before death succeeds, but what rests on it is never sent."""
        if not self.died:
            self._store.save(records)
        if self._left is not None:
            self._left -= 1
            self.died = self._left <= 0
        if self.died:
            raise StoreError("the process has died")

    def die_after(self, saves: int) -> None:
        """Let the process die after that many saves."""
        self._left = saves


class Sightings:
    """Every message that an actor handled, in the order in which that happened."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._handled: list[tuple[str, Any]] = []

    def birth(self, name: str, life: int, birth: dict[str, Any]) -> None:
        """See `cube.world.Recorder`."""

    def handled(
        self, name: str, life: int, now: float, message: Any, effects: list[Effect]
    ) -> None:
        """See `cube.world.Recorder`."""
        with self.changed:
            self._handled.append((name, message))
            self.changed.notify_all()

    def of(self, kind: type) -> list[Any]:
        """All messages of that kind."""
        return [message for _, message in list(self._handled) if type(message) is kind]


class Machines(SmallCluster):
    """What both have."""

    def __init__(self, **options: Any) -> None:
        self.wires = Wires()
        self.seen = Sightings()
        self.engines: dict[str, SimulatedEngine] = {}
        super().__init__(**options)

    def start_manager(self, store: Any = None) -> None:
        self.store = store or self.store
        disk = self.disk = Disk(self.store)
        self.world.start_core(MANAGER, lambda life: Manager(CLUSTER, disk.load()), disk)

    def make_engine(self, info: NodeInfo) -> Core:
        engine = self.engines[info.name] = SimulatedEngine(info)
        return engine

    # --- what happens to it ---

    def tell(self, actor: str, message: Any) -> None:
        """Have a message arrive there."""
        self.host(machine_of(actor)).send(actor, message)

    def restart_worker(self, node: str) -> None:
        """A crash of its process; the engine goes on."""
        self.host(node).stop_actor(worker_name(node))
        self.start_worker(node)

    def restart_manager(self) -> None:
        """A crash of its process; the store is as it was."""
        self.world.stop_actor(MANAGER)
        self.start_manager()

    # --- what truly is ---

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that the manager need not know of."""
        raise NotImplementedError

    def running(self, node: str) -> list[str]:
        """Ids of the tasks of which a run truly runs there."""
        return sorted(key.uid.partition("@")[0] for key in self.engines[node].running())

    def starts(self) -> Counter[RunKey]:
        """How often each run was ordered from its engine."""
        return Counter(run.key for run in self.seen.of(Run))

    def settle(self) -> Snapshot:
        """Wait until what runs is what should, each once, and where the manager believes it."""
        return self.wait(self._is_settled, "the cluster to settle")

    def _is_settled(self, snapshot: Snapshot) -> bool:
        live = [t for t in snapshot.tasks if not t.state.final]
        believed = sorted((t.node or "", RunKey(t.uid, t.attempt, t.restart)) for t in live)
        truth = sorted((node, key) for node in self.nodes for key in self.engines[node].running())
        return believed == truth and all(t.state is State.RUNNING for t in live)


class ThreadedMachines(Machines, ThreadedCluster):
    """In real time, with a world for each machine."""

    def make_world(self) -> World:
        self.recorder = self.seen
        world = super().make_world()
        self._worlds = {CONTROL: world}
        return world

    def host(self, node: str) -> World:
        if node not in self._worlds:
            self._worlds[node] = World(recorder=self.seen)
            self._connect(CONTROL, node, worker_name(node))
            self._connect(node, CONTROL, MANAGER)
        return self._worlds[node]

    def _connect(self, here: str, there: str, name: str) -> None:
        """Let what is sent `here` to `name` arrive there."""
        send = self._worlds[there].send
        carry = self.wires.carry
        self._worlds[here].connect(name, lambda m: carry((here, there), partial(send, name, m)))

    def until(self, condition: Callable[[], bool], what: str) -> None:
        end = self.world.now() + PATIENCE
        while not condition():
            left = end - self.world.now()
            assert left > 0, f"waited in vain for {what}"
            with self.seen.changed:
                self.seen.changed.wait(min(left, 0.05))  # what is seen is not sent yet

    def close(self) -> None:
        for world in self._worlds.values():
            world.stop()


class WiredWorld(SimWorld):
    """Virtual time, with wires between the machines."""

    def __init__(self, wires: Wires) -> None:
        super().__init__()
        self.rebuilds = True
        self._wires = wires

    def carry(self, sender: str, to: str, letter: Letter, after: float) -> None:
        way = machine_of(sender), machine_of(to)
        arrive = partial(super().carry, sender, to, letter, after)
        if way[0] == way[1]:
            arrive()
        else:
            self._wires.carry(way, arrive)


class SimulatedMachines(Machines, SimulatedCluster):
    """In virtual time."""

    def make_world(self) -> SimWorld:
        world = WiredWorld(self.wires)
        world.observe(lambda name, message, now, e: self.seen.handled(name, 0, now, message, e))
        return world

    def until(self, condition: Callable[[], bool], what: str) -> None:
        end = self.world.now() + PATIENCE
        while not condition():
            assert self.world.now() < end, f"waited in vain for {what}"
            self.world.env.step()


@contextmanager
def machines(kind: str, **options: Any) -> Iterator[Machines]:
    """A cluster with all its nodes, ended afterwards."""
    made = (ThreadedMachines if kind == "threads" else SimulatedMachines)(**options)
    try:
        made.join()
        yield made
    finally:
        made.close()
