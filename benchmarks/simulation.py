"""What one task of a whole simulation costs, in bare SimPy timeouts timed in the same process.

    python benchmarks/simulation.py c1m [c2m ...] [--tasks N] [--nodes N] [--out FILE]
    python benchmarks/simulation.py c1m --tasks 100000 --nodes 1000,10000 --out FILE

Runs a shipped scenario with its full control plane: manager, scheduler, a worker and an engine per
node, every hop with a delay, until every task is final. `--tasks` and `--nodes` make it smaller, or
show what a task costs in clusters of several sizes; the load of a node stays what it is.
A bare timeout is one `env.timeout()` made and run among 300,000, timed before and after; times are
CPU seconds of the process, so that other programs disturb less.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import simpy

from cube.policies import make_policy
from sim.scenario import read
from sim.simulation import Simulation

BARE = 300_000  # timeouts


def bare_seconds() -> float:
    """CPU seconds of one bare timeout, without the collector: simulations do without it too."""
    gc.collect()
    gc.disable()
    env = simpy.Environment()
    begun = time.process_time()
    for i in range(BARE):
        env.timeout(i * 1e-3)
    env.run()
    seconds = time.process_time() - begun
    gc.enable()
    return seconds / BARE


def measure(name: str, tasks: int | None, nodes: int | None) -> dict[str, Any]:
    """One line of the table.

    Args:
        name: a shipped scenario, or a file.
        tasks: so many instead of its own.
        nodes: so many, if it has one group of them.
    """
    scenario = read(name)
    if tasks is not None:
        scenario = scenario.but(workload=scenario.workload.but(tasks=tasks))
    if nodes is not None:
        (group,) = scenario.cluster.groups
        cluster = scenario.cluster.but(groups=(group.but(count=nodes),))
        scenario = scenario.but(cluster=cluster)
    arrivals = scenario.workload.draw(scenario.cluster, 1)
    bare = [bare_seconds()]
    simulation = Simulation(scenario, make_policy("epvm"), arrivals, 1, _progress(len(arrivals)))
    begun, wall = time.process_time(), time.monotonic()
    simulation.run()
    seconds, wall = time.process_time() - begun, time.monotonic() - wall
    bare.append(bare_seconds())
    count = Counter(simulation.messages)
    done = len(arrivals)
    return {
        "scenario": name,
        "tasks": done,
        "nodes": len(scenario.cluster.nodes()),
        "timeouts_per_task": round(seconds / done / (sum(bare) / len(bare)), 1),
        "events_per_task": round(next(simulation.world.env._eid) / done, 2),
        "messages_per_task": round(count.total() / done, 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "virtual_seconds": round(simulation.world.now(), 1),
        "wall_seconds": round(wall, 1),
        "bare_microseconds": [round(b * 1e6, 3) for b in bare],
        "messages": {key: count[key] for key in sorted(count)},
    }


def _progress(total: int) -> Any:
    """Says how far a long run is, on a terminal."""
    if not sys.stderr.isatty():
        return None

    def tell(final: int) -> None:
        print(f"\r{final:,} of {total:,} tasks", end="", file=sys.stderr)

    return tell


COLUMNS = (
    ("scenario", "scenario", 8), ("tasks", "tasks", 9), ("nodes", "nodes", 6),
    ("timeouts/task", "timeouts_per_task", 13), ("events/task", "events_per_task", 11),
    ("MiB", "peak_mib", 6), ("virtual s", "virtual_seconds", 9), ("wall s", "wall_seconds", 8),
)  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """The results for people."""
    lines = [" ".join(f"{head:>{wide}}" for head, _, wide in COLUMNS)]
    lines += [" ".join(f"{row[key]:>{wide}}" for _, key, wide in COLUMNS) for row in rows]
    return "\n".join(lines)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    """Measure, print, and write the JSON file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scenarios", nargs="+", metavar="SCENARIO")
    parser.add_argument("--tasks", type=int)
    parser.add_argument(
        "--nodes", type=_numbers, default=[None], help="one, or several: 1000,10000"
    )
    parser.add_argument("--out", type=Path, help="a JSON file")
    asked = parser.parse_args()
    sizes = [(name, nodes) for name in asked.scenarios for nodes in asked.nodes]
    rows = [measure(name, asked.tasks, nodes) for name, nodes in sizes]
    print(table(rows))
    for row in rows:
        told = ", ".join(f"{count:,} {name}" for name, count in row["messages"].items())
        print(f"{row['scenario']}: {told}")
    if asked.out:
        about = {"python": platform.python_version(), "simpy": simpy.__version__}
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
