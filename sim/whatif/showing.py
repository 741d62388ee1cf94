"""An outcome for people: tables of moves and of nodes, and what waits for what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import click

from cube.cli.printing import local_time, print_table
from cube.cli.tables import cores, gpus, mib, plural
from sim.whatif.outcome import NodeChange, Outcome, Place, Use

MOVE_COLUMNS = ("task", "from", "to", "up after", "down for")
NODE_COLUMNS = ("node", "state", "tasks", "cpu", "memory", "disk", "gpu")


def show(outcome: Outcome) -> None:
    """All of it, on stdout."""
    tried = ", ".join(outcome.changes) or "no change"
    taken = local_time(outcome.taken)
    click.echo(f"{tried}: what would become of the cluster as it was at {taken}")
    for title, places in (
        ("would move", outcome.fates.moves),
        ("would start anew where they are", outcome.fates.restarts),
        ("would start", outcome.fates.started),
    ):
        if places:
            click.echo(f"\n{title}:")
            print_table(MOVE_COLUMNS, [_row(place) for place in places])
    _list("would end", (f"{task} on {node}" for task, node in outcome.fates.ended))
    _list("would wait", (_waiting(w.task, w.before, w.reason) for w in outcome.waiting if w.new))
    _list("wait already", (f"{w.task}: {w.reason}" for w in outcome.waiting if not w.new))
    _list("would not be empty", (f"{node}: {why}" for node, why in outcome.blocked))
    click.echo()
    print_table(NODE_COLUMNS, [_node(node) for node in outcome.nodes])
    click.echo(f"\n{_verdict(outcome)}")


def _verdict(outcome: Outcome) -> str:
    if outcome.settled and not outcome.settle_seconds:
        text = "nothing would change"
    elif outcome.settled:
        text = f"at rest after {outcome.settle_seconds:.1f} s"
    else:
        text = "not at rest in the time given"
    waits = sum(w.new for w in outcome.waiting)
    counts = [(len(outcome.fates.moves), "move"), (len(outcome.fates.restarts), "restart")]
    told = [plural(count, what) for count, what in counts if count]
    told += [f"{plural(waits, 'task')} left without a place"] if waits else []
    note = f"; {outcome.note}" if outcome.note else ""
    return ", ".join([text, *told]) + note


def _row(place: Place) -> Sequence[object]:
    return (
        place.task,
        place.before,
        place.after,
        _seconds(place.seconds),
        _seconds(place.down_seconds),
    )


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s"


def _waiting(task: str, before: str | None, reason: str) -> str:
    return f"{task}{f', from {before}' if before else ''}: {reason}"


def _list(title: str, lines: Iterable[str]) -> None:
    found = list(lines)
    if found:
        click.echo(f"\n{title}:")
        for line in found:
            click.echo(f"  {line}")


def _node(node: NodeChange) -> Sequence[object]:
    state = node.state_after
    if node.state_before != node.state_after:
        state = f"{node.state_before or 'new'} → {node.state_after}"
    return (
        node.node,
        state,
        _change(node, lambda use: use.tasks, str, limit=False),
        _change(node, lambda use: use.cpu_milli, cores),
        _change(node, lambda use: use.memory_mib, mib),
        _change(node, lambda use: use.disk_mib, mib),
        _change(node, lambda use: use.gpu_milli, gpus),
    )


def _change(
    node: NodeChange,
    value: Callable[[Use], int],
    text: Callable[[int], str],
    *,
    limit: bool = True,
) -> str:
    """`1 → 2 of 4`; without an arrow where it stays the same, empty where there is none."""
    of = value(node.capacity)
    before = 0 if node.before is None else value(node.before)
    after = value(node.after)
    if limit and not (of or before or after):
        return ""
    shown = text(after) if before == after else f"{text(before)} → {text(after)}"
    return f"{shown} of {text(of)}" if limit else shown
