"""Nodes as the manager sees them: reports in, assignments out, alive, suspect, lost.

Owns when a node was heard, what it was told and what is unknown on it. Facts about single tasks are
merged by `cube.manager.facts`; where tasks go is none of its business.
"""

from __future__ import annotations

from cube.manager.entry import LEASE_INTERVALS, Entry, Grants, grants
from cube.manager.facts import lose_task, merge, missing
from cube.manager.images import image_of
from cube.manager.ledger import Ledger
from cube.manager.strangers import Strangers
from cube.marks import mark
from cube.messages import (
    Assign,
    Fact,
    Generation,
    NodeInfo,
    NodeRow,
    Phase,
    Report,
    Wanted,
    worker_name,
)
from cube.task import Node, NodeState, State, Task
from cube.values import replace

SUSPECT_INTERVALS = 3.0


class Nodes:
    """All nodes."""

    def __init__(self, ledger: Ledger, reports_per_second: float) -> None:
        self._ledger = ledger
        self._reports_per_second = reports_per_second
        self.strangers = Strangers(ledger)
        self.entries: dict[str, Entry] = {}
        self.cut_off = False  # most nodes are silent, one for a grace: it may be us
        self._most_silent_at = float("-inf")  # when most nodes were last silent together
        self._number = 0
        self._answers: dict[str, None] = {}  # nodes that are to be told now
        self._owed: dict[str, float] = {}  # nodes that may be told later, with the time

    # --- life ---

    def start(self) -> None:
        """Expect every node that holds tasks; one that stays silent for a grace is lost."""
        for name, tasks in self._ledger.on_node.items():
            if tasks:
                now = self._ledger.now
                patience = self._ledger.patience
                self.entries[name] = Entry(name, NodeState.SUSPECT, now, now, patience=patience)

    @property
    def grants(self) -> Grants:
        """What the next Assign promises."""
        return grants(len(self.entries), self._reports_per_second)

    def tick(self) -> None:
        """Judge silence."""
        now, granted = self._ledger.now, self.grants
        patience = SUSPECT_INTERVALS * granted.interval
        members, known, silent, overdue = 0, 0, 0, []
        drained = {name for name in self._ledger.draining if self._is_drained(name)}
        for entry in self.entries.values():
            silence = now - entry.heard
            counts = entry.name not in drained
            members += counts
            if silence <= patience and entry.confirmed and entry.state is NodeState.ALIVE:
                known += counts  # as nearly all of them, nearly always
                continue
            if entry.state is NodeState.ALIVE:
                if silence > patience:
                    mark("node-suspect")
                    self._become(entry, NodeState.SUSPECT, "missed its reports")
                elif not entry.confirmed and now - entry.numbered_at > patience:
                    mark("node-unconfirmed")
                    self._become(entry, NodeState.SUSPECT, "does not confirm its assignment")
            if entry.state is NodeState.LOST:
                lately = counts and now - entry.since < granted.grace
                known, silent = known + lately, silent + lately
                continue
            known += counts
            # Who has not heard this life reports as seldom as an earlier one granted.
            if silence > max(patience, SUSPECT_INTERVALS / LEASE_INTERVALS * entry.patience):
                silent += counts
                if not counts:
                    mark("drained-node-silent")
                if silence > max(entry.patience, granted.grace):
                    overdue.append(entry)
                elif silence > granted.grace:
                    mark("manager-waits-patience")
        # So many at once: it must be us who are cut off, and moving their tasks would double them.
        # They come back one after the other: for a grace, none is lost for being the last.
        # Those lost long ago are no witnesses, but the two that they leave of three still are.
        most_silent = members >= 3 and silent > known / 2
        if most_silent:
            self._most_silent_at = now
        self.cut_off = most_silent and bool(overdue)
        if self.cut_off:
            mark("manager-cut-off")
        elif now - self._most_silent_at > granted.grace:
            for entry in overdue:
                self.lose(entry, f"silent for {now - entry.heard:.0f} s")
        elif overdue:
            mark("last-to-return")
        for name, due in self._owed.items():
            if due > now:
                break
            self._answers[name] = None

    def _is_drained(self, node: str) -> bool:
        """Was it emptied, so that its operator may switch it off?

        Its silence then says nothing about us, and losing it moves nothing.
        """
        return node in self._ledger.draining and not self._ledger.on_node.get(node)

    def lose(self, entry: Entry, why: str) -> None:
        """Declare a node lost; what it ran is placed elsewhere."""
        mark("node-lost")
        entry.trusted = False  # what it still runs must be heard before it is given more
        self._become(entry, NodeState.LOST, why)
        for task in self._ledger.on(entry.name):
            lose_task(self._ledger, task, entry.name)

    def _become(self, entry: Entry, state: NodeState, why: str) -> None:
        entry.state, entry.since = state, self._ledger.now
        text = f"{entry.name} is {state}: {why}"
        self._ledger.event(f"node.{state}", text, node=entry.name)
        self.open_or_close(entry)

    def is_silent(self, entry: Entry) -> bool:
        """Has it missed reports, or not sent one since the manager started?"""
        patience = SUSPECT_INTERVALS * self.grants.interval
        return entry.info is None or self._ledger.now - entry.heard > patience

    def open_or_close(self, entry: Entry) -> None:
        """Let the fleet know whether the node takes new tasks."""
        row = self._ledger.fleet.row_of(entry.name)
        if row is None:
            return
        works = entry.state is NodeState.ALIVE and entry.trusted and not entry.engine_error
        works = works and not entry.disk_full
        is_open = works and entry.name not in self._ledger.draining
        if is_open and not self._ledger.fleet.open[row]:
            self._ledger.opened = True
            self._ledger.gained[row] = None
        self._ledger.fleet.set_open(row, is_open)

    # --- reports ---

    def report(self, report: Report) -> bool:
        """Take a report. Says whether a node joined or changed what it offers."""
        if report.cluster != self._ledger.cluster:
            return False
        entry = self.entries.get(report.node)
        if entry is None:
            now = self._ledger.now
            entry = self.entries[report.node] = Entry(report.node, NodeState.SUSPECT, now, now)
        if report.life < entry.life:
            mark("report-of-earlier-life")
            return False  # from a worker that is no more
        self._sequence(entry, report)
        self._see_epoch(report)
        changed = report.info is not None and self._inform(entry, report.info)
        entry.heard = self._ledger.now
        echo = report.echoes
        newest = (self._ledger.epoch, entry.number)
        entry.confirmed = not entry.number or (echo is not None and echo[1:] == newest)
        if echo is not None and echo.epoch == self._ledger.epoch:
            entry.patience = 0.0
        if report.engine_error != entry.engine_error:
            entry.engine_error = report.engine_error
            self.open_or_close(entry)
        if report.whole and report.machine is not None:
            self._measured(entry, report)
        if entry.info is not None and entry.state is not NodeState.ALIVE:
            fresh = self._ledger.now - entry.numbered_at <= self.grants.interval
            if entry.confirmed or fresh or entry.state is NodeState.LOST:
                if entry.state is NodeState.LOST:
                    mark("node-returned")
                self._become(entry, NodeState.ALIVE, "it reports")
        row = self._ledger.fleet.row_of(entry.name)
        if row is not None:
            self._ledger.fleet.set_load(row, report.cpu_load_milli)
        self._merge(entry, report)
        all_told = report.whole and not report.engine_error
        if all_told:
            self._whole(entry, report)
        self.strangers.remember(entry, all_told=all_told)
        if report.whole or entry.whole_due:
            self._answers[entry.name] = None
        else:
            self._owe(entry)
        return changed

    def _measured(self, entry: Entry, report: Report) -> None:
        """Keep what was measured, for those who look; a full disk closes the node."""
        was_full = entry.disk_full
        entry.machine, entry.usage = report.machine, report.usage
        if entry.disk_full is not was_full:
            mark("disk-full" if entry.disk_full else "disk-freed")
            self._ledger.event("node.disk", f"{entry.name}: {_of_disk(entry)}", node=entry.name)
            self.open_or_close(entry)

    def _merge(self, entry: Entry, report: Report) -> None:
        """Take in what the report says; what was taken in before, of a task as it is, is old."""
        ledger, unknown = self._ledger, entry.unknown
        seen: dict[str, tuple[Fact, Task | None]] = {}
        for fact in report.facts:
            uid = fact.uid
            told = entry.seen.get(uid)
            task = None if told is None else told[1]
            if (
                told is None
                or task is None
                or ledger.tasks.get(task.id) is not task
                or (told[0] is not fact and told[0] != fact)
            ):
                if not merge(ledger, fact, report):
                    self.strangers.seen(entry, fact)
                elif unknown and (uid, fact.attempt) in unknown:
                    self.strangers.settled(entry, (uid, fact.attempt))
                told = (fact, ledger.task_of(uid))
            seen[uid] = told
        if report.whole:
            entry.seen = seen
        else:
            entry.seen.update(seen)

    def _sequence(self, entry: Entry, report: Report) -> None:
        """Notice new lives and gaps; after either the whole truth is due."""
        if report.life > entry.life:
            entry.life, entry.seq = report.life, report.seq
            entry.whole_due = not report.whole
            self._ledger.touched[entry.name] = None  # tell it restarts and failures afresh
            return
        if report.whole:
            entry.whole_due = False
        elif report.seq > entry.seq + 1:
            mark("report-gap")
            entry.whole_due = True
        entry.seq = max(entry.seq, report.seq)

    def _see_epoch(self, report: Report) -> None:
        """A worker that obeys a newer manager than us: our store is old. Speak louder."""
        if report.echoes is not None and report.echoes[1:] > (self._ledger.epoch, self._number):
            mark("epoch-overtaken")
            self._ledger.epoch = report.echoes.epoch + 1
            self._ledger.set_meta("epoch", self._ledger.epoch)
            text = f"{report.node} obeys a newer manager: this store is older than the cluster"
            self._ledger.event("manager.recovery", text, node=report.node)
            self._ledger.touched.update(dict.fromkeys(self.entries))

    def _inform(self, entry: Entry, info: NodeInfo) -> bool:
        """Take what a node says of itself into the fleet. Says whether anything is new."""
        if entry.info == info:
            return False
        first, entry.info = entry.info is None, info
        if self._ledger.vacant.pop(info.name, None) is not None:
            mark("removed-node-joined")
        if self._ledger.fleet.row_of(info.name) is None:
            self._enter_row(entry, info)
        else:
            self.relabel(entry)
        if first:
            text = (
                f"{info.name} joined with {info.cpu_milli / 1000:g} CPUs and {info.memory_mib} MiB"
            )
            self._ledger.event("node.joined", text, node=info.name)
        return True

    def _enter_row(self, entry: Entry, info: NodeInfo) -> None:
        """Give a node a row, that of a removed one if there is any."""
        fleet, vacant = self._ledger.fleet, self._ledger.vacant
        row = vacant.popitem()[1] if vacant else len(fleet)
        fleet.set_row(NodeRow(row, self._labelled(info), False))
        self._ledger.enter_row(info.name)
        self.strangers.row_entered(entry)
        entry.seen = {}  # what was told before there was a row may mean more now

    def relabel(self, entry: Entry) -> None:
        """Let the fleet know what a node is by what it told last and what operators added."""
        fleet = self._ledger.fleet
        row = fleet.row_of(entry.name)
        if row is not None and entry.info is not None:
            fleet.set_row(replace(fleet.node_row(row), info=self._labelled(entry.info)))
            self._ledger.gained[row] = None

    def _labelled(self, info: NodeInfo) -> NodeInfo:
        """What a node told of itself; of two labels of one name the operator's holds."""
        added = self._ledger.mark_of(info.name).labels
        return replace(info, labels=tuple({**dict(info.labels), **dict(added)}.items()))

    def forget(self, entry: Entry) -> None:
        """The node is no longer part of the cluster; if it reports again, it joins anew."""
        self.strangers.keep_only(entry, set())
        row = self._ledger.fleet.row_of(entry.name)
        if row is not None:
            self._ledger.vacant[entry.name] = row
        del self.entries[entry.name]
        self._owed.pop(entry.name, None)

    def _whole(self, entry: Entry, report: Report) -> None:
        """Draw conclusions from what a whole report lacks."""
        listed = {fact.uid for fact in report.facts}
        if entry.unknown:
            self.strangers.keep_only(entry, {(fact.uid, fact.attempt) for fact in report.facts})
        echo = report.echoes
        here = self._ledger.on_node.get(entry.name, {})
        absent = [(task_id, uid) for task_id, uid in here.items() if uid not in listed]
        for task_id, uid in absent:
            number = entry.assigned.get(uid)
            if number is None or echo is None:
                continue
            if echo.epoch == self._ledger.epoch and echo.number >= number:
                mark("whole-lacks-task")
                missing(self._ledger, self._ledger.tasks[task_id])
            else:
                mark("absence-means-nothing")
        if not entry.trusted:
            entry.trusted = True
            self.open_or_close(entry)
            self._ledger.touched[entry.name] = None

    # --- assignments ---

    def assign(self) -> None:
        """Tell nodes of which something new is wanted, and those that are due for an answer."""
        granted = self.grants
        for name in self._ledger.touched:
            if (entry := self.entries.get(name)) is not None:
                entry.outdated = True
                self._answers[name] = None
        for name in self._ledger.eased:
            if (entry := self.entries.get(name)) is not None:
                entry.outdated = True  # it is told with the answer to its report
        self._ledger.touched.clear()
        self._ledger.eased.clear()
        for name in self._answers:
            self._owed.pop(name, None)
            entry = self.entries[name]
            if entry.outdated:
                self._renew(entry)
            self._assign(entry, granted)
        self._answers.clear()

    def _owe(self, entry: Entry) -> None:
        """Tell it within the time that its worker waits for an answer, with all that comes up."""
        wait = self.grants.answer_within
        if wait <= 0:
            self._answers[entry.name] = None
        else:
            self._owed.setdefault(entry.name, self._ledger.now + wait)

    def _renew(self, entry: Entry) -> None:
        """Give the node's wanted set a new number."""
        self._number += 1
        entry.outdated = False
        entry.number, entry.numbered_at = self._number, self._ledger.now
        entry.confirmed = False
        tasks, before = self._ledger.on(entry.name), entry.assigned
        entry.tasks = tuple(
            _wanted(t, image_of(self._ledger, t)) for t in [*tasks, *self._ledger.ended(entry.name)]
        )
        uids = self._ledger.on_node.get(entry.name, {}).values()
        entry.assigned = {uid: before.get(uid, self._number) for uid in uids}

    def _assign(self, entry: Entry, granted: Grants) -> None:
        if not entry.trusted:
            return  # it would drop what we have not heard of; its whole truth comes by itself
        if granted.grace > self._ledger.patience:
            self._ledger.grant_patience(granted.grace)
        assign = Assign(
            Generation(self._ledger.cluster, self._ledger.epoch, entry.number),
            entry.name,
            self._ledger.now,
            (entry.life, entry.seq),
            *granted,
            entry.tasks,
            tuple(stranger for stranger in entry.unknown if stranger not in entry.discard),
            entry.whole_due,
        )
        self._ledger.send(worker_name(entry.name), assign)

    def view(self, entry: Entry, drain: str) -> Node:
        """The node as users see it; `drain` says how far it has been emptied, if it is to be."""
        row = self._ledger.fleet.row_of(entry.name)
        info = None if row is None else self._ledger.fleet.info(row)
        disk = _of_disk(entry) if entry.disk_full else ""
        return Node(
            entry.name,
            entry.state,
            entry.since,
            entry.heard,
            -1 if row is None else row,
            "" if info is None else info.engine,
            "" if info is None else info.datacenter,
            () if info is None else info.labels,
            "; ".join(filter(None, (entry.engine_error, drain, disk))),
            entry.name in self._ledger.draining,
            self._ledger.mark_of(entry.name).deadline,
            entry.machine,
            entry.usage,
            entry.engine_error,
        )


def _of_disk(entry: Entry) -> str:
    """How full the disk is, and what follows."""
    assert entry.machine is not None
    share = entry.machine.disk_mib / max(1, entry.machine.disk_of_mib)
    takes = "takes no new tasks" if entry.disk_full else "takes new tasks again"
    return f"its disk is {share:.0%} full: it {takes}"


def _wanted(task: Task, image: str) -> Wanted:
    return Wanted(
        task.uid,
        task.attempt,
        task.version,
        task.spec,
        task.state in (State.SCHEDULED, State.RUNNING),
        0 if task.phase < 0 else task.restart + 1,
        task.failures,
        task.gpus,
        # An end that its worker had not judged yet is in no failures.
        task.restart if task.phase == Phase.ENDED and task.retry_at else task.restart - 1,
        image,
    )
