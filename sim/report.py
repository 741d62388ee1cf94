"""What a person sees on the terminal: a progress bar, a summary, a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sim.metrics import METRICS
from sim.results import Comparison, Line, RunResult
from sim.statistics import Interval

_METRICS = {metric.key: metric for metric in METRICS}


@contextmanager
def progress(tasks: int, unit: str = "tasks") -> Iterator[Callable[[int], None]]:
    """A bar on the terminal's error stream; nothing where that is no terminal."""
    bar = Progress(
        TextColumn("simulating"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not Console(stderr=True).is_terminal,
    )
    with bar:
        line = bar.add_task("", total=tasks)
        yield lambda final: bar.update(line, completed=final)


def show_run(result: RunResult, out: Path | None) -> None:
    """The summary of one run."""
    scenario, counted, metrics = result.scenario, result.counts, result.metrics
    first, last = result.window_seconds
    rate = counted["tasks"] / max(result.wall_seconds, 1e-9)
    rows = [
        ("scenario", f"{scenario.name}, policy {result.policy}, seed {result.seed}"),
        ("cluster", f"{scenario.cluster.count:,} nodes, offered load "
                    f"{scenario.workload.load:g} of {_resource(result.scarcest)}"),
        ("tasks", ", ".join(f"{n:,} {name}" for name, n in counted.items() if n and name != "tasks")
                  + f" of {counted['tasks']:,}"),
        ("placements", f"{result.placements:,}"),
        ("messages", f"{sum(result.messages.values()):,} ({_most(result.messages)})"),
        ("waiting time", f"mean {metrics['wait_seconds.mean']:.3f} s, 95th percentile "
                         f"{metrics['wait_seconds.p95']:.3f} s, longest "
                         f"{metrics['wait_seconds.max']:.1f} s; {metrics['waited']:,} tasks waited"
                         " for room"),
        ("utilisation", f"CPU {metrics['utilisation.cpu']:.1%}, memory "
                        f"{metrics['utilisation.memory']:.1%}"),
        ("load imbalance", f"CPU {metrics['imbalance.cpu']:.3f}, memory "
                           f"{metrics['imbalance.memory']:.3f} (coefficient of variation)"),
        ("figures from", f"{first:,.1f} s to {last:,.1f} s (arrivals after the warm-up)"),
        ("virtual time", f"{result.virtual_seconds:,.1f} s"),
        ("wall time", f"{result.wall_seconds:.1f} s ({rate:,.0f} tasks/s)"),
        ("trace_hash", result.trace_hash),
    ]  # fmt: skip
    if out is not None:
        rows.append(("results", str(out)))
    for name, text in rows:
        print(f"{name:<15} {text}")
    if counted["unfinished"]:
        print(_unfinished(counted["unfinished"], counted["unplaced"]))


def _unfinished(unfinished: int, unplaced: int) -> str:
    return (
        f"{unfinished:,} tasks were not final at the end, {unplaced:,} of them never placed: "
        "their waits are lower bounds."
    )


def _resource(name: str) -> str:
    return {"cpu_milli": "the CPU", "memory_mib": "the memory", "disk_mib": "the disk"}[name]


def _most(messages: dict[str, int]) -> str:
    most = sorted(messages.items(), key=lambda item: -item[1])[:5]
    return ", ".join(f"{name} {count:,}" for name, count in most)


def show_comparison(result: Comparison, out: Path | None) -> None:
    """The table of a comparison, and what must be known to read it."""
    n = len(result.seeds)
    if n:
        scenario = result.scenario
        print(
            f"{scenario.name}: {scenario.cluster.count:,} nodes, {scenario.workload.tasks:,} tasks,"
            f" offered load {scenario.workload.load:g}\n"
            f"{n} seeds, the same tasks under every policy; figures of arrivals after the first "
            f"{scenario.warm_up:.0%} of the time"
        )
        print("\n".join(_table(result.table())))
        for note in _notes(result):
            print(note)
    if result.interrupted:
        kept = f"{n} complete seeds and {len(result.runs)} runs are kept"
        print(f"Interrupted: {kept if result.runs else 'nothing was written'}.")
    if out is not None and result.runs:
        print(f"Results: {out}")


def _notes(result: Comparison) -> Iterator[str]:
    if any(run.counts["unplaced"] for run in result.runs):
        yield "Some tasks were never placed: their waits are lower bounds."
    if len(result.seeds) == 1:
        yield "One seed gives no interval: raise --seeds."
    if result.nobody_waited:
        yield "no task waited under any policy: raise --load"


def _table(lines: list[Line]) -> Iterator[str]:
    """One block per metric; whole lines, whatever the terminal's width."""
    wide = max(len(line.policy) for line in lines)
    head = f"{'mean':>11} {'difference':>12} {'95 % interval':>25} {'n':>4} {'unplaced':>9}"
    shown = ""
    for line in lines:
        if line.metric != shown:
            shown = line.metric
            metric = _METRICS[shown]
            unit = f" ({metric.unit})" if metric.unit else ""
            yield f"\n{shown}: {metric.text}{unit}; {metric.better} is better"
            yield f"  {'':<{wide}} {head}"
        difference, between = "", "baseline"
        if line.difference is not None:
            difference, between = _number(line.difference.mean, True), _between(line.difference)
        yield (
            f"  {line.policy:<{wide}} {_number(line.value.mean):>11} {difference:>12} "
            f"{between:>25} {line.n:>4} {line.unplaced:>9,}"
        )


def _number(value: float, signed: bool = False) -> str:
    digits = 4 if abs(value) < 10 else 1
    return f"{value:+,.{digits}f}" if signed else f"{value:,.{digits}f}"


def _between(found: Interval) -> str:
    if found.n < 2:
        return "-"
    return f"[{_number(found.low, True)}, {_number(found.high, True)}]"
