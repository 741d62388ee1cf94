"""The protocol under loss, delay and crashes, by seed: after healing, what is wanted is what runs.

Two phases: messages between machines are lost and late, workers, managers, schedulers and whole
nodes go down and come back, users change their minds; then all is healed and the cluster must
settle. What is checked is recomputed from what the engines really run.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from cube.messages import (
    MANAGER,
    SCHEDULER,
    DeclareLost,
    Drain,
    Send,
    Snapshot,
    Stop,
    Submit,
    engine_name,
    worker_name,
)
from cube.spec import JobSpec, Kind, ReschedulePolicy, RestartPolicy, TaskSpec
from cube.task import State
from sim.world import SimWorld
from tests.clusters import SimulatedCluster, batch, service

LOSS = 0.2
DELAYS = (0.0, 0.0, 0.0, 0.01, 0.5, 2.0)  # seconds, drawn per message
JOBS = 8
STEPS = 25
SETTLE_SECONDS = 150.0


class LossyWorld(SimWorld):
    """Loses and delays what crosses the network, as its generator says."""

    rng: Random | None = None

    def deliver(self, sender: str, effect: Send, life: int | None) -> None:
        """Carry, lose or delay one message."""
        local = effect.to == sender or "engine/" in effect.to or "engine/" in sender
        if self.rng is not None and not local:
            if self.rng.random() < LOSS:
                return
            late = effect.after + self.rng.choice(DELAYS)
            effect = Send(effect.to, effect.message, late)
        super().deliver(sender, effect, life)


class Storm(SimulatedCluster):
    """A cluster to which bad things happen, in an order that a seed decides."""

    def make_world(self) -> SimWorld:
        return LossyWorld()

    def __init__(self, seed: int) -> None:
        super().__init__(nodes=6, cpu_milli=4000, memory_mib=8000)
        self.join()
        self.rng = self.world.rng = Random(seed)
        self.down: set[str] = set()

    def rage(self) -> None:
        """Submit jobs, then let things happen."""
        for i in range(JOBS):
            self.submit_without_reply(f"job-{i}", self.some_spec())
            self.pass_time(self.rng.uniform(0, 5))
        happenings = self.happenings()
        for _ in range(STEPS):
            self.rng.choice(happenings)()
            self.pass_time(self.rng.uniform(0, 12))

    def happenings(self) -> list[Callable[[], None]]:
        return [
            self.crash_worker,
            self.crash_worker,
            self.return_worker,
            self.return_worker,
            self.restart_manager,
            self.restart_scheduler,
            self.reboot_node,
            self.stop_some_job,
            self.change_some_job,
            lambda: None,
        ]

    def heal(self) -> Snapshot:
        self.world.rng = None
        for node in sorted(self.down):
            self.start_worker(node)
        self.pass_time(SETTLE_SECONDS)
        return self.look()

    # --- what users do ---

    def some_spec(self) -> TaskSpec:
        rng = self.rng
        return rng.choice(
            [
                service(instances=rng.randint(1, 4), cpu_milli=rng.choice([100, 300, 700])),
                batch(
                    instances=rng.randint(1, 4),
                    seconds=rng.uniform(0.5, 20),
                    restart=RestartPolicy("on-failure", 3, 1e4, 1.0),
                ),
                service(
                    instances=2,
                    labels=(("cube.sim.seconds", "7"), ("cube.sim.exit", "1")),
                    restart=RestartPolicy("any", 1, 1e3, 1.0),
                    reschedule=ReschedulePolicy(None, 1.0, 8.0),
                ),
                service(instances=2, on_disconnect="stop", labels=(("cube.sim.stop", "0.5"),)),
            ]
        )

    def submit_without_reply(self, name: str, spec: TaskSpec) -> None:
        request = f"request-{next(self.requests)}"
        self.world.send(MANAGER, Submit(request, JobSpec(name, (spec,))))

    def stop_some_job(self) -> None:
        self.world.send(MANAGER, Stop(f"request-{next(self.requests)}", self.some_job()))

    def change_some_job(self) -> None:
        changed = (("CHANGED", str(next(self.requests))),)
        spec = service(instances=self.rng.randint(1, 4), environment=changed)
        self.submit_without_reply(self.some_job(), spec)

    def some_job(self) -> str:
        return f"job-{self.rng.randrange(JOBS)}"

    # --- what machines do ---

    def up(self) -> str | None:
        return self.rng.choice([n for n in self.nodes if n not in self.down] or [None])

    def crash_worker(self) -> None:
        node = self.up()
        if node is not None:
            self.world.stop_actor(worker_name(node))
            self.down.add(node)

    def return_worker(self) -> None:
        if self.down:
            node = self.rng.choice(sorted(self.down))
            self.start_worker(node)
            self.down.discard(node)

    def reboot_node(self) -> None:
        node = self.up()
        if node is not None:
            self.world.stop_actor(worker_name(node))
            self.world.stop_actor(engine_name(node))
            self.start_engine(node)
            self.start_worker(node)

    def restart_manager(self) -> None:
        self.world.stop_actor(MANAGER)
        self.pass_time(self.rng.uniform(0, 3))
        self.start_manager()

    def restart_scheduler(self) -> None:
        self.world.stop_actor(SCHEDULER)
        self.pass_time(self.rng.uniform(0, 3))
        self.start_scheduler()

    # --- what must hold ---

    def runs(self) -> dict[str, list[str]]:
        """By uid, the nodes whose engines truly run it."""
        runs: dict[str, list[str]] = {}
        for node in self.nodes:
            for key in self.world.core(engine_name(node)).running():
                runs.setdefault(key.uid, []).append(node)
        return runs


class DrainingStorm(Storm):
    """And operators who drain nodes, enable them, and call silent ones lost."""

    def rage(self) -> None:
        self.world.rng = None  # this one arrives
        self.submit(service("agent", kind=Kind.GLOBAL), name="agents")
        self.world.rng = self.rng
        super().rage()

    def happenings(self) -> list[Callable[[], None]]:
        drains = [self.drain_some, self.drain_some, self.enable_some, self.call_some_lost]
        return [*super().happenings(), *drains]

    def drain_some(self) -> None:
        self.say(lambda request, node: Drain(request, node))

    def enable_some(self) -> None:
        self.say(lambda request, node: Drain(request, node, on=False))

    def call_some_lost(self) -> None:
        self.say(lambda request, node: DeclareLost(request, node))

    def say(self, make: Callable[[str, str], Any]) -> None:
        message = make(f"request-{next(self.requests)}", self.rng.choice(self.nodes))
        self.world.send(MANAGER, message)


def not_drained(snapshot: Snapshot) -> list[str]:
    """Tasks where they should not be, and agents that are missing."""
    found = []
    runs = {t.id for t in snapshot.tasks if t.state is State.RUNNING}
    for node in snapshot.nodes:
        here = [t for t in snapshot.tasks if t.node == node.name and t.state.placed]
        if node.draining and here and "waits until" not in node.note:
            found.append(f"{node.name} has {len(here)} tasks: {node.note}")
        if (f"agents/agent/{node.name}" in runs) == node.draining:
            found.append(f"{node.name} {'keeps' if node.draining else 'lacks'} its agent")
    return found


def problems(storm: Storm, snapshot: Snapshot) -> list[str]:
    """Everything that is not as it must be once healed."""
    runs = storm.runs()
    wanted: dict[str, Any] = {t.uid: t for t in snapshot.tasks if t.state is State.RUNNING}
    found = [f"{uid} runs on {nodes}" for uid, nodes in runs.items() if len(nodes) > 1]
    found += [
        f"{uid} runs on {nodes}, unwanted" for uid, nodes in runs.items() if uid not in wanted
    ]
    for task in wanted.values():
        settled = task.retry_at is None and snapshot.now - task.since > 3
        if settled and runs.get(task.uid) != [task.node]:
            found.append(f"{task.uid} should run on {task.node}")
    for task in snapshot.tasks:
        old = snapshot.now - task.since > 30
        if task.state in (State.SCHEDULED, State.STOPPING) and old:
            found.append(f"{task.uid} is still {task.state}")
        waits = task.not_before > snapshot.now - 2
        if task.state is State.PENDING and not waits and _has_room(snapshot, task.spec):
            found.append(f"{task.uid} is forgotten, though there is room")
    for row in snapshot.rows:
        here = [t for t in snapshot.tasks if t.node == row.info.name and t.state.placed]
        used = sum(t.spec.cpu_milli for t in here)
        if used != row.cpu_used_milli or used > row.info.cpu_milli:
            found.append(f"{row.info.name}: {used} placed, {row.cpu_used_milli} in the books")
    found += [f"{n.name} is {n.state}" for n in snapshot.nodes if n.state != "alive"]
    found += [f"{fact.uid} is unknown" for _, fact in snapshot.unknown]
    return found


def _has_room(snapshot: Snapshot, spec: TaskSpec) -> bool:
    return any(
        r.open and r.info.cpu_milli - r.cpu_used_milli >= spec.cpu_milli for r in snapshot.rows
    )


@pytest.mark.parametrize("seed", range(1, 8))
def test_cluster_settles_after_a_storm(seed: int) -> None:
    storm = Storm(seed)
    try:
        storm.rage()
        assert problems(storm, storm.heal()) == [], f"seed {seed}"
    finally:
        storm.close()


@pytest.mark.parametrize("seed", range(1, 5))
def test_cluster_settles_after_a_storm_with_drains(seed: int) -> None:
    storm = DrainingStorm(seed)
    try:
        storm.rage()
        healed = storm.heal()
        assert problems(storm, healed) + not_drained(healed) == [], f"seed {seed}"
    finally:
        storm.close()
