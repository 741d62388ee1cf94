"""Jobs that are kept together: which node such a job is on, and what all of it needs.

Pure functions of its tasks; what follows for placement and drains is decided by `rounds` and
`drain`, and tried on copies by `cube.plan`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable

from cube.spec import Demand, JobSpec
from cube.task import State, Task


def home_of(tasks: Iterable[Task], leaving: Container[str]) -> str | None:
    """The node that a job which is kept together is on; None: it may go anywhere, as a whole.

    Nodes that it is `leaving` do not count, nor does what is being stopped for good. Where a job
    is on several nodes (it was not kept together before, or a drain was called off half-way), it is
    the one with most of its tasks, of these the first by name.
    """
    stay = (t.node for t in tasks if t.node is not None and t.state.placed and not is_apart(t))
    return most_of(stay, leaving)


def most_of(nodes: Iterable[str], leaving: Container[str]) -> str | None:
    """The node that is named most often, one for each task."""
    counts = Counter(nodes)
    ranked = sorted((-count, node) for node, count in counts.items() if node not in leaving)
    return ranked[0][1] if ranked else None


def whole_of(job: JobSpec, tasks: Iterable[Task]) -> Demand:
    """What the one node must have room for: all that is there or waits, wherever it is now."""
    parts = [t for t in tasks if not t.state.final and not is_apart(t)]
    return Demand.of_whole(job, [Demand.of(job, t.spec) for t in parts])


def is_apart(task: Task) -> bool:
    """Does it not count: is it about to end, or of a service that is everywhere anyway?"""
    ends = task.state is State.STOPPING and task.then == "stopped"
    return ends or task.spec.kind.is_global
