"""All that the manager knows, and the only place where it changes.

A task changes through `move` (its state) or `amend` (its other fields); both keep the fleet equal
to the sum of what is placed, index the task, give it a revision and have it saved. The ledger
decides nothing: jobs, nodes and rounds do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cube.fleet import Fleet
from cube.manager.together import home_of
from cube.messages import Effect, Save, Send
from cube.spec import Demand, TaskSpec
from cube.task import (
    Answer,
    Event,
    Forget,
    Job,
    Meta,
    NodeKey,
    NodeMark,
    Record,
    Saved,
    State,
    Task,
    TaskEvent,
    Then,
    Token,
    Volume,
    transition,
)
from cube.values import replace

Stranger = tuple[str, int]  # uid and attempt of a container that the store never knew
STRANGERS = "strangers/"  # followed by the node's name, among the manager's own values
REMEMBERED = 10_000  # answers and forgotten tasks, each
SPANS = 1000  # starts of the manager that are told apart; older ones are taken together


class Ledger:
    """Jobs, tasks, volumes, answers, the fleet, and the effects of the message at hand."""

    def __init__(self, cluster: str, saved: Saved, kept_per_node: int = 0) -> None:
        self.kept_per_node = kept_per_node
        self.cluster = saved.meta.get("cluster", cluster)
        self.epoch = int(saved.meta.get("epoch", "0"))
        self.revision = int(saved.meta.get("revision", "0"))
        self.patience = float(saved.meta.get("patience", "0"))  # longest grace granted, seconds
        self.incarnation = int(saved.meta.get("incarnation", "0"))
        self.spans = read_spans(saved.meta.get("spans", ""))  # lives of managers on this store
        self.strangers = read_strangers(saved.meta)  # by node
        self.jobs = dict(saved.jobs)
        self.tasks: dict[str, Task] = {}  # by id: the newest incarnation
        self.volumes = dict(saved.volumes)
        self.answers = dict(saved.answers)
        self.node_marks = dict(saved.node_marks)
        self.tokens = dict(saved.tokens)
        self.node_keys = dict(saved.node_keys)
        self.draining = {name: None for name, mark in saved.node_marks.items() if mark.draining}
        self.fleet = Fleet()
        self.vacant: dict[str, int] = {}  # rows of nodes that were removed, by their names
        self.of_job: dict[str, dict[str, None]] = {}
        self.on_node: dict[str, dict[str, str]] = {}  # node -> ids of what it holds -> their uids
        self.ended_on: dict[str, dict[str, None]] = {}  # ended tasks whose output is kept
        self.forgotten: dict[str, int] = {}  # uids, of late, with the latest attempt of each
        self.touched: dict[str, None] = {}  # nodes that must learn at once what is wanted of them
        self.eased: dict[str, None] = {}  # nodes that a task has left: they may learn it later
        self.gained: dict[int, None] = {}  # rows that have more room than before
        self.opened = False  # has a node begun to take tasks?
        self.thinned: dict[str, None] = {}  # counted services that hold fewer places than before
        self.moved: dict[str, dict[str, None]] = {}  # jobs that changed, and which of their tasks
        self.pending: dict[str, None] = {}  # tasks that have become pending
        self.now = 0.0
        self._records: list[Record] = []
        self._sends: list[Send] = []
        self._counts: dict[str, dict[int, int]] = {}  # service -> row -> instances
        for task in sorted(saved.tasks.values(), key=lambda t: t.incarnation):
            self._index(self._as_wanted(task))

    def _as_wanted(self, task: Task) -> Task:
        """A saved task, with its job's very spec if it is equal: then nobody need compare them."""
        job = self.jobs.get(task.job)
        spec = None if job is None else job.spec.service(task.service)
        return replace(task, spec=spec) if spec is not None and spec == task.spec else task

    # --- tasks ---

    def add(self, task: Task) -> Task:
        """Take in a new task; an ended namesake makes room."""
        old = self.tasks.get(task.id)
        if old is not None:
            assert old.state.final
            self._forget_task(old)
        return self._put(replace(task, since=self.now, revision=self.next_revision()))

    def move(
        self, task: Task, event: TaskEvent, *, then: Then | None = None, **fields: Any
    ) -> Task:
        """Let `event` befall `task`; everything that follows for the books follows here."""
        state = transition(task.state, event, task.then)
        held, holds = task.state.placed, state.placed
        if held and not holds:
            self._give(task)
            fields = {"retry_at": None, "healthy": None, **fields}
            if not state.final:  # an ended task remembers where it ran
                fields |= {"node": None, "handle": "", "ports": ()}
        if state is not task.state:
            fields = {"lost_on": "", **fields, "since": self.now}
        if then is not None:
            fields["then"] = then
        if holds and not held:
            fields["placed_on"] = fields["node"]
        new = replace(task, state=state, revision=self.next_revision(), **fields)
        if holds and not held:
            self._take(new)
        return self._put(new)

    def amend(self, task: Task, **fields: Any) -> Task:
        """Change what does not move the task."""
        return self._put(replace(task, revision=self.next_revision(), **fields))

    def forget_job(self, job: Job) -> None:
        """Remove an ended job and its tasks from the books."""
        for task_id in list(self.of_job.pop(job.name, {})):
            task = self.tasks.pop(task_id)
            assert task.state.final
            self._forget_task(task)
        del self.jobs[job.name]
        self._save(Forget("job", job.name, self.next_revision()))

    def of(self, job: str) -> list[Task]:
        """A job's tasks, in the order they were made."""
        return [self.tasks[i] for i in self.of_job.get(job, ())]

    def task_of(self, uid: str) -> Task | None:
        """The task of that id, whatever its incarnation."""
        return self.tasks.get(uid[: uid.rindex("@")])

    def on(self, node: str) -> list[Task]:
        """The tasks that hold resources on a node."""
        return [self.tasks[i] for i in self.on_node.get(node, ())]

    def ended(self, node: str) -> list[Task]:
        """Ended tasks whose containers a node keeps for their output, oldest first."""
        return [self.tasks[i] for i in self.ended_on.get(node, ())]

    def let_go(self, task: Task) -> None:
        """The output of an ended task is not kept any longer."""
        if task.node is not None and task.id in (kept := self.ended_on.get(task.node, {})):
            del kept[task.id]
            self.touched[task.node] = None

    def is_open(self, node: str) -> bool:
        """Does the node take new tasks?"""
        row = self.fleet.row_of(node)
        return row is not None and bool(self.fleet.open[row])

    def present(self, service: str) -> tuple[tuple[int, int], ...]:
        """(row, instances there) of a service that is spread or counted."""
        return tuple(sorted(self._counts.get(service, {}).items()))

    def demand(self, task: Task) -> Demand:
        """What placement needs to know of a task, the node of its data or its job included."""
        job = self.jobs[task.job].spec
        tied = task.index if task.spec.kind.is_global else None
        node = tied or next(iter(self.data_nodes(task.job, task.spec).values()), None)
        if node is None and job.together:
            node = home_of(self.of(task.job), self.draining)
        return Demand.of(job, task.spec, node)

    # --- jobs, volumes, answers, events ---

    def put_job(self, job: Job) -> Job:
        """Save a job's newest state."""
        job = replace(job, revision=self.next_revision())
        self.jobs[job.name] = job
        self._save(job)
        self.moved.setdefault(job.name, {})
        if job.stopped:
            for task in self.of(job.name):
                self.let_go(task)
        return job

    def data_nodes(self, job: str, spec: TaskSpec) -> dict[str, str]:
        """Where the data is that a spec mounts, by volume, as far as there is any yet.

        Tasks of global services have data of their own on every node; nothing ties them. The data
        of one service ties all of a job that is kept together.
        """
        if spec.kind.is_global:
            return {}
        known, specs = self.jobs.get(job), [spec]
        if known is not None and known.spec.together:
            specs += [s for s in known.spec.services if not s.kind.is_global and s is not spec]
        mounts = (m for s in specs for m in s.pinning_mounts)
        names = (volume_name(job, m.kind, m.source) for m in mounts)
        return {name: self.volumes[name].node for name in names if name in self.volumes}

    def pin_data(self, task: Task) -> None:
        """Remember that a placed task's volumes now live on its node."""
        assert task.node is not None
        if task.spec.kind.is_global:
            return
        for mount in task.spec.pinning_mounts:
            name = volume_name(task.job, mount.kind, mount.source)
            if name not in self.volumes:
                volume = Volume(name, task.node, self.next_revision())
                self.volumes[name] = volume
                self._save(volume)

    def answer(self, answer: Answer) -> None:
        """Remember what was answered to a request."""
        self.answers[answer.request] = answer
        if len(self.answers) > REMEMBERED:
            del self.answers[next(iter(self.answers))]
        self._save(answer)

    def mark_of(self, node: str) -> NodeMark:
        """What an operator decided about a node, which may be nothing."""
        return self.node_marks.get(node) or NodeMark(node, False, 0)

    def mark_node(self, node: str, **fields: Any) -> None:
        """Save what an operator decided about a node."""
        mark = replace(self.mark_of(node), revision=self.next_revision(), **fields)
        self.node_marks[node] = mark
        for task in self.on(node):  # where its job may go has changed if it is kept together
            if self.jobs[task.job].spec.together:
                self.moved.setdefault(task.job, {})
        if mark.draining:
            self.draining[node] = None
        else:
            self.draining.pop(node, None)
        self._save(mark)

    def forget_node(self, node: str) -> None:
        """Nothing is remembered of a node; it holds no tasks, and its row no uses."""
        assert not self.on_node.pop(node, None)
        self.ended_on.pop(node, None)
        self.draining.pop(node, None)
        if self.strangers.get(node):
            self.set_strangers(node, frozenset())
        if self.node_marks.pop(node, None) is not None:
            self._save(Forget("node mark", node, self.next_revision()))
        if self.node_keys.pop(node, None) is not None:
            self._save(Forget("node key", node, self.next_revision()))

    def put_token(self, token: Token) -> None:
        """Save a new token."""
        self.tokens[token.name] = token
        self._save(token)

    def forget_token(self, name: str) -> None:
        """Nobody is let in by it any more."""
        del self.tokens[name]
        self._save(Forget("token", name, self.next_revision()))

    def put_node_key(self, key: NodeKey) -> None:
        """Save what a node proves itself with from now on."""
        self.node_keys[key.node] = key
        self._save(key)

    def set_meta(self, key: str, value: object) -> None:
        """Save a value of the manager itself."""
        self._save(Meta(key, str(value)))

    def begin_span(self) -> None:
        """A manager starts: whatever it makes from now on is younger than this moment.

        Between two spans nobody made anything with this store. A container from such a gap was
        made by a manager whose store is gone.
        """
        if self.spans:
            first, _ = self.spans[-1]
            self.spans[-1] = (first, max(self.incarnation, first - 1))  # it may have made nothing
        self.spans.append((max(self.incarnation + 1, int(self.now * 1000)), 0))
        if len(self.spans) > SPANS:
            (first, _), (_, last) = self.spans[:2]
            self.spans[:2] = [(first, last)]
        self.set_meta("spans", " ".join(f"{a}-{b}" for a, b in self.spans))

    def could_have_made(self, incarnation: int) -> bool:
        """Can a manager have made tasks of that incarnation with this very store?"""
        *ended, (start, _) = self.spans
        return start <= incarnation <= self.incarnation or any(
            first <= incarnation <= last for first, last in ended
        )

    def grant_patience(self, seconds: float) -> None:
        """Save how long nodes may be silent: the next life of the manager must wait as long."""
        self.patience = seconds
        self.set_meta("patience", seconds)

    def set_strangers(self, node: str, strangers: frozenset[Stranger]) -> None:
        """Save which containers of a node are unknown, lest the next life take them for ours."""
        if strangers != self.strangers.get(node, frozenset()):
            self.strangers[node] = strangers
            lines = (f"{uid} {attempt}" for uid, attempt in sorted(strangers))
            self.set_meta(STRANGERS + node, "\n".join(lines))

    def next_attempt(self, task: Task, node: str) -> int:
        """Later than all that is known of a task, strangers on the node where it goes included."""
        strange = (a for uid, a in self.strangers.get(node, ()) if uid == task.uid)
        return max([task.attempt, *strange]) + 1

    def next_incarnation(self) -> int:
        """A number for new tasks: the time in milliseconds, never the same twice."""
        self.incarnation = max(self.incarnation + 1, int(self.now * 1000))
        self.set_meta("incarnation", self.incarnation)
        return self.incarnation

    def event(self, kind: str, text: str, *, job: str = "", task: str = "", node: str = "") -> None:
        """Write a line of history."""
        revision = self.next_revision()
        self._save(Event(revision, self.now, kind, text, job, task, node, self.epoch))

    def task_event(self, kind: str, text: str, task: Task) -> None:
        """Write a line of history about a task."""
        self.event(kind, text, job=task.job, task=task.id, node=task.node or "")

    # --- effects ---

    def next_revision(self) -> int:
        """Every change has its own."""
        self.revision += 1
        return self.revision

    def send(self, to: str, message: Any, after: float = 0.0) -> None:
        """Send with the effects of this message."""
        self._sends.append(Send(to, message, after))

    def effects(self) -> list[Effect]:
        """What was saved and sent since the last call, saves first."""
        effects: list[Effect] = []
        if self._records:
            self._records.append(Meta("revision", str(self.revision)))
            effects.append(Save(tuple(self._records)))
            self._records = []
        effects += self._sends
        self._sends = []
        return effects

    # --- the books themselves ---

    def _save(self, record: Record) -> None:
        self._records.append(record)

    def _put(self, task: Task) -> Task:
        self._index(task)
        self._save(task)
        self.moved.setdefault(task.job, {})[task.id] = None
        return task

    def _index(self, task: Task) -> None:
        old = self.tasks.get(task.id)
        self.tasks[task.id] = task
        self.of_job.setdefault(task.job, {})[task.id] = None
        was_on = old.node if old is not None and old.state.placed else None
        is_on = task.node if task.state.placed else None
        if was_on is not None and was_on != is_on:
            del self.on_node[was_on][task.id]
            self.eased[was_on] = None
        if is_on is not None:
            tasks = self.on_node.setdefault(is_on, {})
            stops = task.state is State.STOPPING and old is not None and old.state is not task.state
            if task.id not in tasks or stops:
                self.touched[is_on] = None
            tasks[task.id] = task.uid
        if old is not None and old.state.final:
            self.let_go(old)
        if task.state in (State.COMPLETED, State.FAILED) and task.node is not None:
            self._keep_output(task)
        if task.state is State.PENDING and (old is None or old.state is not task.state):
            self.pending[task.id] = None

    def _keep_output(self, task: Task) -> None:
        """An ended task's container stays on its node, until newer ones need the place."""
        assert task.node is not None
        job = self.jobs.get(task.job)
        if not self.kept_per_node or (job is not None and job.stopped):
            return
        kept = self.ended_on.setdefault(task.node, {})
        kept[task.id] = None
        while len(kept) > self.kept_per_node:
            del kept[next(iter(kept))]

    def _forget_task(self, task: Task) -> None:
        self.forgotten[task.uid] = task.attempt
        if len(self.forgotten) > REMEMBERED:
            del self.forgotten[next(iter(self.forgotten))]
        self._save(Forget("task", task.uid, self.next_revision()))

    def enter_row(self, node: str) -> None:
        """A node has (again) a row without uses: take what its tasks hold."""
        for task in self.on(node):
            self._take(task)

    def give_back(self, row: int, demand: Demand, gpus: tuple[int, ...] = ()) -> None:
        """A row has more room; where ports are free again, so have all on its host."""
        self.fleet.give(row, demand, gpus)
        self.gained[row] = None
        if demand.ports:
            self.gained.update(dict.fromkeys(self.fleet.sharing_host(row)))

    def _take(self, task: Task) -> None:
        assert task.node is not None
        row = self.fleet.row_of(task.node)
        if row is None:
            return  # the node has not reported since the manager started; see enter_row
        demand = self.demand(task)
        self.fleet.take(row, demand, task.gpus)
        if demand.service:
            counts = self._counts.setdefault(demand.service, {})
            counts[row] = counts.get(row, 0) + 1

    def _give(self, task: Task) -> None:
        assert task.node is not None
        row = self.fleet.row_of(task.node)
        if row is None:
            return
        demand = self.demand(task)
        self.give_back(row, demand, task.gpus)
        counts = self._counts.get(demand.service)
        if counts is not None and row in counts:
            self.thinned[demand.service] = None
            counts[row] -= 1
            if not counts[row]:
                del counts[row]


def read_spans(text: str) -> list[tuple[int, int]]:
    """Lives of managers as saved: first and last incarnation each may have given, oldest first."""
    pairs = (part.partition("-") for part in text.split())
    return [(int(first), int(last)) for first, _, last in pairs]


def read_strangers(meta: Mapping[str, str]) -> dict[str, frozenset[Stranger]]:
    """Unknown containers as saved: a value for each node, and in it a line for each."""
    found = {}
    for key, text in meta.items():
        if key.startswith(STRANGERS):
            parts = (line.rpartition(" ") for line in text.splitlines())
            strangers = frozenset((uid, int(attempt)) for uid, _, attempt in parts)
            found[key.removeprefix(STRANGERS)] = strangers
    return found


def volume_name(job: str, kind: str, source: str) -> str:
    """How data is known in the books: a job's volume, or a host path."""
    return f"{job}_{source}" if kind == "volume" else source
