"""What a task's `depends_on` still waits for."""

from __future__ import annotations

from cube.manager.ledger import Ledger
from cube.task import State, Task


def unmet_dependency(ledger: Ledger, task: Task) -> str:
    """The first of its dependencies that has not come so far, in words; empty: all have."""
    for dependency in task.spec.depends_on:
        others = [t for t in ledger.of(task.job) if t.service == dependency.service]
        others = [t for t in others if _counts(ledger, t)]
        if not all(_has_come(t, dependency.condition) for t in others):
            text = f"waits for {dependency.service} to be {dependency.condition}"
            failed = next((t.id for t in others if t.state is State.FAILED), "")
            return f"{text}, but {failed} failed" if failed else text
    return ""


def _counts(ledger: Ledger, task: Task) -> bool:
    """Does a dependent wait for it? Not if it was scaled away, or its node is gone."""
    spec = ledger.jobs[task.job].spec.service(task.service)
    if spec is None:
        return False
    if spec.kind.is_global:
        waits = task.state is not State.PENDING or ledger.is_open(task.index)
        return waits and task.state is not State.STOPPED
    return int(task.index) <= spec.instances


def _has_come(task: Task, condition: str) -> bool:
    """Is a task so far as a dependent one demands?"""
    if condition == "completed":
        return task.state is State.COMPLETED
    if task.state is State.COMPLETED:
        return True
    if task.state is not State.RUNNING:
        return False
    checked = condition == "healthy" and task.spec.has_health
    return task.healthy is True if checked else True
