"""Every figure that is taken of a run. Definitions with formulas: docs/simulation.md.

Adding one is an entry here, or a user's function decorated with `sim.metric`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from sim.arrivals import MICROS
from sim.errors import InputError
from sim.metrics import balance, packing
from sim.metrics.curves import CPU, MEMORY
from sim.metrics.metric import Better, Figure, Function, Measure, Metric
from sim.metrics.packing import CLASSES, WAITED_SECONDS
from sim.metrics.steps import Floats, Ints, Steps
from sim.metrics.window import Window

BOUND_SECONDS = 10.0  # shorter runs count as this long in the bounded slowdown

_Times = Callable[[Window], Floats]
_Events = Callable[[Window], Ints]


def _measure(
    key: str, unit: str, text: str, function: Function, better: Better = "lower"
) -> Measure:
    return Measure(Metric(key, unit, text, better), function)


def _spread(
    key: str, unit: str, text: str, values: _Times, until: _Events, points: Sequence[str]
) -> Iterator[Measure]:
    """Mean, quantiles and maximum of what every task of the window has one of."""

    def of(point: str) -> Function:
        return lambda w: Figure(_point(values(w), point), w.unknown(until(w)))

    names = {"mean": "mean {}", "p50": "median {}", "max": "longest {}"}
    for point in points:
        said = names.get(point, f"{point[1:]}th percentile of {{}}").format(text)
        yield _measure(f"{key}.{point}", unit, said, of(point))


def _point(values: Floats, point: str) -> float:
    match point:
        case "mean":
            return float(values.mean())
        case "max":
            return float(values.max())
        case _:
            return float(np.quantile(values, int(point[1:]) / 100))


def _by_resource(
    key: str,
    text: str,
    of: Callable[[Window, int], float | Steps],
    better: Better = "lower",
) -> Iterator[Measure]:
    """One figure for CPU and one for memory; steps are averaged over the window's time."""

    def function(resource: int) -> Function:
        def measure(window: Window) -> float:
            found = of(window, resource)
            return window.mean(found) if isinstance(found, Steps) else found

        return measure

    for resource, short, name in ((CPU, "cpu", "CPU"), (MEMORY, "memory", "memory")):
        yield _measure(f"{key}.{short}", "", text.format(name), function(resource), better)


def _by_class(
    key: str, unit: str, text: str, of: Callable[[Window, int], float | Figure]
) -> Iterator[Measure]:
    def function(size_class: int) -> Function:
        return lambda w: of(w, size_class)

    for place, name in enumerate(CLASSES):
        yield _measure(f"{key}.{name}", unit, text.format(name), function(place), "higher")


def _slowdown(window: Window) -> Floats:
    return np.asarray(window.response_seconds / window.run_seconds)


def _bounded_slowdown(window: Window) -> Floats:
    run = np.maximum(window.run_seconds, BOUND_SECONDS)
    return np.maximum(window.response_seconds / run, 1.0)


def _waited(window: Window) -> Figure:
    waited = int((window.wait_seconds > WAITED_SECONDS).sum())
    return Figure(waited, window.unknown(window.seen.placed_micros))


def _makespan(window: Window) -> Figure:
    seen = window.seen
    ends = np.where(seen.final, seen.ended_micros, seen.end_micros)
    span = float(ends.max() - seen.arrivals.at_micros[0]) / MICROS
    return Figure(span, int((~seen.final).sum()))


def _lost_work(window: Window) -> float:
    cores = window.seen.arrivals.demand[:, CPU] / 1000
    return float((cores * window.seen.lost_micros).sum()) / MICROS


_ALL, _SOME = ("mean", "p50", "p95", "p99", "max"), ("mean", "p50", "p95", "p99")
MEASURES: tuple[Measure, ...] = (
    *_spread("wait_seconds", "s", "waiting time",
             lambda w: w.wait_seconds, lambda w: w.seen.placed_micros, _ALL),
    _measure("waited", "tasks", f"tasks that waited more than {WAITED_SECONDS} s for room",
             _waited),
    *_spread("slowdown", "", "slowdown", _slowdown, lambda w: w.seen.ended_micros, _SOME),
    *_spread("bounded_slowdown", "", "bounded slowdown", _bounded_slowdown,
             lambda w: w.seen.ended_micros, _SOME),
    *_spread("decision_seconds", "s", "time to the first decision", lambda w: w.decision_seconds,
             lambda w: w.seen.decided_micros, ("mean", "p99")),
    _measure("makespan_seconds", "s", "first arrival to last end", _makespan),
    *_by_resource("utilisation", "time-weighted {} reserved / capacity", balance.utilisation,
                  "higher"),
    *_by_resource("allocation_ratio", "{} reserved / what could be reserved",
                  balance.allocation_ratio, "higher"),
    *_by_resource("headroom", "share of {} free at the busiest moment", balance.headroom,
                  "higher"),
    *_by_resource("imbalance", "time-weighted coefficient of variation of nodes' {}",
                  balance.imbalance),
    *_by_resource("max_over_mean", "time-weighted {} of the fullest node / mean",
                  balance.max_over_mean),
    *_by_resource("jain", "time-weighted Jain index of nodes' {}", balance.jain, "higher"),
    *_by_resource("stranded", "{} free beside another resource that is used up, / capacity",
                  packing.stranded),
    *_by_resource("fragmentation", "{} free where a typical task does not fit, / capacity",
                  packing.fragmentation),
    *_by_class("hole_filling", "tasks", "more {} tasks that would fit", packing.hole_filling),
    *_by_class("first_rejected", "", "demand / capacity at which a {} task first found no room",
               packing.first_rejected),
    _measure("restarts", "", "runs anew on the same node", lambda w: int(w.seen.restarts.sum())),
    _measure("evictions", "", "places lost before the task had ended",
             lambda w: int(w.seen.evictions.sum())),
    _measure("lost_work_core_seconds", "core s", "work of runs that did not end their task",
             _lost_work),
    _measure("messages_per_task", "", "messages between actors for each task",
             lambda w: w.messages / len(w.seen.arrivals)),
)  # fmt: skip
METRICS: tuple[Metric, ...] = tuple(measure.metric for measure in MEASURES)


def measure(window: Window, own: Iterable[Measure] = ()) -> dict[str, Figure]:
    """Every figure of `MEASURES` and of the user's own, by its key."""
    return {found.metric.key: found(window) for found in (*MEASURES, *own)}


def check_keys(own: Sequence[Measure]) -> None:
    """Refuse metrics of a user's own whose key is taken.

    Raises:
        InputError: names the first.
    """
    taken = {metric.key for metric in METRICS}
    for found in own:
        key = found.metric.key
        if key in taken:
            raise InputError(f"there is a metric '{key}' already", f"Rename {found.name}.")
        taken.add(key)
