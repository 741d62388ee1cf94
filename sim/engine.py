"""What a simulated task does: how long it takes to start, how long it runs, how it exits.

Feeds `cube.engine.simulated`. The truth comes from the workload, so it is the same under every
policy; what the workload does not say (what becomes of a later attempt) is drawn by name.
`SharedEngine` is an engine on a machine whose CPU, memory and network are felt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cube.engine.simulated import Outcome, SimulatedEngine
from cube.messages import Effect, NodeInfo, Run, RunKey, Send
from cube.task import TaskName
from sim.arrivals import MICROS, Arrivals, plain
from sim.cluster import Hardware
from sim.images import ImageCache
from sim.machine import Machine
from sim.scenario import Scenario
from sim.sharing import Memory, ProcessorSharing, WorkDue
from sim.streams import Streams
from sim.workload import Workload

OUT_OF_MEMORY = 137


class TrueTasks:
    """The fate of each run of each task (`cube.engine.simulated.Behaviour`)."""

    def __init__(self, arrivals: Arrivals, workload: Workload, seed: int) -> None:
        self._arrivals = arrivals
        self._start = workload.start
        self._failure_share = None if workload.trace else workload.failure_share
        self._streams = Streams(seed)
        self._start_micros = plain(arrivals.start_micros)
        self._run_micros = plain(arrivals.run_micros)
        self._exit_code = plain(arrivals.exit_code)
        self._cpu = plain(arrivals.used_cpu_milli)
        self._memory = plain(arrivals.used_memory_mib)

    def __call__(self, run: Run) -> Outcome:
        """The outcome of one run; a later attempt starts anew and runs as long."""
        key = run.key
        number = self._number(key)
        run_seconds = self.run_seconds(run)
        if key.attempt == 1 and key.restart == 0:
            start_seconds = self._start_micros[number] / MICROS
            return Outcome(start_seconds, run_seconds, self._exit_code[number])
        return self._again(number, key, run_seconds)

    def run_seconds(self, run: Run) -> float:
        """What it takes where it has all that it uses."""
        return float(self._run_micros[self._number(run.key)] / MICROS)

    def used(self, run: Run) -> tuple[int, int]:
        """Milli-cores and MiB that it truly uses."""
        if not self._cpu:
            return run.spec.cpu_milli, run.spec.memory_mib
        number = self._number(run.key)
        return self._cpu[number], self._memory[number]

    def image(self, run: Run) -> int:
        """The number of the image that it needs, where there are images."""
        return int(self._arrivals.image[self._number(run.key)])

    def _number(self, key: RunKey) -> int:
        name = TaskName.parse(key.uid)
        return self._arrivals.number(name.job, name.index)

    def _again(self, number: int, key: RunKey, run_seconds: float) -> Outcome:
        again = self._streams.generator("start again", f"{number} {key.attempt} {key.restart}")
        least, most = self._start.least_seconds, self._start.most_seconds
        start_seconds = round((least + (most - least) * again.random()) * MICROS) / MICROS
        code: int = self._exit_code[number]
        if self._failure_share is not None:
            code = int(again.random() < self._failure_share)
        return Outcome(start_seconds, run_seconds, code)


class Machines:
    """The machines of a scenario: their engines, and when they fail."""

    def __init__(self, scenario: Scenario, arrivals: Arrivals, seed: int) -> None:
        cluster = scenario.cluster
        names = (node.name for node in cluster.nodes())
        self._hardware = dict(zip(names, cluster.hardware(), strict=True))
        self._machine, self._failures = scenario.machine, scenario.failures
        self._images = scenario.workload.images
        self._streams = Streams(seed)
        self._tasks = TrueTasks(arrivals, scenario.workload, seed)
        self._sizes_mib = [] if self._images is None else self._images.sizes_mib(self._streams)

    def engine(self, node: NodeInfo) -> SimulatedEngine:
        """A fresh one, on which nothing runs."""
        hardware = self._hardware[node.name]
        if self._machine.is_plain and self._images is None and hardware.speed == 1:
            return SimulatedEngine(node, self._tasks)
        cache = None if self._images is None else ImageCache(self._images, self._sizes_mib)
        return SharedEngine(node, self._tasks, self._machine, hardware, cache)

    def failures(self, node: str) -> Iterator[tuple[float, float]]:
        """When that machine fails and is back, in seconds from the start."""
        return iter(()) if self._failures is None else self._failures.periods(self._streams, node)


class SharedEngine(SimulatedEngine):
    """An engine on a machine that tasks share: they slow one another, page, are killed, pull.

    A task's work is what the workload says it runs for; how long that takes is decided here.
    """

    def __init__(
        self,
        info: NodeInfo,
        tasks: TrueTasks,
        machine: Machine,
        hardware: Hardware,
        images: ImageCache | None = None,
    ) -> None:
        super().__init__(info, self._outcome)
        self._tasks = tasks
        self._machine = machine
        self._images = images
        self._now = 0.0
        cores = hardware.cpu_milli if machine.cpu == "shared" else 1 << 60
        self._cpu: ProcessorSharing[RunKey] = ProcessorSharing(cores, hardware.speed)
        self._memory: Memory[RunKey] = Memory(hardware.memory_mib)
        self._version = 0  # of what `WorkDue` was computed from

    def receive(self, message: Any, now: float) -> list[Effect]:
        """Let time pass, do what the message says, and see who is done when."""
        self._now = now
        self._cpu.pass_to(now)
        before = self._version
        if isinstance(message, WorkDue):
            effects = self._finish(message)
        else:
            effects = super().receive(message, now)
        if self._machine.memory == "kill":
            for key in self._memory.victims():
                effects += self._ended(key, OUT_OF_MEMORY, "out of memory")
        elif self._machine.memory == "thrash":
            self._cpu.drag = self._machine.thrash_factor if self._memory.is_short else 1.0
        due = self._cpu.due() if self._version != before else None
        if due is not None:
            effects.append(Send(self._name, WorkDue(self._version), due))
        return effects

    def _outcome(self, run: Run) -> Outcome:
        """What the base class is to do: start on time. The end comes from here."""
        outcome = self._tasks(run)
        pull = 0.0
        if self._images is not None:
            pull = self._images.wait_seconds(self._tasks.image(run), self._now)
        return replace(outcome, start_seconds=outcome.start_seconds + pull, run_seconds=None)

    def _finish(self, due: WorkDue) -> list[Effect]:
        if due.version != self._version:
            return []
        self._version += 1  # what is left is due at another time
        effects: list[Effect] = []
        for key in self._cpu.done():
            code = self._containers[key].outcome.exit_code
            effects += self._ended(key, code, f"exited {code}")
        return effects

    def _load(self, held: Any, sign: int) -> None:
        """A task begins or ceases to use the machine."""
        super()._load(held, sign)
        self._version += 1
        key = held.run.key
        if sign > 0:
            cpu, memory = self._tasks.used(held.run)
            self._cpu.add(key, cpu, self._tasks.run_seconds(held.run))
            self._memory.add(key, memory, held.run.spec.memory_mib)
        else:
            self._cpu.remove(key)
            self._memory.remove(key)
