"""What a person sees of fault runs: progress, a summary, the story of a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sim.faults.campaign import Campaign
from sim.faults.ordeal import Outcome


@contextmanager
def progress(runs: int) -> Iterator[Callable[[Campaign], None]]:
    """A bar on the terminal's error stream; nothing where that is no terminal."""
    bar = Progress(
        TextColumn("breaking things"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs, {task.fields[broken]} broken"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not Console(stderr=True).is_terminal,
    )
    with bar:
        line = bar.add_task("", total=runs, broken=0)
        yield lambda c: bar.update(line, completed=c.runs, broken=len(c.broken))


def show_failure(outcome: Outcome) -> None:
    """One broken promise: what, its story, and the command that does it again."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"BROKEN  {outcome.scenario}, seed {outcome.seed}: {outcome.broken}")
    for line in outcome.story[-30:]:
        console.print(f"  {line}")
    story = f" --story {outcome.subject}" if outcome.subject else ""
    console.print(f"  again: {outcome.replay}{story}")


def show_campaign(campaign: Campaign) -> None:
    """The sums of a campaign."""
    console = Console(soft_wrap=True, highlight=False)
    per_minute = campaign.node_years / max(campaign.work_seconds / 60, 1e-9)
    speed = campaign.virtual_seconds / max(campaign.work_seconds, 1e-9)
    faults = campaign.faults
    messages = sum(n for kind, n in faults.items() if kind.startswith("messages "))
    struck = ", ".join(f"{n:,} {k}" for k, n in faults.most_common()
                       if not k.startswith("messages "))  # fmt: skip
    rows = [
        ("runs", f"{campaign.runs:,} of {campaign.asked:,}: {len(campaign.broken)} broken"),
        ("simulated", f"{campaign.node_years:.2f} node-years, {per_minute:.2f} per minute of one "
                      f"core, {speed:,.0f} times real time, {campaign.tasks:,} tasks"),
        ("faults", f"{sum(faults.values()) - messages:,}: {struck}"),
        ("messages", f"{messages:,} lost, late or copied"),
        ("checks", f"{campaign.checks:,}"),
        ("unfenced", f"{campaign.unfenced_seconds:.1f} s in which a `stop` task ran twice because "
                     "nobody could stop the old copy"),
        ("settled", f"within {campaign.longest_settle_seconds:.1f} virtual seconds after healing"),
    ]  # fmt: skip
    for name, text in rows:
        console.print(f"{name:<10} {text}")
    unmarked = campaign.unmarked
    if unmarked:
        console.print(f"{'marks':<10} hardly ever hit: {', '.join(unmarked)}")
    else:
        console.print(f"{'marks':<10} all hit")


def show_replay(outcome: Outcome) -> None:
    """How a single run ended."""
    console = Console(soft_wrap=True, highlight=False)
    what = outcome.broken or f"every promise kept; settled in {outcome.settle_seconds:.1f} s"
    console.print(f"{outcome.scenario}, seed {outcome.seed}: {what}", markup=False)
    speed = outcome.virtual_seconds / max(outcome.wall_seconds, 1e-9)
    console.print(
        f"{outcome.virtual_seconds:,.1f} virtual seconds at {speed:,.0f} times real time, "
        f"{outcome.tasks} tasks, {outcome.checks:,} checks, trace hash {outcome.trace_hash}"
    )
