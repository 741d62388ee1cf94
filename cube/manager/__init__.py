"""The Manager core: the one writer of jobs, tasks and nodes.

This file is its table of contents: one line per message. Every message ends in the same few steps,
which bring the cluster towards what is wanted: queue what became pending, ask for placements, tell
the nodes.

`ledger` holds what is known, `jobs` what users ask for, `revising` changes that need no
file, `rollout` new versions, `drain` nodes that are to be emptied, `wave` what moves together,
`operators` what else is said of nodes, `rounds` placement (`dependencies` and `together` say what
it has to wait for and where whole jobs go), `nodes` reports and assignments, `facts` what reports
say of tasks, `images` which bytes they run, `strangers` what the store never knew, `recovery` what
becomes of it, `doors` who is let in, `retention` what is forgotten after its time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from cube.manager.doors import Doors
from cube.manager.drain import Draining
from cube.manager.jobs import Jobs, record_answer
from cube.manager.ledger import Ledger
from cube.manager.nodes import Nodes
from cube.manager.operators import Operators
from cube.manager.recovery import Recovery
from cube.manager.retention import Retention
from cube.manager.revising import Revising
from cube.manager.rounds import Rounds
from cube.marks import mark
from cube.messages import (
    MANAGER,
    BeginRound,
    CreateToken,
    DeclareLost,
    Drain,
    Effect,
    Enrol,
    LabelNode,
    Look,
    LookAccess,
    NeedFleet,
    Placed,
    Recover,
    Remove,
    RemoveNode,
    RemoveToken,
    Reply,
    Report,
    Restart,
    Rollback,
    Scale,
    SetAside,
    Snapshot,
    Stop,
    StoreDown,
    StoreUp,
    Submit,
    Tick,
    Wake,
)
from cube.task import Saved

TICK_SECONDS = 1.0
OfJobs: TypeAlias = Submit | Scale | Restart | Rollback | Stop | Remove
OfNodes: TypeAlias = Recover | Drain | DeclareLost | LabelNode | RemoveNode
OfAccess: TypeAlias = CreateToken | RemoveToken | Enrol
Request: TypeAlias = OfJobs | OfNodes | OfAccess


@dataclass(frozen=True, slots=True)
class ManagerOptions:
    """What an operator chooses."""

    policy: str = "epvm"  # for display; the scheduler decides
    reports_per_second: float = 50.0  # of all nodes together
    kept_per_node: int = 50  # ended tasks whose output stays until their job is stopped; 0: none
    queue: Literal["bypass", "fifo"] = "bypass"  # may others pass a task that does not fit?


class Manager:
    """Keeps the books of the cluster and makes them true."""

    def __init__(self, cluster: str, saved: Saved, options: ManagerOptions | None = None) -> None:
        self._options = options or ManagerOptions()
        self._birth = {"cluster": cluster, "saved": saved, "options": asdict(self._options)}
        self._ledger = Ledger(cluster, saved, self._options.kept_per_node)
        self._nodes = Nodes(self._ledger, self._options.reports_per_second)
        self._rounds = Rounds(self._ledger, self._nodes, self._options.queue == "fifo")
        self._jobs = Jobs(self._ledger)
        self._revising = Revising(self._ledger, self._jobs)
        self._recovery = Recovery(self._ledger, self._nodes, self._jobs)
        self._draining = Draining(self._ledger, self._nodes, self._jobs)
        self._operators = Operators(self._ledger, self._nodes, self._jobs)
        self._doors = Doors(self._ledger)
        self._retention = Retention(self._ledger)
        self._store_down = ""
        self._trouble = ""  # the latest message that was set aside

    def receive(self, message: Any, now: float) -> list[Effect]:
        """One line per message."""
        self._ledger.now = now
        match message:
            case Tick():
                self._tick()
            case Report():
                if self._nodes.report(message):
                    self._jobs.node_changed(message.node)
            case Wake():
                self._wake()
            case Placed():
                self._rounds.placed(message)
            case NeedFleet():
                self._rounds.need_fleet(message)
            case BeginRound():
                self._rounds.begin(may_ask=not self._store_down)
            case Submit() | Scale() | Restart() | Rollback() | Stop() | Remove():
                self._request(message)
            case Recover() | Drain() | DeclareLost() | LabelNode() | RemoveNode():
                self._request(message)
            case CreateToken() | RemoveToken() | Enrol():
                self._request(message)
            case LookAccess():
                self._ledger.send(message.reply_to, self._doors.look(message))
            case Look():
                self._ledger.send(
                    message.reply_to, Reply(message.request, "ok", "", self.snapshot())
                )
            case SetAside():
                self._set_aside(message)
            case StoreDown():
                self._store_down = message.reason
            case StoreUp():
                self._store_down = ""
            case _:
                pass
        self._settle()
        return self._ledger.effects()

    def birth(self) -> dict[str, Any]:
        """What it was made from: a recording begins with it."""
        return self._birth

    def _wake(self) -> None:
        """A new life: raise the epoch before the first word is sent."""
        ledger = self._ledger
        ledger.epoch += 1
        ledger.set_meta("epoch", ledger.epoch)
        ledger.set_meta("cluster", ledger.cluster)
        ledger.begin_span()
        ledger.touched.clear()  # nobody is told anything before it has told us the whole truth
        self._nodes.start()
        ledger.send(MANAGER, Tick(), TICK_SECONDS)

    def _tick(self) -> None:
        self._nodes.tick()
        self._rounds.tick()
        self._draining.step()
        self._retention.step()
        self._ledger.send(MANAGER, Tick(), TICK_SECONDS)

    def _set_aside(self, message: SetAside) -> None:
        """A bug in a core, or a message that nobody can handle: operators should know."""
        text = f"{message.actor} could not handle a {message.message}: {message.error}"
        self._ledger.event("actor.failed", text)
        self._trouble = text

    def _request(self, message: Request) -> None:
        """Do what a user asks, once, and answer."""
        known = self._ledger.answers.get(message.request)
        if self._store_down:
            mark("request-refused-store-down")
            # What was answered before may not be durable either.
            text = f"the store does not work, so nothing new is accepted: {self._store_down}"
            reply = Reply(message.request, "unavailable", text)
        elif known is not None:
            mark("request-repeated")
            reply = Reply(known.request, known.status, known.text, known.body)
        else:
            reply = self._do(message)
            record_answer(self._ledger, reply)
        if message.reply_to:
            self._ledger.send(message.reply_to, reply)

    def _do(self, message: Request) -> Reply:
        match message:
            case Submit():
                return self._jobs.submit(message)
            case Stop():
                return self._jobs.stop(message)
            case Remove():
                return self._jobs.remove(message)
            case Scale():
                return self._revising.scale(message)
            case Restart():
                return self._revising.restart(message)
            case Rollback():
                return self._revising.rollback(message)
            case Recover():
                return self._recovery.recover(message)
            case Drain():
                return self._draining.drain(message)
            case DeclareLost():
                return self._operators.declare_lost(message)
            case LabelNode():
                return self._operators.label(message)
            case RemoveNode():
                return self._operators.remove(message)
            case CreateToken():
                return self._doors.create(message)
            case RemoveToken():
                return self._doors.remove(message)
            case Enrol():
                return self._doors.enrol(message)

    def _settle(self) -> None:
        """Let follow what must follow, whatever the message was."""
        self._jobs.step()
        self._draining.gather()
        self._rounds.take_in()
        self._ledger.moved.clear()
        if not self._store_down:
            self._rounds.ask()
        self._nodes.assign()

    def snapshot(self) -> Snapshot:
        """All that is known, at this revision."""
        ledger, nodes = self._ledger, self._nodes
        unknown = tuple(
            (e.name, fact) for e in nodes.entries.values() for fact in e.unknown.values()
        )
        return Snapshot(
            ledger.cluster,
            ledger.epoch,
            ledger.revision,
            ledger.now,
            self._options.policy,
            tuple(ledger.jobs.values()),
            tuple(ledger.tasks.values()),
            tuple(nodes.view(e, self._draining.note(e.name)) for e in nodes.entries.values()),
            ledger.fleet.changed_since(0),
            tuple((v.name, v.node) for v in ledger.volumes.values()),
            unknown,
            self._note(len(unknown)),
            self._options.reports_per_second,
            self._options.queue,
        )

    def queued(self) -> int:
        """How many entries its queue has; for those who check."""
        return len(self._rounds.queue)

    def _note(self, unknown: int) -> str:
        """Why the manager is not itself, if it is not."""
        if self._store_down:
            return f"the store does not work: {self._store_down}"
        if unknown:
            return f"recovery: {unknown} containers are unknown to the store; see `cube recover`"
        if self._nodes.cut_off:
            return "most nodes are silent: the manager may be cut off, and moves nothing"
        return self._trouble
