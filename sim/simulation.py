"""One cluster in virtual time, fed with one seed's arrivals, until every task is final.

Wires the production cores (manager, scheduler, a worker per node) and the simulated engines into a
`SimWorld`. Decides when a run is over; measures nothing itself.
"""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import simpy

from cube.manager import Manager, ManagerOptions
from cube.messages import (
    MANAGER,
    SCHEDULER,
    NodeInfo,
    Submit,
    engine_name,
    worker_name,
)
from cube.policies import Policy
from cube.task import Saved
from cube.worker import Worker
from sim.arrivals import MICROS, Arrivals
from sim.engine import Machines
from sim.errors import PolicyFailed
from sim.observation import Observation, Recorder
from sim.scenario import Control, Scenario
from sim.timing import TimedScheduler
from sim.world import SimWorld

CLUSTER_ID = "simulated"
FEED_BLOCK = 1024  # jobs whose arrivals are in SimPy's queue at once: keeps its heap small
PATIENCE_SECONDS = 300.0  # nothing runs and nothing is placed for so long: what waits fits nowhere
PROGRESS_TASKS = 256  # final tasks between two words on progress

Progress = Callable[[int], None]  # tasks that are final by now


class Simulation:
    """One run, from empty nodes to the last task's end."""

    def __init__(
        self,
        scenario: Scenario,
        policy: Policy,
        arrivals: Arrivals,
        seed: int,
        progress: Progress | None = None,
    ) -> None:
        self._arrivals = arrivals
        self._progress = progress
        self.world = SimWorld(delay=_delays(scenario.control))
        self._policy_error = ""
        self._over = simpy.Event(self.world.env)
        self._scheduler = TimedScheduler(policy)
        self._fed = 0  # jobs handed to the world
        self._changes = 0  # when the watch last looked
        self._down = 0  # machines that wait for their repair
        self._capacity = scenario.cluster.capacity()
        self._machines = Machines(scenario, arrivals, seed)
        nodes = scenario.cluster.nodes()
        names = (node.name for node in nodes)
        self.recorder = Recorder(arrivals, names, self.world.now, self._count, self._policy_failed)
        control = scenario.control
        options = ManagerOptions(str(policy), control.reports_per_second, 0, control.queue)
        self._start(nodes, policy, options)
        self._feed(None)
        self._after(PATIENCE_SECONDS, self._watch)
        if scenario.horizon_seconds:
            self._after(scenario.horizon_seconds, lambda _: self.end())

    def run(self) -> Observation:
        """Let virtual time pass until the run is over.

        Raises:
            PolicyFailed: the policy raised or gave nonsense.
            KeyboardInterrupt: Ctrl-C; what was simulated is given up.
        """
        with _stopping_at_interrupt(self.end) as interrupted, _without_collector():
            try:
                self.world.run(self._over)
            finally:
                self.world.stop()
        if interrupted():
            raise KeyboardInterrupt
        if self._policy_error:
            when = f"{self.world.now():.3f} virtual seconds"
            raise PolicyFailed(f"after {when} {self._policy_error}", "Repair the policy.")
        return self.recorder.observation(self._capacity)

    def end(self) -> None:
        """The run is over."""
        if not self._over.triggered:
            self._over.succeed()

    @property
    def messages(self) -> dict[str, int]:
        """How many messages of each type were delivered."""
        return dict(sorted(self.world.messages.items()))

    @property
    def decision_seconds(self) -> float:
        """What one decision of the scheduler cost on this machine, in wall seconds."""
        return self._scheduler.seconds_each

    def trace_hash(self) -> str:
        """The digest of all that happened."""
        return self.recorder.trace_hash(self.world.messages.items())

    def _start(self, nodes: tuple[NodeInfo, ...], policy: Policy, options: ManagerOptions) -> None:
        world, nothing = self.world, Saved({}, {}, {}, {}, {})
        world.start_core(MANAGER, lambda life: Manager(CLUSTER_ID, nothing, options), self.recorder)
        world.start_core(SCHEDULER, lambda life: self._scheduler)
        for node in nodes:
            self._start_node(node)
            self._await_failure(node, self._machines.failures(node.name))

    def _start_node(self, node: NodeInfo) -> None:
        engine = self._machines.engine(node)
        self.world.start_core(engine_name(node.name), lambda life: engine)
        self.world.start_core(worker_name(node.name), lambda life: Worker(node.name, CLUSTER_ID))

    def _await_failure(self, node: NodeInfo, periods: Iterator[tuple[float, float]]) -> None:
        """The machine fails, and is repaired, as was drawn for it."""
        period = next(periods, None)
        if period is None:
            return
        down, up = period

        def fail(_: Any) -> None:
            self._down += 1
            self.world.stop_actor(engine_name(node.name))
            self.world.stop_actor(worker_name(node.name))
            self._after(up - self.world.now(), repair)

        def repair(_: Any) -> None:
            self._down -= 1
            self._start_node(node)
            self._await_failure(node, periods)

        self._after(down - self.world.now(), fail)

    def _feed(self, _: Any) -> None:
        """Hand over the next block of arrivals, and come back when the last of them is due."""
        arrivals, now = self._arrivals, self.world.now()
        last = min(self._fed + FEED_BLOCK, arrivals.jobs)
        after = 0.0
        for job in range(self._fed, last):
            at = int(arrivals.at_micros[arrivals.first_of(job)])
            after = max(0.0, at / MICROS - now)
            self.world.send(MANAGER, Submit(f"r{job}", arrivals.job(job)), after)
        self._fed = last
        if last < arrivals.jobs:
            self._after(after, self._feed)

    def _count(self, final: int) -> None:
        if self._progress is not None and final % PROGRESS_TASKS == 0:
            self._progress(final)
        if final == len(self._arrivals):
            self.end()

    def _policy_failed(self, error: str) -> None:
        self._policy_error = error
        self.end()

    def _watch(self, _: Any) -> None:
        """End a run in which nothing can happen any more: what waits fits nowhere."""
        recorder = self.recorder
        idle = recorder.held == 0 and recorder.changes == self._changes
        if idle and not self._down and self._fed == self._arrivals.jobs:
            last = self._arrivals.at_micros[-1] / MICROS
            if self.world.now() - last > PATIENCE_SECONDS:
                self.end()
        self._changes = recorder.changes
        self._after(PATIENCE_SECONDS, self._watch)

    def _after(self, seconds: float, callback: Callable[[Any], None]) -> None:
        timeout = self.world.env.timeout(seconds)
        assert timeout.callbacks is not None
        timeout.callbacks.append(callback)


def _delays(control: Control) -> Callable[[str, str], float]:
    """How long messages take between machines; none between a worker and its own engine.

    The scheduler's answers take as long as it thinks besides: tasks that arrive meanwhile are in
    its next round.
    """
    network = control.network_seconds
    answer = control.decision_seconds + network

    def delay(sender: str, to: str) -> float:
        if sender[:7] == "engine/" or to[:7] == "engine/":
            return 0.0
        return answer if sender == SCHEDULER else network

    return delay


@contextmanager
def _without_collector() -> Iterator[None]:
    """Nothing that a run makes is cyclic garbage: looking for it costs a quarter of the time."""
    was = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was:
            gc.enable()


@contextmanager
def _stopping_at_interrupt(end: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Ctrl-C ends the run between two events: Pykka would swallow it inside an actor."""
    seen: list[int] = []
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield lambda: False
        return

    def note(number: int, frame: Any) -> None:
        seen.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the second one is at once
        end()

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(seen)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
