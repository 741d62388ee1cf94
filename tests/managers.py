"""A manager driven by hand: one message in, its sends out, saves kept in a store."""

from __future__ import annotations

from typing import Any

from cube.manager import Manager, ManagerOptions
from cube.messages import (
    MANAGER,
    SCHEDULER,
    Assign,
    Fact,
    Generation,
    Look,
    NodeInfo,
    Phase,
    Place,
    Placed,
    Report,
    Save,
    Scale,
    Send,
    Snapshot,
    Submit,
    Tick,
    Wake,
)
from cube.policies import make_policy
from cube.scheduler import Scheduler
from cube.spec import JobSpec, TaskSpec
from cube.store import MemoryStore
from cube.task import Decision, State, Task

CLUSTER = "c0ffee"
WEB = TaskSpec("web", "image", cpu_milli=1000, memory_mib=100)


class Driver:
    """A manager with its store and the nodes' side of the conversation."""

    def __init__(self, nodes: int = 2, options: ManagerOptions | None = None) -> None:
        self.store = MemoryStore()
        self._options = options
        self.manager = Manager(CLUSTER, self.store.load(), options)
        self.now = 100.0
        self.seq = 0
        self.heard: dict[str, Generation] = {}  # by node: the newest assignment
        self.tell(Wake(1))
        for i in range(nodes):
            self.report(f"node-{i + 1}")

    def tell(self, message: Any) -> list[Any]:
        """Deliver; save what is to be saved; return the sends."""
        effects = self.manager.receive(message, self.now)
        kinds = [type(e) for e in effects]
        assert kinds == sorted(kinds, key=lambda k: k is Send), "saves come before sends"
        for effect in effects:
            if isinstance(effect, Save):
                self.store.save(effect.records)
        sends = [e for e in effects if isinstance(e, Send) and e.to != MANAGER]
        self.heard.update((node, a.generation) for node, a in assigns(sends).items())
        return sends

    def restart(self) -> list[Any]:
        """A new manager on what the store knows."""
        self.manager = Manager(CLUSTER, self.store.load(), self._options)
        return self.tell(Wake(2))

    def report(
        self,
        node: str,
        *facts: Fact,
        whole: bool = True,
        info: NodeInfo | None = None,
        **fields: Any,
    ) -> list[Any]:
        self.seq += 1
        info = info or NodeInfo(node, 2000, 2000, 1000)
        values = {"life": 1, "seq": self.seq, "echoes": self.heard.get(node), **fields}
        report = Report(
            node,
            CLUSTER,
            now=self.now,
            whole=whole,
            facts=facts,
            info=info if whole else None,
            **values,
        )
        return self.tell(report)

    def submit(self, *specs: TaskSpec, name: str = "shop", **fields: Any) -> list[Any]:
        return self.tell(Submit(f"submit-{name}", JobSpec(name, specs), **fields))

    def answer(self, sends: list[Any], row: int | None, *more: int | None) -> list[Any]:
        """Answer the Place in `sends` with these rows."""
        (place,) = [e.message for e in sends if isinstance(e.message, Place)]
        uids = [uid for q in place.questions for uid in q.tasks]
        decisions = tuple(
            Decision(u, r, None if r is None else f"node-{r + 1}")
            for u, r in zip(uids, (row, *more), strict=True)
        )
        return self.tell(Placed(place.round, decisions))

    def pass_time(self, seconds: float) -> list[Any]:
        sends = []
        for _ in range(round(seconds)):
            self.now += 1
            sends += self.tell(Tick())
        return sends

    def look(self) -> Snapshot:
        (send,) = self.tell(Look("look", "edge/1"))
        return send.message.body

    def task(self, task_id: str = "shop/web/1") -> Task:
        return next(t for t in self.look().tasks if t.id == task_id)


class Pair(Driver):
    """A manager whose scheduler answers at once."""

    def __init__(self, nodes: int = 2, policy: str = "epvm", **options: Any) -> None:
        self.scheduler = Scheduler(make_policy(policy))
        self.infos: dict[str, NodeInfo] = {}
        super().__init__(nodes, **options)

    def tell(self, message: Any) -> list[Any]:
        sends = super().tell(message)
        for send in sends:
            if isinstance(send.message, Place):
                (answer,) = self.scheduler.receive(send.message, self.now)
                sends = sends + self.tell(answer.message)
        return sends

    def look(self) -> Snapshot:
        return self.manager.snapshot()  # to ask it by a message could begin a round

    def join(self, node: str, cores: int = 4, **fields: Any) -> None:
        """A node with so many cores joins."""
        self.infos[node] = NodeInfo(node, 1000 * cores, 4000, 1000, **fields)
        self.report(node, info=self.infos[node])

    def run(self, *specs: TaskSpec, name: str = "shop", together: bool = True) -> None:
        """Submit a job that is kept together."""
        self.now += 1
        self.tell(Submit(f"{name} at {self.now}", JobSpec(name, specs, together=together), "e/1"))

    def scale(self, count: int) -> None:
        self.now += 1
        self.tell(Scale(f"scale at {self.now}", "shop", (("web", count),), "e/1"))

    def where(self, job: str = "shop") -> dict[str, str | None]:
        """The node of each task that is not over."""
        tasks = [t for t in self.look().tasks if t.job == job and not t.state.final]
        return {t.id.partition("/")[2]: t.node for t in tasks}

    def live(self, *silent: str) -> None:
        """Let a second pass in which all nodes do what they were told."""
        self.now += 1
        for name in [n.name for n in self.look().nodes if n.name not in silent]:
            here = [t for t in self.look().tasks if t.node == name and t.state.placed]
            facts = [stopped(t) if t.state is State.STOPPING else running(t) for t in here]
            self.report(name, *facts, info=self.infos.get(name))
        self.pass_time(1)


def assigns(sends: list[Any]) -> dict[str, Assign]:
    return {e.message.node: e.message for e in sends if isinstance(e.message, Assign)}


def running(task: Task, **fields: Any) -> Fact:
    return Fact(task.uid, task.attempt, task.restart, Phase.RUNNING, **fields)


def placed_and_running(d: Driver, spec: TaskSpec = WEB) -> Task:
    d.answer(d.submit(spec), 0)
    d.report("node-1", running(d.task()), whole=False)
    assert d.task().state is State.RUNNING
    return d.task()


def asked(sends: list[Any]) -> list[str]:
    """The ids of the tasks that the scheduler is asked about."""
    places = [e.message for e in sends if e.to == SCHEDULER]
    return [u.partition("@")[0] for p in places for q in p.questions for u in q.tasks]


def ended(task: Task, exit_code: int | None = 0, **fields: Any) -> Fact:
    """A run that is over for its worker too."""
    values: dict[str, Any] = {"final": True, "charged": False, **fields}
    return Fact(task.uid, task.attempt, task.restart, Phase.ENDED, exit_code, **values)


def stopped(task: Task) -> Fact:
    """What a worker says once a stop is done."""
    return ended(task, 143, stopped=True)
