"""What a simulated task does: how long it takes to start, how long it runs, how it exits.

Feeds `cube.engine.simulated`. The truth comes from the workload, so it is the same under every
policy; what the workload does not say (the start of a later attempt) is drawn by name.
"""

from __future__ import annotations

from cube.engine.simulated import Outcome
from cube.messages import Run
from cube.task import TaskName
from sim.arrivals import MICROS, Arrivals
from sim.streams import Streams
from sim.workload import StartLatency


class TrueTasks:
    """The fate of each run of each task (`cube.engine.simulated.Behaviour`)."""

    def __init__(self, arrivals: Arrivals, start: StartLatency, seed: int) -> None:
        self._arrivals = arrivals
        self._start = start
        self._streams = Streams(seed)
        self._start_micros = arrivals.start_micros.tolist()
        self._run_micros = arrivals.run_micros.tolist()
        self._exit_code = arrivals.exit_code.tolist()

    def __call__(self, run: Run) -> Outcome:
        """The outcome of one run; a later attempt starts anew and runs as long."""
        key = run.key
        name = TaskName.parse(key.uid)
        number = self._arrivals.number(name.job, name.index)
        if key.attempt == 1 and key.restart == 0:
            start_seconds = self._start_micros[number] / MICROS
        else:
            start_seconds = self._start_again(number, key.attempt, key.restart)
        return Outcome(start_seconds, self._run_micros[number] / MICROS, self._exit_code[number])

    def _start_again(self, number: int, attempt: int, restart: int) -> float:
        again = self._streams.generator("start again", f"{number} {attempt} {restart}")
        least, most = self._start.least_seconds, self._start.most_seconds
        return round((least + (most - least) * again.random()) * MICROS) / MICROS
