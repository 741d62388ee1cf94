"""Did two copies of a task that must never run twice run at one time? Told from containers' lives.

A node whose worker or engine was dead could not stop its copy, nor tell when it ended; after the
store was put back to a backup, what moved since waits for an operator. Such times are excused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.cluster.watch import Life

RETURN_SECONDS = 10.0  # until a worker or engine that was started again has done its duty
Times = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Overlap:
    """A task ran on two nodes at one time."""

    task: str
    nodes: tuple[str, str]
    began: float
    seconds: float
    excused: bool


def overlaps(lives: Sequence[Life], dark: Mapping[str, Times]) -> Iterator[Overlap]:
    """Those among the lives of one task; `dark`: when nodes were without worker or engine."""
    for old, new in pairwise(sorted(lives, key=lambda life: life.began)):
        ends = [life.ended for life in (old, new) if life.ended is not None]
        if old.ended is not None and old.ended <= new.began:
            continue
        end = min(ends, default=new.began)
        excused = any(
            begin <= end and new.began <= over + RETURN_SECONDS
            for begin, over in dark.get(old.node, ())
        )
        nodes = old.node, new.node
        yield Overlap(old.container.task, nodes, new.began, end - new.began, excused)
