"""One run: a cluster, a plan of faults, two phases, and checkers that look at every event.

Wires the production cores to faulty machines and engines, lets faults begin and end, heals
everything, and waits for what the protocol promises. Faults are told by `kinds`, what must hold by
`checkers`.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Literal

from cube import marks
from cube.manager import Manager, ManagerOptions
from cube.messages import (
    MANAGER,
    SCHEDULER,
    NodeInfo,
    Phase,
    Recover,
    Save,
    engine_name,
    worker_name,
)
from cube.policies import make_policy
from cube.scheduler import Scheduler
from cube.task import NodeState
from cube.worker import Worker
from sim.faults.checker import Broken
from sim.faults.checkers import Checkers
from sim.faults.engine import FaultyEngine, Reboot, SetTrouble, Trouble
from sim.faults.kinds import KINDS
from sim.faults.operator import Operator
from sim.faults.plan import Fault, draw_plan
from sim.faults.scenario import FaultScenario
from sim.faults.settled import tasks_to_move
from sim.faults.store import FaultyStore
from sim.faults.story import Story
from sim.faults.trace import Trace
from sim.faults.user import User
from sim.faults.world import CONTROL, FaultyWorld, machine_of
from sim.network import Network

CLUSTER = "faults"
FIRST_SECONDS = 20.0  # in which users submit their first jobs
DRAIN_SECONDS = 60.0  # in which even a service of which one is down has time to move
STEP_SECONDS = 0.5  # between two looks at whether the cluster has settled


@dataclass(slots=True)
class Outcome:
    """What became of one run. `broken` empty: every promise was kept."""

    scenario: str
    seed: int
    broken: str = ""
    subject: str = ""
    story: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    marks: Counter[str] = field(default_factory=Counter)
    checks: int = 0
    tasks: int = 0
    node_seconds: float = 0.0
    virtual_seconds: float = 0.0
    settle_seconds: float = 0.0
    unfenced_seconds: float = 0.0
    wall_seconds: float = 0.0
    trace_hash: str = ""
    plan: tuple[str, ...] = ()

    @property
    def replay(self) -> str:
        """The command that does it again."""
        return f"python -m sim replay --scenario {self.scenario} --seed {self.seed}"


@contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no garbage meanwhile: a run remembers what it makes, and is forgotten as a whole."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@_uncollected()
def run_seed(
    scenario: FaultScenario,
    seed: int,
    *,
    checked: bool = True,
    only: Iterable[str] | None = None,
    until: float | None = None,
    story_of: str | None = None,
) -> Outcome:
    """Carry out one run.

    Args:
        scenario: what happens how often.
        seed: decides everything else.
        checked: look at every event; the trace does not depend on it.
        only: ids of the faults that strike; all that the seed has drawn if None.
        until: stop at that virtual time, in seconds.
        story_of: tell what happened to this task, job or node, however the run ends.
    """
    before = Counter(marks.hits)
    began = time.perf_counter()
    ordeal = Ordeal(scenario, seed, checked=checked, only=only)
    outcome = ordeal.outcome
    try:
        ordeal.run(until)
    except Broken as broken:
        outcome.broken, outcome.subject = str(broken), broken.subject
        outcome.story = ordeal.story.of(broken.subject)
    except AssertionError as error:  # a core's own
        outcome.broken = f"a core raised {type(error).__name__}: {error}"
        outcome.story = ordeal.story.of("")
    finally:
        ordeal.world.stop()
    if story_of is not None:
        outcome.story = ordeal.story.of(story_of, last=10_000)
    outcome.wall_seconds = time.perf_counter() - began
    outcome.marks = marks.hits - before
    ordeal.account()
    ordeal.story.forget()  # most of what there is: freed at once, not found as garbage
    return outcome


class Ordeal:
    """A cluster to which things happen. Faults use its methods to do what they do."""

    def __init__(
        self,
        scenario: FaultScenario,
        seed: int,
        *,
        checked: bool = True,
        only: Iterable[str] | None = None,
    ) -> None:
        self.scenario = scenario
        self.seed = seed
        self.nodes = [f"node-{i + 1}" for i in range(scenario.nodes)]
        racks = min(scenario.racks, scenario.nodes)
        self.racks = [self.nodes[i::racks] for i in range(racks)]
        self.network = Network(seed, scenario.network)
        self.world = FaultyWorld(self.network, self._clock)
        self.story = Story()
        self.trace = Trace()
        self.store = FaultyStore()
        self.replaced = self.store  # the one before, once it was lost
        self.user = User(self.world, scenario.work, seed)
        self.operator = Operator(self.world, self.user)
        self.engines: dict[str, FaultyEngine] = {}
        self.healed = self.healing = False
        self.healed_at = 0.0
        self.recovering = False  # an operator has decided on unknown containers
        self._has_adopted = False
        self.absent: Counter[str] = Counter()  # actors: faults that hold them down
        self.halted: Counter[str] = Counter()  # actors: faults that let them stand still
        self.deaths: Counter[str] = Counter()  # of each actor
        # By node: attempts that ran when their store was lost, and all that it had placed.
        self.orphans: set[tuple[str, str, int]] = set()
        self.strays: set[tuple[str, str, int]] = set()
        self.troubled: dict[str, float] = {}  # node: when last nobody there could stop a task
        self.disturbed = 0.0  # when last something kept the control plane from placing
        chosen = None if only is None else set(only)
        plan = draw_plan(scenario, seed)
        self.plan = [f for f in plan if chosen is None or f.id in chosen]
        self.outcome = Outcome(scenario.name, seed, plan=tuple(f.id for f in self.plan))
        self._ends: dict[str, Callable[[], None]] = {}
        self._old: list[FaultyStore] = []
        self.checkers = Checkers(self) if checked else None
        self.world.observe(self._observe)
        self.world.on_crash = self._crashed
        if self.checkers is not None:
            self.world.after_event = self.checkers.after_event
            self.store.watch = self.checkers.saved

    # --- the run ---

    def run(self, until: float | None = None) -> None:
        """Both phases.

        Raises:
            Broken: a promise was not kept.
        """
        self._start()
        world, scenario = self.world, self.scenario
        for fault in self.plan:
            world.call_at(fault.at, partial(self._strike, fault))
        world.run(until=min(scenario.seconds, until or scenario.seconds))
        if until is not None and until <= scenario.seconds:
            return
        self._heal()
        self._settle(until)

    def account(self) -> None:
        """What is counted at the end, however it ended."""
        outcome, now = self.outcome, self.world.now()
        outcome.virtual_seconds = now
        outcome.node_seconds = now * len(self.nodes)
        outcome.trace_hash = self.trace.hexdigest()
        outcome.tasks = self.trace.tasks
        network = self.network
        counted = {"lost": network.lost, "copied": network.copied, "delayed": network.delayed}
        for what, number in counted.items():
            if number:
                outcome.faults[f"messages {what}"] = number
        if self.checkers is not None:
            outcome.checks = self.checkers.count
            outcome.unfenced_seconds = self.checkers.unfenced_seconds

    def _start(self) -> None:
        self._start_scheduler()
        self._start_manager()
        for node in self.nodes:
            info = NodeInfo(
                node, self.scenario.cpu_milli, self.scenario.memory_mib, 10_000, boot_id="1"
            )
            engine = self.engines[node] = FaultyEngine(info)
            self.world.start_core(engine_name(node), _always(engine))
            self._start_worker(node)
        self.user.begin(FIRST_SECONDS)
        if any(fault.kind == "store-old" for fault in self.plan):
            self._keep_copies()

    def _strike(self, fault: Fault) -> None:
        if self.healed:
            return
        self.outcome.faults[fault.kind] += 1
        self.say(f"! {fault.id} strikes for {fault.lasts:.1f} s")
        end = KINDS[fault.kind].begin(self, fault)
        if end is not None:
            self._ends[fault.id] = end
            self.world.call_at(self.world.now() + fault.lasts, lambda: self._end(fault.id))

    def _end(self, fault: str) -> None:
        end = self._ends.pop(fault, None)
        if end is not None:
            self.say(f"! {fault} ends")
            end()

    def _heal(self) -> None:
        """End every fault: from here on everything works."""
        self.healing = True
        for fault in list(self._ends):
            self._end(fault)
        self.healed = True
        self.network.calm = True
        self.say("! healed")

    def _settle(self, until: float | None) -> None:
        """Wait until everything is as users were told, for as long as the protocol may take."""
        healed = self.healed_at = self.world.now()
        bound = self.settle_bound()
        wrong: list[tuple[str, str]] = []
        while self.world.now() - healed < bound:
            if until is not None and self.world.now() >= until:
                return
            self.world.run(until=self.world.now() + STEP_SECONDS)
            self._recover()
            if self.checkers is None:
                continue
            wrong = self.checkers.unsettled()
            if not wrong:
                self.outcome.settle_seconds = self.world.now() - healed
                self.checkers.full()
                break
        else:
            if wrong:
                text = "; ".join(text for text, _ in wrong[:5])
                raise Broken("settled", f"after {bound:.0f} s {text}", wrong[0][1])
        # The trace must not depend on whether anybody looked.
        if self.world.now() < healed + bound:
            self.world.run(until=healed + bound)

    def settle_bound(self) -> float:
        """Rule by rule, the longest that healing may take, in seconds."""
        work = self.scenario.work
        backoff = 3600.0 if work.defaults else work.backoff_seconds
        interval = max(1.0, len(self.nodes) / self.scenario.reports_per_second)
        lease = max(10.0, 5 * interval)
        grace = (lease + 5.0) * 1.01 / 0.99
        stop_grace, rounds = 10.0, 6.0
        # One instance after the other: each may take its grace to stop, and 5 s to come up.
        roll_out = (stop_grace + 5.0) * max(work.instances, len(self.nodes))
        return 3 * interval + grace + backoff + stop_grace + rounds + roll_out

    def _recover(self) -> None:
        """Once all is healed an operator decides on unknown containers and ends drains."""
        if not self.world.alive(MANAGER) or self.recovering:
            return
        snapshot = self.world.core(MANAGER).snapshot()
        for node in snapshot.nodes:
            if node.draining and self._has_drained(node.name):
                self.user.drain(node.name, on=False)
        if snapshot.unknown:
            self.recovering = True
            # Every fourth operator adopts first, and removes what then is left.
            adopts = self.seed % 4 == 0 and not self._has_adopted
            self._has_adopted = True
            if adopts:
                self.user.allow(fact.uid for _, fact in snapshot.unknown)
            request = f"recover-{self.world.now():.3f}"
            action: Literal["adopt", "remove"] = "adopt" if adopts else "remove"
            self.world.send(MANAGER, Recover(request, "edge/user", action))
            self.world.call_at(self.world.now() + 5.0, self._may_recover_again)

    def _has_drained(self, node: str) -> bool:
        """Is the node as empty as a drain can make it?"""
        patient = self.world.now() - self.healed_at < DRAIN_SECONDS
        return not tasks_to_move(self.world.core(MANAGER).snapshot(), node, patient=patient)

    def _may_recover_again(self) -> None:
        self.recovering = False

    # --- what faults do ---

    def say(self, text: str) -> None:
        """Write a line into the story."""
        self.story.note(self.world.now(), "", text)

    def some_node(self, fault: Fault) -> str:
        """The node that a fault strikes."""
        return fault.random().choice(self.nodes)

    def silent_nodes(self) -> list[str]:
        """The nodes that the manager has not heard of lately, nor given up."""
        if not self.world.alive(MANAGER):
            return []
        nodes = self.world.core(MANAGER).snapshot().nodes
        return sorted(node.name for node in nodes if node.state is NodeState.SUSPECT)

    def restarting(self) -> list[tuple[str, str]]:
        """Where the manager knows of a container that is being started anew: node and job."""
        if not self.world.alive(MANAGER):
            return []
        tasks = self.world.core(MANAGER).snapshot().tasks
        return sorted(
            (task.node, task.job)
            for task in tasks
            if task.state.placed and task.restart and task.phase == Phase.STARTING
        )

    def starting_nodes(self) -> list[str]:
        """The nodes on which a container is being started."""
        return [node for node in self.nodes if self.engines[node].is_starting]

    def end_drain(self, node: str) -> None:
        """Let a node have tasks again; once all is healed, its drain is to come to an end first."""
        if not self.healing:
            self.user.drain(node, on=False)

    def cut(self, links: list[tuple[str, str]]) -> Callable[[], None]:
        """Cut links; returns what mends them."""
        self.say(f"! cut {links[:4]}")
        for link in links:
            self.network.sever(*link)

        def end() -> None:
            for link in links:
                self.network.mend(*link)

        return end

    def crash(self, actor: str) -> Callable[[], None]:
        """End an actor's process; returns what starts it again."""
        self._down(actor)
        return lambda: self._up(actor)

    def crash_between(self, fault: Fault) -> Callable[[], None]:
        """Have the manager die after its next save; returns what starts it again."""
        self.world.crash_between.append(fault.id)

        def end() -> None:
            if fault.id in self.world.crash_between:
                self.world.crash_between.remove(fault.id)  # there was nothing to save
            else:
                self._up(MANAGER)

        return end

    def take_down(self, node: str) -> None:
        """End a node's worker."""
        self._down(worker_name(node))

    def bring_up(self, node: str) -> None:
        """Start it again, unless something else holds it down."""
        self._up(worker_name(node))

    def freeze(self, *actors: str) -> Callable[[], None]:
        """Halt the processes of actors; returns what lets them go on."""
        for actor in actors:
            self.say(f"! {actor} stands still")
            self.halted[actor] += 1
            self.world.freeze(actor)

        def end() -> None:
            for actor in actors:
                self.halted[actor] -= 1
                if not self.halted[actor]:
                    self.say(f"! {actor} goes on")
                    self.disturbed = self.troubled[machine_of(actor)] = self.world.now()
                    self.world.thaw(actor)

        return end

    def trouble(self, node: str, kind: Trouble) -> Callable[[], None]:
        """Give an engine trouble; returns what ends it."""
        self.say(f"! engine of {node}: {kind}")
        self.tell_engine(node, SetTrouble(kind, True))

        def end() -> None:
            if self.engines[node].has(kind):
                self.troubled[node] = self.world.now()
                self.tell_engine(node, SetTrouble(kind, False))

        return end

    def tell_engine(self, node: str, message: Any) -> None:
        """Have something happen to a node's engine."""
        self.say(f"! {engine_name(node)}: {message}")
        self.world.send(engine_name(node), message)

    def reboot(self, node: str, reboot: Reboot) -> None:
        """A machine goes down: what its engine was told and had not taken in is gone."""
        self.take_down(node)
        self.world.frozen.get(engine_name(node), []).clear()
        self.tell_engine(node, reboot)

    def break_store(self, why: str, every: int = 1) -> Callable[[], None]:
        """Let saves fail; returns what repairs the store."""
        self.store.fail(why, every)

        def end() -> None:
            self.store.mend()

        return end

    def replace_store(self, fault: Fault, *, lost: bool) -> Callable[[], None]:
        """The manager dies and comes back with another store; returns what starts it."""
        self._down(MANAGER)
        old = FaultyStore() if lost or not self._old else fault.random().choice(self._old).copy()
        self.say(f"! the store is {'empty' if lost else 'old'} now")
        self.replaced, self.store = self.store, old
        self._old.clear()
        self.user.forget()
        self.operator.labels.clear()
        if self.checkers is not None:
            old.watch = self.checkers.saved
            self.checkers.store_replaced()
        return lambda: self._up(MANAGER)

    # --- actors ---

    def stands_still(self, node: str) -> bool:
        """Can nobody on that node stop a task now?"""
        engine = self.engines[node]
        return (
            not self.world.alive(worker_name(node))
            or worker_name(node) in self.world.frozen
            or engine_name(node) in self.world.frozen
            or engine.has("deaf")
            or engine.has("unreachable")
        )

    def _down(self, actor: str) -> None:
        self.absent[actor] += 1
        if self.world.alive(actor):
            self.say(f"! {actor} dies")
            self.deaths[actor] += 1
            self.world.stop_actor(actor)
            self.world.frozen.get(actor, []).clear()

    def _up(self, actor: str) -> None:
        self.absent[actor] -= 1
        if self.absent[actor] > 0 or self.world.alive(actor):
            return
        self.say(f"! {actor} starts")
        self.disturbed = self.world.now()
        if actor == MANAGER:
            self._start_manager()
        elif actor == SCHEDULER:
            self._start_scheduler()
        else:
            node = machine_of(actor)
            self.troubled[node] = self.world.now()
            self._start_worker(node)

    def _crashed(self, actor: str) -> None:
        self.say(f"! {actor} dies between save and send")
        self.absent[actor] += 1

    def _start_manager(self) -> None:
        self.world.start_core(MANAGER, lambda life: self.make_manager(), self.store)

    def make_manager(self) -> Manager:
        """A manager that knows what is in the store."""
        scenario = self.scenario
        options = ManagerOptions(
            "epvm", scenario.reports_per_second, scenario.kept_per_node, scenario.queue
        )
        return Manager(CLUSTER, self.store.load(), options)

    def _start_scheduler(self) -> None:
        self.world.start_core(SCHEDULER, lambda life: Scheduler(make_policy("epvm")))

    def _start_worker(self, node: str) -> None:
        self.world.start_core(worker_name(node), lambda life: Worker(node, CLUSTER))

    def _clock(self, machine: str) -> tuple[float, float]:
        """Rate and offset of a machine's clock."""
        draw = Random(f"{self.seed} clock {machine}")
        offset = 1000.0 if machine == CONTROL else draw.uniform(0.0, 5000.0)
        return 1.0 + draw.uniform(-1.0, 1.0) * self.scenario.drift, offset

    def _keep_copies(self) -> None:
        """Keep copies of the store, as a backup would."""
        self._old.append(self.store.copy())
        del self._old[:-10]
        self.world.call_at(self.world.now() + self.scenario.backup_seconds, self._keep_copies)

    def _observe(self, actor: str, message: Any, now: float, effects: list[Any]) -> None:
        self.story.note(now, actor, message)
        self.trace.note(actor, message, now)
        for effect in effects:
            if isinstance(effect, Save):
                self.story.note(now, actor, effect)
                self.trace.saved(effect)
        if self.checkers is not None:
            self.checkers.handled(actor, message, now, effects)


def _always(engine: FaultyEngine) -> Callable[[int], FaultyEngine]:
    """An engine outlives its actor: what it runs is there, whoever asks."""
    return lambda life: engine
