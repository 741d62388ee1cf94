"""A live cluster's own log: what `--record FILE` wrote, turned into the tasks that ran there.

A task arrives when the manager first saves it, starts when it is saved as running and ends when it
is saved as ended. One that had not started when the recording ended is left out; one that still
ran has run as long as was seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cube import record
from cube.messages import MANAGER, Save
from cube.task import State, Task
from sim.arrivals import Arrivals
from sim.errors import InputError
from sim.traces.lines import Gathered

WHAT = "the recording of a live cluster's manager: what its tasks asked for and how long they ran"
WHERE = "`cube dev --record FILE`"


@dataclass(slots=True)
class _Seen:
    """What was saved of one incarnation of a task. Seconds of the manager's clock."""

    line: int
    size: tuple[int, int, int]
    at: float
    started: float | None = None
    ended: float | None = None
    exit_code: int = 0


def read(path: Path) -> Arrivals:
    """Every task that started, as a job of its own; the first arrives at 0.

    Raises:
        InputError: the file is no recording, is damaged, or no task started in it.
    """
    seen: dict[str, _Seen] = {}
    now = 0.0
    try:
        for entry in record.read(path):
            if isinstance(entry, record.Handled) and entry.core == MANAGER:
                now = entry.now
                for effect in entry.effects:
                    if isinstance(effect, Save):
                        _take_in(seen, entry, effect)
    except record.RecordingError as error:
        raise InputError(str(error), "Name a file that `--record` wrote.") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", "Name a file that can be read.") from None
    return _arrivals(path, list(seen.values()), now)


def _take_in(seen: dict[str, _Seen], entry: record.Handled, save: Save) -> None:
    for task in save.records:
        if not isinstance(task, Task):
            continue
        spec = task.spec
        size = (spec.cpu_milli, spec.memory_mib, spec.disk_mib)
        one = seen.setdefault(task.uid, _Seen(entry.line, size, entry.now))
        if task.state is State.RUNNING and one.started is None:
            one.started = entry.now
        if task.state.final:
            one.ended = entry.now
            one.exit_code = task.exit_code or 0


def _arrivals(path: Path, seen: list[_Seen], end: float) -> Arrivals:
    gathered = Gathered(path)
    begin = min((one.at for one in seen), default=0.0)
    for one in seen:
        if one.started is not None:
            run = (end if one.ended is None else one.ended) - one.started
            gathered.add(one.line, one.at - begin, run, one.size, one.exit_code)
    return gathered.arrivals()
