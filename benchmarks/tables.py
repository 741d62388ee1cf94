"""Writes docs/benchmarks.md from the JSON files beside this one: `make bench` ends with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
HEAD = """\
# What things cost

Written by `make bench` from the files in `benchmarks/`. Times are CPU time on one core of a shared
machine: compare within a table, never between tables. `docs/reproductions.md` has the published
results that Cube reproduces, `docs/simulation.md` what the fault simulation costs.
"""


def read(name: str) -> dict[str, Any]:
    """One of the files."""
    found: dict[str, Any] = json.loads((HERE / name).read_text())
    return found


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """In Markdown; numbers to the right."""
    rows = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    lines = [" | ".join(heads), " | ".join("---" if i == 0 else "--:" for i in range(len(heads)))]
    lines += [" | ".join(row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def placement() -> str:
    """By policy and number of nodes."""
    found = read("placement.json")["rows"]
    sizes = sorted({row["nodes"] for row in found})
    cost: dict[str, dict[int, dict[str, Any]]] = {}
    for row in found:
        cost.setdefault(row["policy"], {})[row["nodes"]] = row
    lines = [
        [policy, *(by[n]["cached_microseconds"] for n in sizes)] for policy, by in cost.items()
    ]
    argmin = [cost["epvm"][n]["argmin_microseconds"] for n in sizes]
    lines.append(["a bare argmin over as many scores", *argmin])
    fresh = [cost["epvm"][n]["fresh_microseconds"] for n in sizes]
    lines.append(["E-PVM from nothing, by NumPy columns", *fresh])
    epvm = cost["epvm"]
    told = "; ".join(
        f"{n:,} nodes: {epvm[n]['placements_per_second']:,} a second,"
        f" {epvm[n]['fresh_to_cached']} times as fast as from nothing"
        for n in sizes
    )
    return f"""\
## A placement

Microseconds for one placement with its departure: rounds of 100 tasks of 20 shapes, all resources,
services spread over nodes, half of the capacity in use (`benchmarks/placement.py`; medians).

{table(["policy", *(f"{n:,} nodes" for n in sizes)], lines)}

E-PVM at {told}.
"""


def simulation() -> str:
    """Whole runs."""
    rows = read("simulation.json")["rows"]
    keys = ("tasks", "nodes", "timeouts_per_task", "events_per_task", "messages_per_task")
    lines = [[row["scenario"], *(row[key] for key in keys), row["peak_mib"]] for row in rows]
    heads = ["scenario", "tasks", "nodes", "bare timeouts a task", "events a task"]
    counts = "\n".join(
        f"- {row['scenario']}: "
        + ", ".join(f"{row['messages'][name]:,} {name}" for name in ("Report", "Assign", "Place"))
        for row in rows
    )
    return f"""\
## A whole simulation

Manager, scheduler, workers and engines, every hop with a delay, until every task is final
(`benchmarks/simulation.py`). The unit is one SimPy timeout, made and run in the same process.

{table([*heads, "messages a task", "peak MiB"], lines)}

Messages of the kinds that matter most:

{counts}

{scaling()}
"""


def scaling() -> str:
    """What the size of a cluster adds."""
    small, large = read("scaling.json")["rows"]
    times = large["timeouts_per_task"] / small["timeouts_per_task"]
    an_event = _per_event(large) / _per_event(small)
    return f"""\
With {small["tasks"]:,} tasks of `{small["scenario"]}`, a task costs {small["timeouts_per_task"]}
timeouts in a cluster of {small["nodes"]:,} nodes and {large["timeouts_per_task"]} in one of
{large["nodes"]:,}, {times:.2f} times as much. Whole reports come at the same rate in both, so the
small cluster, which is fed more slowly, has {small["events_per_task"]} events a task and the large
one {large["events_per_task"]}: {an_event:.2f} times as much an event."""


def _per_event(row: dict[str, Any]) -> float:
    return float(row["timeouts_per_task"] / row["events_per_task"])


def instructions() -> str:
    """What the gate compares."""
    found = read("instructions.json")["operations"]
    lines = [[name, row["instructions"], row["in_calibrations"]] for name, row in found.items()]
    return f"""\
## Instructions

What the gate in CI holds on to (`benchmarks/gate.py`): instructions of one repetition, counted by
cachegrind, and as a multiple of the calibration loop.

{table(["operation", "instructions", "calibrations"], lines)}
"""


def peers() -> str:
    """Beside AccaSim and a plain model."""
    lines = [
        [
            line["load"],
            line["jobs"],
            f"{line['mean_wait_seconds']:,.1f}",
            line["accasim_differs"],
            line["simpy_differs"],
            f"{line['cube_to_accasim']:.2f}",
            f"{line['cube_seconds'] / line['simpy_seconds']:.0f}",
        ]
        for line in read("peers.json")["lines"]
    ]
    heads = ["load", "jobs", "mean wait, s", "jobs that AccaSim sees otherwise"]
    heads += ["and the plain model", "Cube's time to AccaSim's", "and to the plain model's"]
    return f"""\
## Beside others

First fit with a strict queue on a log in the Standard Workload Format: Cube's whole control plane,
AccaSim, and a plain SimPy model with a process for each job (`benchmarks/peers.py`). All three
agree on every job. The plain model has no control plane: it is the floor.

{table(heads, lines)}
"""


def main() -> None:
    """Write the page."""
    parts = (HEAD, placement(), simulation(), instructions(), peers())
    PAGE.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
