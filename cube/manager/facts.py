"""What a worker saw of a task, merged into the books.

Observations are ordered by (attempt, restart, phase); older ones change nothing. What is merged
here is true whenever it arrives; what a report lacks is judged by `missing`, and only when the
report can know.
"""

from __future__ import annotations

from typing import Any

from cube.manager.images import learn_image
from cube.manager.ledger import Ledger
from cube.marks import mark
from cube.messages import Fact, Phase, Report
from cube.task import State, Task, TaskEvent, TaskName

SAME_FAILURE_SECONDS = 0.5  # two tellings of one failure differ by less
MOST_DOUBLINGS = 32  # of a back-off: beyond any maximum


def merge(ledger: Ledger, fact: Fact, report: Report) -> bool:
    """Take in one fact. False: no store of ours can have known this container."""
    name = TaskName.parse(fact.uid)
    task = ledger.task_of(fact.uid)
    if task is None or task.incarnation != name.incarnation:
        return _once_known(ledger, fact, name, report.node)
    if _is_strange(ledger, task, fact, report.node):
        return False
    if fact.attempt < task.attempt or task.state.final:
        if fact.phase is not Phase.ENDED and not task.state.final:
            mark("older-attempt-returned")
        return True  # an old copy; the next Assign omits it
    if task.state is State.PENDING:
        _returned(ledger, task, fact, report)
        return True
    if _order(fact) < (task.restart, task.phase):
        if not (fact.final and fact.stopped):
            return True
        # The node restarted before a later run began, and knows that one only: it has stopped.
        mark("stopped-before-restart")
    if fact.phase is Phase.ENDED:
        _ended(ledger, task, fact, report)
    else:
        _lives(ledger, task, fact, report)
    return True


def missing(ledger: Ledger, task: Task) -> None:
    """A whole report that had to list the task does not."""
    if task.state is State.STOPPING:
        gone(ledger, task)
        return
    text = f"{task.node} does not have it"
    ledger.task_event("task.disappeared", f"{task.id}: {text}", task)
    ledger.move(task, TaskEvent.RESCHEDULED, reason=text)


def lose_task(ledger: Ledger, task: Task, node: str) -> None:
    """Its node is lost."""
    text = f"{node} is lost"
    ledger.task_event("task.lost", f"{task.id}: {text}", task)
    ledger.move(
        task, TaskEvent.LOST, reason=text, lost_on="" if task.state is State.STOPPING else node
    )


def gone(ledger: Ledger, task: Task, exit_code: int | None = None) -> None:
    """A stop is done; what follows was decided when it began."""
    fields: dict[str, Any] = {"reason": "", "exit_code": exit_code}
    if task.then == "pending":
        # The next run is a fresh start: what the replaced one did is not held against it.
        fields |= {"failures": (), "reschedules": 0}
    else:
        fields["reason"] = task.reason
    moved = ledger.move(task, TaskEvent.GONE, **fields)
    ledger.task_event("task.stopped", f"{task.id} stopped on {task.node}", moved)


def _is_strange(ledger: Ledger, task: Task, fact: Fact, node: str) -> bool:
    """Was it placed by a manager whose store is gone, and waits for an operator to decide?

    It does so whatever becomes of its namesake, unless that is placed on this very node.
    """
    if (fact.uid, fact.attempt) in ledger.strangers.get(node, ()):
        return task.node != node or task.attempt <= fact.attempt
    if fact.attempt == task.attempt:  # that attempt of ours is elsewhere, or ended there
        return (task.node or task.placed_on or node) != node
    return fact.attempt > task.attempt


def _once_known(ledger: Ledger, fact: Fact, name: TaskName, node: str) -> bool:
    """Did this store know the container once, or could it have?"""
    if (fact.uid, fact.attempt) in ledger.strangers.get(node, ()):
        return False
    latest = ledger.forgotten.get(fact.uid)
    if latest is not None:
        return fact.attempt <= latest
    return ledger.could_have_made(name.incarnation)


def _order(fact: Fact) -> tuple[int, int]:
    return (fact.restart, int(fact.phase))


def _returned(ledger: Ledger, task: Task, fact: Fact, report: Report) -> None:
    """A task of a node that was lost is still there and has no replacement yet: believe it."""
    if task.lost_on != report.node or _order(fact) < (task.restart, task.phase):
        return
    over = fact.phase is Phase.ENDED
    if not over:
        row = ledger.fleet.row_of(report.node)
        if row is None:
            return  # nobody knows yet what the node has room for
        over = not ledger.fleet.has_room(row, ledger.demand(task), task.gpus)
    if over:
        # Over, or its place was given to others meanwhile. The next Assign omits it, so no report
        # from before may bring it back: it is placed anew.
        ledger.amend(task, lost_on="")
        return
    mark("returned-task-believed")
    back = ledger.move(task, TaskEvent.PLACED, node=report.node, reason="")
    ledger.task_event("task.returned", f"{task.id} is still on {report.node}", back)
    _lives(ledger, back, fact, report)


def _failures(ledger: Ledger, task: Task, fact: Fact, report: Report) -> tuple[float, ...]:
    """When charged failures were seen, by our clock; what is known stays, or it would creep."""
    told = tuple(ledger.now - (report.now - at) for at in fact.failures)
    known = task.failures
    later = bool(told) and bool(known) and told[-1] > known[-1] + SAME_FAILURE_SECONDS
    if later or len(told) > len(known):
        return told
    # A worker that was told to forget the task, and to take it up again, has begun to count anew.
    if not told or not fact.charged or _order(fact) <= (task.restart, task.phase):
        return known
    ledger.touched[report.node] = None  # tell it what it has forgotten
    return (*known, told[-1])


def _lives(ledger: Ledger, task: Task, fact: Fact, report: Report) -> None:
    """It starts or runs."""
    seen: dict[str, Any] = {
        "restart": fact.restart,
        "phase": int(fact.phase),
        "reason": fact.reason if task.state is not State.STOPPING else task.reason,
        "healthy": fact.healthy,
        "retry_at": None,
        # Its end may never have been heard of: the report of it was lost, or we were away.
        "failures": _failures(ledger, task, fact, report),
    }
    if fact.phase is Phase.RUNNING:
        seen |= {"ports": fact.ports, "handle": fact.handle}
        first = _order(fact) > (task.restart, task.phase)
        if first or task.state is State.SCHEDULED:
            if task.state is State.RUNNING:
                seen["since"] = ledger.now  # it runs anew
            started = ledger.move(task, TaskEvent.STARTED, **seen)
            ledger.task_event("task.running", f"{task.id} runs on {task.node}", started)
            if fact.image and task.spec.pull_policy != "always":
                learn_image(ledger, started, fact.image)
            return
    if any(getattr(task, name) != value for name, value in seen.items()):
        ledger.amend(task, **seen)


def _ended(ledger: Ledger, task: Task, fact: Fact, report: Report) -> None:
    """A run is over."""
    if task.state is State.STOPPING:
        if fact.final:
            gone(ledger, task, fact.exit_code)
        return
    seen: dict[str, Any] = {
        "restart": max(fact.restart, task.restart),
        "phase": int(fact.phase),
        "exit_code": fact.exit_code,
        "healthy": None,
        "failures": _failures(ledger, task, fact, report),
        "reason": fact.reason,
    }
    if not fact.final:
        _waits(ledger, task, fact, report, seen)
    elif fact.stopped:  # by an assignment of an earlier manager
        ledger.move(task, TaskEvent.RESCHEDULED, **seen)
    elif _succeeded(task, fact):
        done = ledger.move(task, TaskEvent.COMPLETED, **seen)
        ledger.task_event("task.completed", f"{task.id} completed on {task.node}", done)
    else:
        _gave_up(ledger, task, fact, seen)


def _succeeded(task: Task, fact: Fact) -> bool:
    """Has it done what it was for? A service has where only failures are to be restarted."""
    ends = task.spec.kind.is_batch or task.spec.restart.condition == "on-failure"
    return ends and fact.exit_code == 0 and not fact.charged


def _waits(ledger: Ledger, task: Task, fact: Fact, report: Report, seen: dict[str, Any]) -> None:
    """Its worker will start it again."""
    retry_at = None
    if fact.retry_at is not None:
        retry_at = ledger.now + max(0.0, fact.retry_at - report.now)
    before = _order(fact) == (task.restart, task.phase)  # told before, perhaps with less
    more = task.retry_at is None and retry_at is not None
    if before and not more and len(task.failures) >= len(fact.failures):
        return
    ledger.amend(task, retry_at=retry_at, **seen)
    if before:
        return
    wait = 0.0 if retry_at is None else retry_at - ledger.now
    text = f"{task.id} ended on {task.node} ({fact.reason}), starts again in {wait:.0f} s"
    ledger.task_event("task.restarting", text, task)


def _spent(ledger: Ledger, task: Task) -> int:
    """How often it was placed anew; a service that has run for long begins afresh."""
    if task.spec.kind.is_batch or task.state is not State.RUNNING:
        return task.reschedules
    lasted = ledger.now - task.since > task.spec.reschedule.max_delay_seconds
    return 0 if lasted else task.reschedules


def _gave_up(ledger: Ledger, task: Task, fact: Fact, seen: dict[str, Any]) -> None:
    """The worker's budget is spent: elsewhere and later, or never."""
    policy, spent = task.spec.reschedule, _spent(ledger, task)
    if policy.attempts is not None and spent >= policy.attempts:
        mark("reschedule-budget-spent")
        failed = ledger.move(task, TaskEvent.GAVE_UP, **seen)
        text = f"{task.id} failed on {task.node}: {fact.reason}"
        ledger.task_event("task.failed", text, failed)
        return
    wait = 0.0
    if fact.charged:
        mark("rescheduled-with-delay")
        wait = min(policy.delay_seconds * 2 ** min(spent, MOST_DOUBLINGS), policy.max_delay_seconds)
    back = ledger.move(
        task,
        TaskEvent.RESCHEDULED,
        not_before=ledger.now + wait,
        reschedules=spent + int(fact.charged),
        **{**seen, "failures": ()},
    )
    text = f"{task.id} failed on {task.node} ({fact.reason}), is placed anew in {wait:.0f} s"
    ledger.task_event("task.rescheduled", text, back)
