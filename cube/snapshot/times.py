"""How long the tasks of each service took to start and to stop of late, from the history.

Medians over what was seen; a service that was not seen doing it has no figure. Judges nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import median
from typing import NamedTuple

from cube.task import Event

_BEGINS = {"task.placed": "start", "task.replacing": "stop"}
_ENDS = {"task.running": "start", "task.stopped": "stop"}


class Times(NamedTuple):
    """Medians of one service, in seconds; None: not seen."""

    start_seconds: float | None = None  # from placed to running, pulls included
    stop_seconds: float | None = None  # from being told to stop until it had


def measured(events: Iterable[Event]) -> dict[str, Times]:
    """What `events`, oldest first, tell of each service (`job/service`)."""
    begun: dict[tuple[str, str], float] = {}
    seen: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if (what := _BEGINS.get(event.kind)) is not None:
            begun[event.task, what] = event.at
        elif (what := _ENDS.get(event.kind)) is not None:
            at = begun.pop((event.task, what), None)
            if at is not None and event.at >= at:
                seen[event.task.rpartition("/")[0], what].append(event.at - at)
    services = dict.fromkeys(service for service, _ in seen)
    return {s: Times(_median(seen[s, "start"]), _median(seen[s, "stop"])) for s in services}


def _median(seconds: list[float]) -> float | None:
    return round(median(seconds), 3) if seconds else None
