"""One small cluster in either world, driven the same way: what the conformance suite runs on."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cube.actor import Core
from cube.engine.simulated import SimulatedEngine
from cube.manager import Manager
from cube.messages import (
    MANAGER,
    SCHEDULER,
    Drain,
    Look,
    NodeInfo,
    Remove,
    Reply,
    Snapshot,
    Stop,
    Submit,
    engine_name,
    worker_name,
)
from cube.policies import make_policy
from cube.scheduler import Scheduler
from cube.spec import JobSpec, Kind, RestartPolicy, Spread, TaskSpec
from cube.store import MemoryStore
from cube.task import Task
from cube.worker import Worker
from cube.world import World
from sim.world import SimWorld

CLUSTER = "c0ffee"
PATIENCE = 30.0  # seconds, real or virtual
Condition = Callable[[Snapshot], bool]


def service(name: str = "web", **fields: Any) -> TaskSpec:
    """A service that runs until it is stopped."""
    return TaskSpec(name, "image", **fields)


def batch(
    name: str = "report", seconds: float = 0.05, exit_code: int = 0, **fields: Any
) -> TaskSpec:
    """A batch task that ends by itself."""
    labels = (("cube.sim.seconds", str(seconds)), ("cube.sim.exit", str(exit_code)))
    fields = {"restart": RestartPolicy("none"), "spread": Spread("none"), **fields}
    return TaskSpec(name, "image", Kind.BATCH, labels=labels, **fields)


class SmallCluster:
    """A manager, a scheduler, and nodes with simulated engines."""

    def __init__(
        self, nodes: int = 3, policy: str = "epvm", recorder: Any = None, **capacity: int
    ) -> None:
        self.recorder = recorder
        self.capacity = {"cpu_milli": 1000, "memory_mib": 1024, "disk_mib": 1024, **capacity}
        self.policy = policy
        self.store = MemoryStore()
        self.requests = itertools.count(1)
        self.world: Any = self.make_world()
        self.start_scheduler()
        self.start_manager()
        self.nodes = [f"node-{i + 1}" for i in range(nodes)]

    # --- actors ---

    def make_world(self) -> Any:
        raise NotImplementedError

    def start_manager(self, store: Any = None) -> None:
        self.store = store or self.store
        keep = self.store
        self.world.start_core(MANAGER, lambda life: Manager(CLUSTER, keep.load()), keep)

    def start_scheduler(self) -> None:
        self.world.start_core(SCHEDULER, lambda life: Scheduler(make_policy(self.policy)))

    def host(self, node: str) -> Any:
        """The world that hosts a node's actors."""
        return self.world

    def start_worker(self, node: str) -> None:
        self.host(node).start_core(worker_name(node), lambda life: self.make_worker(node))

    def make_worker(self, node: str) -> Core:
        return Worker(node, CLUSTER)

    def start_engine(self, node: str) -> None:
        info = NodeInfo(node, **self.capacity)
        self.host(node).start_core(engine_name(node), lambda life: self.make_engine(info))

    def make_engine(self, info: NodeInfo) -> Core:
        return SimulatedEngine(info)

    # --- users ---

    def ask(self, make: Callable[[str], Any]) -> Reply:
        raise NotImplementedError

    def wait(self, condition: Condition, what: str = "") -> Snapshot:
        raise NotImplementedError

    def pass_time(self, seconds: float) -> None:
        raise NotImplementedError

    def look(self) -> Snapshot:
        reply = self.ask(lambda edge: Look("look", edge))
        assert isinstance(reply.body, Snapshot)
        return reply.body

    def submit(
        self, *services: TaskSpec, name: str = "shop", again: bool = False, **job: Any
    ) -> Reply:
        spec = JobSpec(name, services, **job)
        return self.send(lambda request, edge: Submit(request, spec, edge, again))

    def stop(self, target: str) -> Reply:
        return self.send(lambda request, edge: Stop(request, target, edge))

    def remove(self, job: str, force: bool = False) -> Reply:
        return self.send(lambda request, edge: Remove(request, job, edge, force))

    def drain(self, node: str, on: bool = True) -> Reply:
        return self.send(lambda request, edge: Drain(request, node, edge, on))

    def send(self, make: Callable[[str, str], Any]) -> Reply:
        request = f"request-{next(self.requests)}"
        return self.ask(lambda edge: make(request, edge))

    def join(self) -> None:
        """Let the nodes join one after the other, so that each has the same row every time."""
        for count, node in enumerate(self.nodes, 1):
            self.start_engine(node)
            self.start_worker(node)
            self.wait(lambda s, count=count: len(s.rows) == count, f"{node} to join")

    def ready(self) -> None:
        """Wait until the manager has heard every node."""
        self.wait(lambda s: len(s.rows) == len(self.nodes), "all nodes")

    def wait_states(self, job: str, *states: str) -> list[Task]:
        """Wait until a job's tasks are in these states (sorted); returns them by id."""
        wanted = sorted(states)
        snapshot = self.wait(
            lambda s: sorted(str(t.state) for t in of_job(s, job)) == wanted, f"{job}: {wanted[:5]}"
        )
        return of_job(snapshot, job)


def of_job(snapshot: Snapshot, job: str) -> list[Task]:
    """A job's tasks by id."""
    return sorted((t for t in snapshot.tasks if t.job == job), key=lambda t: t.id)


class ThreadedCluster(SmallCluster):
    """In real time."""

    def make_world(self) -> World:
        world = World(recorder=self.recorder)
        self._changed = threading.Event()
        world.on_saved(self._changed.set)
        return world

    def ask(self, make: Callable[[str], Any]) -> Reply:
        reply: Reply = self.world.ask(MANAGER, make, PATIENCE)
        return reply

    def wait(self, condition: Condition, what: str = "") -> Snapshot:
        end = self.world.now() + PATIENCE
        while True:
            self._changed.clear()
            if condition(snapshot := self.look()):
                return snapshot
            left = end - self.world.now()
            assert left > 0, f"waited in vain for {what}; {shown(snapshot)}"
            self._changed.wait(min(left, 0.2))  # some changes are not saved

    def pass_time(self, seconds: float) -> None:
        threading.Event().wait(seconds)

    def close(self) -> None:
        self.world.stop()


class SimulatedCluster(SmallCluster):
    """In virtual time."""

    def make_world(self) -> SimWorld:
        return SimWorld()

    def ask(self, make: Callable[[str], Any]) -> Reply:
        replies: list[Reply] = []
        self.world.on_reply("edge/test", replies.append)
        self.world.send(MANAGER, make("edge/test"))
        end = self.world.now() + PATIENCE
        while not replies:
            assert self.world.now() < end, "the manager does not answer"
            self.world.env.step()
        return replies[0]

    def wait(self, condition: Condition, what: str = "") -> Snapshot:
        end = self.world.now() + PATIENCE
        while not condition(snapshot := self.look()):
            assert self.world.now() < end, f"waited in vain for {what}; {shown(snapshot)}"
            self.world.run(until=self.world.now() + 0.01)
        return snapshot

    def pass_time(self, seconds: float) -> None:
        self.world.run(until=self.world.now() + seconds)

    def close(self) -> None:
        self.world.stop()


def shown(snapshot: Snapshot) -> str:
    """The tasks, for a failure message."""
    tasks = [f"{t.id} {t.state} on {t.node} ({t.reason})" for t in snapshot.tasks]
    return "; ".join(tasks[:20])


@contextmanager
def cluster(kind: str, **options: Any) -> Iterator[Any]:
    """A cluster with all its nodes, ended afterwards."""
    made = ThreadedCluster(**options) if kind == "threads" else SimulatedCluster(**options)
    try:
        made.join()
        yield made
    finally:
        made.close()
