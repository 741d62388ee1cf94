"""What a person sees on the terminal: a progress bar, a summary, a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from sim.comparison import Comparison
from sim.paired import LEAST_SEEDS, blocks, number
from sim.results import RunResult
from sim.settings import inline
from sim.surface import Surface

SHOWN = ("wait_seconds.mean", "wait_seconds.p95", "utilisation.cpu", "imbalance.cpu")  # of sweeps


@contextmanager
def progress(tasks: int) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal's error stream; nothing where that is no terminal."""
    with _bar("tasks") as bar:
        line = bar.add_task("", total=tasks)
        yield lambda final: bar.update(line, completed=final)


@contextmanager
def sweep_progress() -> Iterator[Callable[[int, int], None]]:
    """The same for a sweep, which tells how many cells are done of how many that are to do."""
    with _bar("cells") as bar:
        line = bar.add_task("", total=None)
        yield lambda done, cells: bar.update(line, completed=done, total=cells)


def _bar(unit: str) -> Progress:
    return Progress(
        TextColumn("simulating"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not Console(stderr=True).is_terminal,
    )


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
        ("slowdown", f"mean {metrics['slowdown.mean']:.3f}, bounded "
                     f"{metrics['bounded_slowdown.mean']:.3f}"),
        ("waiting time", f"mean {metrics['wait_seconds.mean']:.3f} s, 95th percentile "
                         f"{metrics['wait_seconds.p95']:.3f} s, longest "
                         f"{metrics['wait_seconds.max']:.1f} s; {metrics['waited']:,.0f} tasks"
                         f" waited for room{_censored(result, 'waited')}"),
        ("utilisation", f"CPU {metrics['utilisation.cpu']:.1%}, memory "
                        f"{metrics['utilisation.memory']:.1%}"),
        ("load imbalance", f"CPU {metrics['imbalance.cpu']:.3f}, memory "
                           f"{metrics['imbalance.memory']:.3f} (coefficient of variation)"),
        ("figures from", f"{first:,.1f} s to {last:,.1f} s (arrivals after the warm-up)"),
        *((metric.key, f"{number(metrics[metric.key])} {metric.unit}".rstrip()
           + _censored(result, metric.key)) for metric in result.own_metrics),
        ("decisions", f"{result.decision_wall_seconds * 1e6:,.0f} µs of wall time each"),
        ("virtual time", f"{result.virtual_seconds:,.1f} s"),
        ("wall time", f"{result.wall_seconds:.1f} s ({rate:,.0f} tasks/s)"),
        ("trace_hash", result.trace_hash),
    ]  # fmt: skip
    rows.append(("replay", result.replay_command))
    if out is not None:
        rows.append(("results", str(out)))
    for name, text in rows:
        print(f"{name:<15} {text}")
    if counted["unfinished"]:
        print(_unfinished(counted["unfinished"], counted["unplaced"]))


def _censored(result: RunResult, key: str) -> str:
    censored = result.censored.get(key, 0)
    return f" ({censored:,} lower bounds)" if censored else ""


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
            f"{scenario.name}: {scenario.told}\n"
            f"{n} seeds, the same tasks under every policy; warm-up: what arrives in the first "
            f"{scenario.warm_up:.0%} of the time ({_warm_up(result)}) is left out"
        )
        print("\n".join(blocks(result.table())))
        for note in _notes(result):
            print(note)
    if result.interrupted:
        kept = f"{n} complete seeds and {len(result.runs)} runs are kept"
        print(f"Interrupted: {kept if result.runs else 'nothing was written'}.")
    if out is not None and result.runs:
        print(f"Results: {out}")


def _warm_up(result: Comparison) -> str:
    firsts = [run.window_seconds[0] for run in result.runs]
    least, most = min(firsts), max(firsts)
    return f"{least:,.1f} s" if least == most else f"{least:,.1f} to {most:,.1f} s by seed"


def _notes(result: Comparison) -> Iterator[str]:
    if any(run.censored for run in result.runs):
        yield "Censored: tasks that the end cut off, which enter a figure as lower bounds."
    if len(result.seeds) == 1:
        yield "One seed gives no interval: raise --seeds."
    elif len(result.seeds) < LEAST_SEEDS:
        yield f"Fewer than {LEAST_SEEDS} seeds give wide intervals: raise --seeds."
    if len(result.scenario.policies) > 2:
        yield "p is adjusted for the number of policies (Holm)."
    if result.nobody_waited:
        yield "no task waited under any policy: raise --load"


def show_sweep(result: Surface, out: Path) -> None:
    """What was worked, and the differences at each point."""
    done = len(result.results)
    now = f"{result.worked:,} of them were to do now"
    print(f"{result.cells:,} cells: {done:,} are finished, {now}")
    if result.complete:
        for point in result.points:
            told = ", ".join(f"{path} = {inline(value)}" for path, value in point)
            print(f"\n--- {told}")
            print("\n".join(blocks(result.at(point, *SHOWN))).lstrip("\n"))
    elif result.interrupted:
        print("Interrupted: what is finished is kept; the same command does the rest.")
    else:
        print("The tables are written when all shards are finished.")
    print(f"Results: {out}")
