"""Empties nodes for their operators, one instance of a service at a time.

Owns that a node drains or may have tasks again. It stops what has to move and never picks where to;
tasks of global services leave with their place, which `jobs` and `rollout` look after, and a job
that is kept together leaves only for a node with room for all of it. Level-triggered: each step
looks at the books, so a restarted manager goes on where the earlier one was. What moves at the same
time is a `wave`.
"""

from __future__ import annotations

from collections.abc import Iterator

from cube.manager.jobs import Jobs
from cube.manager.ledger import Ledger
from cube.manager.nodes import Nodes
from cube.manager.rollout import is_ending, is_up
from cube.manager.together import whole_of
from cube.manager.wave import Wave
from cube.marks import mark
from cube.messages import Drain, Reply
from cube.spec import Demand
from cube.task import State, Task, TaskEvent

Service = tuple[str, str]  # of a job


class Draining:
    """All nodes that are to be empty."""

    def __init__(self, ledger: Ledger, nodes: Nodes, jobs: Jobs) -> None:
        self._ledger = ledger
        self._nodes = nodes
        self._jobs = jobs
        self._wave = Wave(ledger)
        # Those with tasks left: the last one's end is told once, by whichever manager sees it.
        self._busy = {node: None for node in ledger.draining if ledger.on_node.get(node)}

    # --- requests ---

    def drain(self, drain: Drain) -> Reply:
        """Empty a node, or let it have tasks again."""
        node, drains = drain.node, drain.node in self._ledger.draining
        if node not in self._nodes.entries and not drains:
            return Reply(drain.request, "not-found", f"there is no node {node}")
        seconds = drain.deadline_seconds if drain.on else None
        if drain.on == drains and seconds is None:
            state = "draining already" if drains else "not draining"
            return Reply(drain.request, "unchanged", f"{node} is {state}")
        deadline = None if seconds is None else self._ledger.now + seconds
        self._ledger.mark_node(node, draining=drain.on, deadline=deadline)
        tasks = [t.id for t in self._ledger.on(node)]
        if drain.on:
            self._busy[node] = None  # an empty node is told to be drained, too
            kind, text = "node.draining", f"{node} is draining: {count_tasks(tasks)} to leave"
            text += "" if seconds is None else f" within {seconds:g} s"
        else:
            kind, text = "node.enabled", f"{node} takes new tasks again"
        self._ledger.event(kind, text, node=node)
        if node in self._nodes.entries:
            self._nodes.open_or_close(self._nodes.entries[node])
        self._jobs.node_changed(node)
        self.step()
        return Reply(drain.request, "ok", text, {"node": node, "draining": drain.on})

    # --- the loop ---

    def step(self) -> None:
        """Do what can be done now: stop at most one instance of every service, all at once.

        Where a deadline has passed, stop all that is left.
        """
        if not self._ledger.draining:
            return
        for node in self._ledger.draining:
            deadline = self._ledger.mark_of(node).deadline
            if deadline is not None and deadline <= self._ledger.now:
                self._end_at_deadline(node)
        if self._wave.awaited() is None:
            self._next_wave()
        for node in self._ledger.draining:
            if self._ledger.on_node.get(node):
                self._busy[node] = None
            elif node in self._busy:
                del self._busy[node]
                self._ledger.event("node.drained", f"{node} is drained", node=node)

    def _next_wave(self) -> None:
        services = self._movable().values()
        if ready := [tasks for tasks in services if self._awaited(tasks) is None]:
            self._wave.begin()
        for tasks in ready:
            # One that is down already is moved first: that takes nothing away.
            down = (t for t in tasks if not is_up(t, self._ledger.now))
            self._move(next(down, tasks[0]))

    def gather(self) -> None:
        """Have those that were moved at the same time placed at the same time."""
        self._wave.gather()

    def _movable(self) -> dict[Service, list[Task]]:
        """Tasks that could run elsewhere, by service, in an order that no restart changes."""
        found: dict[Service, list[Task]] = {}
        tasks = [task for node in self._ledger.draining for task in self._ledger.on(node)]
        wholes: dict[str, bool] = {}
        for task in sorted(filter(self._may_move, tasks), key=_order):
            if self._has_place(task, wholes):
                found.setdefault((task.job, task.service), []).append(task)
        return found

    def _has_place(self, task: Task, wholes: dict[str, bool]) -> bool:
        """Is there room elsewhere for a job that is kept together?

        Of any other job a drain stops one instance of a service and sees; of this one it would stop
        something of everything. `wholes` remembers the answer for each job that is to leave whole.
        """
        job = self._ledger.jobs[task.job].spec
        if not job.together:
            return True
        demand = self._ledger.demand(task)
        if demand.node is not None:
            return self._fits(demand, demand.node)
        if job.name not in wholes:
            whole = whole_of(job, self._ledger.of(job.name))
            wholes[job.name] = any(self._fits(whole, name) for name in self._nodes.entries)
        return wholes[job.name]

    def _fits(self, demand: Demand, node: str) -> bool:
        row = self._ledger.fleet.row_of(node)
        return row is not None and self._ledger.fleet.fits(row, demand)

    def _may_move(self, task: Task) -> bool:
        stays = task.state is State.STOPPING or task.spec.kind.is_global
        return not stays and not self._ledger.data_nodes(task.job, task.spec)

    def _awaited(self, movable: list[Task]) -> Task | None:
        """The instance elsewhere that has to come up before one of these may be stopped."""
        here = {t.id for t in movable}
        others = (t for t in self._ledger.of(movable[0].job) if t.id not in here)
        alike = (t for t in others if t.service == movable[0].service)
        return next((t for t in alike if self._is_down(t)), None)

    def _is_down(self, task: Task) -> bool:
        """Does its service have one fewer because of it?"""
        if task.state.final or is_ending(task):
            return False
        if not task.spec.kind.is_batch:
            return not is_up(task, self._ledger.now)
        # Batch tasks that never ran, or wait after a failure, have nothing to do with the drain.
        waits = task.attempt > 0 and task.not_before <= self._ledger.now
        return task.state is State.STOPPING or (task.state is State.PENDING and waits)

    def _end_at_deadline(self, node: str) -> None:
        """Nothing is waited for any more; a task whose data is there waits for the node."""
        for task in self._ledger.on(node):
            if task.state is not State.STOPPING and not task.spec.kind.is_global:
                mark("drain-deadline")
                self._move(task, " and its deadline has passed")

    def _move(self, task: Task, because: str = "") -> None:
        """Stop first; it is placed elsewhere once it has stopped."""
        why = f"moved: {task.node} is draining{because}"
        moved = self._ledger.move(task, TaskEvent.REPLACE, then="pending", reason=why)
        self._ledger.task_event("task.replacing", f"{task.id} is {why}", moved)
        self._wave.add(moved)

    # --- what is said of it ---

    def note(self, node: str) -> str:
        """How far a drain has come, and what it waits for; empty if the node does not drain."""
        if node not in self._ledger.draining:
            return ""
        tasks = self._ledger.on(node)
        if not tasks:
            return "drained"
        why = next(self._hindrances(tasks), "")
        return f"draining, {count_tasks(tasks)} left" + (f"; {why}" if why else "")

    def _hindrances(self, tasks: list[Task]) -> Iterator[str]:
        """Why the drain does not go on; what only an operator can change comes first."""
        for task in tasks:
            names = ", ".join(self._ledger.data_nodes(task.job, task.spec))
            if names and task.state is not State.STOPPING:
                yield f"blocked by volume {names}, which ties {task.id} to {task.node}"
        wholes: dict[str, bool] = {}
        for task in filter(self._may_move, tasks):
            if not self._has_place(task, wholes):
                home = self._ledger.demand(task).node
                lacks = f"{home} has no room for {task.id}"
                if home is None:
                    lacks = "no other node has room for all of it"
                yield f"blocked by {task.job}, which is kept together: {lacks}"
        services = {(t.job, t.service) for t in tasks}
        for service, movable in self._movable().items():
            if service not in services:
                continue
            awaited = self._awaited(movable) or self._wave.awaited()
            if awaited is not None:
                yield f"{movable[0].id} waits until {awaited.id} is up ({awaited.state})"


def _order(task: Task) -> tuple[int, int, str]:
    """The oldest job first, and of its services the lowest index."""
    return (task.submitted, int(task.index) if task.index.isdecimal() else 0, task.id)


def count_tasks(tasks: list[Task] | list[str]) -> str:
    """How many they are: `1 task`, `3 tasks`."""
    return "1 task" if len(tasks) == 1 else f"{len(tasks)} tasks"
