"""The Worker core: what a node should run -> what its engine is told -> what it does run.

Owns the runs on its node: starts, restarts within their budget, stops, and tells the manager. It
never invents work (only an Assign brings it) and never stops anything merely because nobody speaks
to it, except tasks whose `on_disconnect` is `stop` when their lease ends. `runs` decides about one
run, `telling` and `reports` what the manager is told and when, `lease` how long tasks may outlive
its last answer; this file about the node.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

from cube.marks import mark
from cube.messages import (
    FENCE_SECONDS,
    MANAGER,
    Assign,
    Discard,
    Effect,
    EngineDown,
    Exited,
    Generation,
    Health,
    Kill,
    List,
    Listed,
    MachineMeasured,
    Measured,
    NodeInfo,
    Phase,
    Progress,
    Report,
    RestartDue,
    RunKey,
    Send,
    Started,
    Tick,
    Wake,
    Wanted,
    engine_name,
    worker_name,
)
from cube.worker.lease import Lease
from cube.worker.reports import FOREVER, Key, Reports
from cube.worker.runs import Held, adopt, after_exit
from cube.worker.telling import Telling

LIST_SECONDS = 5.0  # between questions to an engine that does not answer
DROPPED = 100  # attempts that were given up, whose failures are remembered
EARLY_SECONDS = 0.0005  # by so much may a timer round its time


class Worker:
    """Runs one node's tasks."""

    def __init__(self, node: str, cluster: str) -> None:
        self.node = node
        self.cluster = cluster
        self._name = worker_name(node)
        self._engine = engine_name(node)
        self._held: dict[Key, Held] = {}
        self._wanted: dict[Key, Wanted] = {}
        # Failures of attempts that were given up: a word under way may want one of them again.
        self._dropped: dict[Key, tuple[float, ...]] = {}
        self._keep: frozenset[Key] = frozenset()
        self._generation: Generation | None = None
        self._clocks = (0.0, 0.0)  # the manager's and ours, when it spoke
        self._info: NodeInfo | None = None  # None until the engine has listed what is there
        self._reports = Reports(node, cluster)
        self._telling = Telling(self._reports, self._held)
        self._lease = Lease()
        self._declined: set[Key] = set()  # wanted when the lease was over: never started here
        self._list_at = FOREVER
        self._ticks: list[float] = []  # when those under way arrive, as a heap
        self._effects: list[Effect] = []

    def receive(self, message: Any, now: float) -> list[Effect]:
        """One line per message."""
        match message:
            case Wake():
                self._wake(message, now)
            case Assign():
                self._assign(message, now)
            case Started():
                self._started(message, now)
            case Exited():
                self._exited(message, now)
            case RestartDue():
                self._restart(message.key, now)
            case Tick():
                self._tick(now)
            case Measured():
                self._reports.measured(message)
            case MachineMeasured():
                self._reports.machine = message.use
            case Health():
                self._health(message)
            case Progress():
                self._progress(message)
            case Listed():
                self._listed(message, now)
            case EngineDown():
                self._engine_down(message, now)
            case _:
                pass
        self._report(self._telling.changes(now, self._generation))
        self._arm(now)
        effects, self._effects = self._effects, []
        return effects

    def birth(self) -> dict[str, Any]:
        """What it was made from: a recording begins with it."""
        return {"node": self.node, "cluster": self.cluster}

    # --- for those who check what it knows ---

    def obeys(self) -> tuple[Generation | None, int]:
        """The newest word that it has accepted, and its life."""
        return self._generation, self._reports.life

    def unanswered(self) -> int:
        """How many reports it remembers that nobody has answered."""
        return self._reports.unanswered

    # --- life ---

    def _wake(self, wake: Wake, now: float) -> None:
        self._reports.life = wake.life
        self._list(now)

    def _list(self, now: float) -> None:
        """Ask the engine what is there, again and again until it says so."""
        self._send(self._engine, List())
        self._list_at = now + LIST_SECONDS

    def _tick(self, now: float) -> None:
        while self._ticks and self._ticks[0] <= now + EARLY_SECONDS:
            heapq.heappop(self._ticks)
        if self._list_at <= now:
            self._list(now)
        if self._lease.until <= now:
            for held in self._lease.end(self._held.values()):
                mark("lease-ended")
                self._kill(held)
        if self._reports.whole_due(now):
            self._report_whole(now)
        elif again := self._reports.resend(now):
            mark("changes-resent")
            self._report(self._telling.again(again, now, self._generation))

    def _arm(self, now: float) -> None:
        """Have one Tick under way for the earliest thing that is due."""
        due = min(self._reports.due, self._lease.until, self._list_at)
        if due < (self._ticks[0] if self._ticks else FOREVER):
            heapq.heappush(self._ticks, due)
            self._send(self._name, Tick(), max(due - now, 0.001))

    # --- what should run ---

    def _assign(self, assign: Assign, now: float) -> None:
        mine = self._generation
        if assign.generation.cluster != self.cluster or assign.node != self.node:
            return
        if mine is not None and assign.generation < mine:
            older = assign.generation.epoch < mine.epoch
            mark("assign-of-older-manager" if older else "assign-out-of-order")
            return  # an older manager, or an older word of this one
        if assign.answers[0] != self._reports.life:
            mark("assign-to-earlier-life")
            return  # it speaks to an earlier life, and knows less of us than it thinks
        answered = self._answered(assign)
        if assign.generation != mine:
            self._generation = assign.generation
            self._wanted = {(w.uid, w.attempt): w for w in assign.tasks}
            self._keep = frozenset(assign.keep)
            self._clocks = (assign.now, now)
            self._learn()
            self._reconcile(now)
        if answered:
            self._unfence(now)
        if assign.tell_whole:
            mark("whole-told-on-demand")
            self._report_whole(now)

    def _learn(self) -> None:
        """Let what is held know what is wanted of it."""
        for key, held in self._held.items():
            strange = key in self._keep
            if held.strange is not strange:
                held.strange = strange
                self._telling.stale(key)
        for key, wanted in self._wanted.items():
            if key in self._held and self._held[key].learn(wanted, *self._clocks):
                self._telling.stale(key)

    def _answered(self, assign: Assign) -> bool:
        """Take what an Assign grants and acknowledges. Says whether that is news."""
        self._lease.seconds = assign.lease
        sent = self._reports.answered(assign)
        if sent is not None:
            self._lease.renew(sent)
        return sent is not None

    def _unfence(self, now: float) -> None:
        """The manager speaks again: what it still wants may run again."""
        if self._lease.is_over(now):
            return  # its word was so long on the way that nothing may rest on it
        fenced = [h for h in self._held.values() if h.fenced and h.phase is Phase.ENDED]
        for held in fenced:
            held.fenced = False
            self._schedule_restart(held, now)  # if it was waiting for one
        if fenced:
            mark("lease-regained")
            self._reconcile(now)

    def _reconcile(self, now: float) -> None:
        """Bring what is held towards what is wanted, once both are known."""
        if self._info is None or self._reports.engine_error or self._generation is None:
            return
        for key, held in list(self._held.items()):
            wanted = self._wanted.get(key)
            if wanted is None and key not in self._keep:
                self._let_go(key, held)
            elif wanted is not None and not wanted.run and held.phase is not Phase.ENDED:
                self._kill(held)
            elif wanted is not None and not wanted.run and not held.final:
                held.end_as_stopped()  # it was waiting for a restart
                self._telling.changed(key)
            elif wanted is not None and wanted.run and held.lies_idle:
                self._take_up(key, held, now)
            elif wanted is not None and wanted.run and held.is_found_sick:
                self._give_up_on(held)
        self._declined &= self._wanted.keys()
        new = [(key, wanted) for key, wanted in self._wanted.items() if key not in self._held]
        if new:
            # One attempt at a time: the end of another, were it a stranger's, brings us here again.
            busy = {held.uid for held in self._held.values() if held.phase is not Phase.ENDED}
            for key, wanted in new:
                if not self._declines(key, wanted, now) and wanted.uid not in busy:
                    self._take_on(key, wanted)
        self._lease.watch(self._held.values())

    def _declines(self, key: Key, wanted: Wanted, now: float) -> bool:
        """Is it too late to start it? Then for good: whole reports lack it from here on.

        The manager takes that for its end, and may have placed it elsewhere when the lease is
        renewed.
        """
        if wanted.run and wanted.spec.on_disconnect == "stop" and self._lease.is_over(now):
            mark("start-declined")
            self._declined.add(key)
        return key in self._declined

    def _take_on(self, key: Key, wanted: Wanted) -> None:
        """Start a task that we do not hold."""
        held = self._held[key] = Held(wanted.uid, wanted.attempt, wanted.restart)
        if key in self._dropped:
            mark("dropped-attempt-wanted")
            held.failures = self._dropped.pop(key)
        held.learn(wanted, *self._clocks)
        if wanted.run:
            self._run(held)
        else:
            held.end_as_stopped()
            self._telling.changed(key)

    def _take_up(self, key: Key, held: Held, now: float) -> None:
        """Decide about a run that had ended before we knew what it was, or under a lost lease."""
        after_exit(held, now)
        self._telling.changed(key)
        self._schedule_restart(held, now)

    def _let_go(self, key: Key, held: Held) -> None:
        """Nobody wants it: stop it, and once it has ended remove what is left."""
        if held.phase is not Phase.ENDED:
            self._kill(held)
            return
        for restart in sorted(held.leftovers | {held.restart}):
            self._send(self._engine, Discard(RunKey(held.uid, held.attempt, restart)))
        del self._held[key]
        self._telling.forget(key)
        if held.failures:
            self._dropped[key] = held.failures
            if len(self._dropped) > DROPPED:
                del self._dropped[next(iter(self._dropped))]

    # --- one run ---

    def _run(self, held: Held) -> None:
        held.begin()
        self._telling.stale((held.uid, held.attempt))
        self._lease.watch_also(held)
        self._send(self._engine, held.run())

    def _kill(self, held: Held) -> None:
        grace = min(held.grace_seconds, FENCE_SECONDS) if held.fenced else held.grace_seconds
        if held.killing is None or grace < held.killing:
            held.killing = grace
            self._send(self._engine, Kill(held.key, grace))

    def _find(self, key: RunKey) -> Held | None:
        held = self._held.get((key.uid, key.attempt))
        return held if held is not None and held.restart == key.restart else None

    def _started(self, started: Started, now: float) -> None:
        held = self._find(started.key)
        if held is None and self._info is not None:
            mark("stray-started")
            self._list(now)  # it was being started when an earlier life of ours died
        if held is None or held.phase is not Phase.STARTING:
            return
        held.phase = Phase.RUNNING
        held.reason = ""
        held.handle, held.ports, held.image = started.handle, started.ports, started.image
        self._telling.changed((held.uid, held.attempt))

    def _exited(self, exited: Exited, now: float) -> None:
        held = self._find(exited.key)
        if held is None or held.phase is Phase.ENDED:
            return
        key = (held.uid, held.attempt)
        held.end(exited)
        wanted = self._wanted.get(key)
        if wanted is None:
            pass  # nobody asked for it, or nobody has said yet
        elif not wanted.run:
            held.end_as_stopped()
        elif not held.fenced:
            after_exit(held, now)
            self._schedule_restart(held, now)
        if self._generation is not None:
            self._telling.changed(key)
        self._telling.stale(key)
        self._reconcile(now)

    def _schedule_restart(self, held: Held, now: float) -> None:
        if held.retry_at is not None:
            self._send(self._name, RestartDue(held.key), max(held.retry_at - now, 0.0))

    def _restart(self, key: RunKey, now: float) -> None:
        held = self._find(key)
        if held is None or held.retry_at is None or self._reports.engine_error:
            return  # after the engine's return, Listed takes it up
        wanted = self._wanted.get((held.uid, held.attempt))
        if wanted is None or not wanted.run:
            return
        if held.on_disconnect == "stop" and self._lease.is_over(now):
            held.fenced = True  # somebody else may have its place by now
            mark("restart-fenced")
            return
        for old in sorted(held.leftovers):  # the run that just ended stays for its logs
            self._send(self._engine, Discard(RunKey(held.uid, held.attempt, old)))
        held.leftovers = {held.restart}
        held.restart += 1
        self._run(held)

    def _health(self, health: Health) -> None:
        held = self._find(health.key)
        if held is None or held.phase is not Phase.RUNNING or held.healthy == health.healthy:
            return
        held.healthy = health.healthy
        self._telling.changed((held.uid, held.attempt))
        if not health.healthy and held.killing is None:
            self._give_up_on(held, health.reason)

    def _give_up_on(self, held: Held, complaint: str = "") -> None:
        """Its health check failed: end it, and let its restart policy decide."""
        held.sick, held.complaint = True, complaint
        self._kill(held)

    def _progress(self, progress: Progress) -> None:
        held = self._find(progress.key)
        if held is not None and held.phase is Phase.STARTING and held.reason != progress.text:
            held.reason = progress.text
            self._telling.changed((held.uid, held.attempt))

    # --- the engine's whole truth ---

    def _listed(self, listed: Listed, now: float) -> None:
        first = self._info is None
        back = bool(self._reports.engine_error)
        self._info, self._reports.engine_error, self._list_at = listed.info, "", FOREVER
        if first:
            self._lease.begin(now)
        found = {f.key: f for f in listed.found}
        for held in list(self._held.values()):
            if held.phase is not Phase.ENDED and held.key not in found:
                self._missing(held, now)
        for item in listed.found:
            if adopt(self._held, item):
                self._telling.changed((item.key.uid, item.key.attempt))
        for item in listed.found:
            if item.running and self._find(item.key) is None:  # a newer run took its place
                self._send(self._engine, Kill(item.key, item.stop_grace_seconds))
        self._learn()
        for exited in self._ends_not_heard_of(listed):
            mark("exit-learnt-from-listing")
            self._exited(exited, now)
        for held in self._held.values():
            held.killing = None  # a Kill may have been lost with the engine; it is repeated
            if (held.sick or held.fenced) and held.phase is not Phase.ENDED:
                self._kill(held)
            if back and held.retry_at is not None:
                self._schedule_restart(held, now)
        self._reconcile(now)
        self._lease.watch(self._held.values())
        if first or back:
            self._report_whole(now)

    def _missing(self, held: Held, now: float) -> None:
        """The engine does not know a run that we hold."""
        if held.phase is Phase.STARTING and held.killing is None and held.wanted is not None:
            mark("run-repeated")
            self._send(self._engine, held.run())
        elif held.phase is Phase.RUNNING or held.killing is not None:
            mark("container-disappeared")
            self._exited(Exited(held.key, None, "its container disappeared"), now)

    def _ends_not_heard_of(self, listed: Listed) -> Iterable[Exited]:
        for item in listed.found:
            held = self._find(item.key)
            if held is not None and not item.running and held.phase is not Phase.ENDED:
                yield Exited(item.key, item.exit_code, item.reason, interrupted=item.interrupted)

    def _engine_down(self, down: EngineDown, now: float) -> None:
        if self._reports.engine_error != down.reason:
            mark("engine-down")
            self._reports.engine_error = down.reason
            self._report_whole(now)

    def _report_whole(self, now: float) -> None:
        self._report(self._telling.whole(now, self._generation, self._info))

    def _report(self, report: Report | None) -> None:
        if report is not None:
            self._send(MANAGER, report)

    def _send(self, to: str, message: Any, after: float = 0.0) -> None:
        self._effects.append(Send(to, message, after))
