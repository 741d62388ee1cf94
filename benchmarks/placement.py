"""How many placements a second, by policy and number of nodes, cached and fresh.

    python benchmarks/placement.py [--nodes 100,1000,10000] [--policies epvm,best-fit] [--out FILE]

Rounds of 100 tasks in random order of 20 shapes, each a service that is spread over nodes; after
each round as many random tasks depart, so that the load stays. `cached` is the placer as it ships;
`fresh` is the same decision from nothing by whole NumPy columns, with `power` (for E-PVM only);
`argmin` is one bare argmin over as many scores. Times are medians of rounds, per placement. The
picks of cached and fresh are compared on the way.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cube.fleet import Fleet
from cube.messages import NodeInfo, NodeRow, Question
from cube.placement import Placer
from cube.policies import make_policy, policy_names
from cube.spec import Demand, Spread

SHAPES, ROUND, SERVICE_NODES = 20, 100, 40
KINDS = ((16_000, 65_536, 500_000), (32_000, 131_072, 1_000_000),
         (64_000, 262_144, 1_000_000), (8_000, 32_768, 250_000))  # fmt: skip


class Bench:
    """A fleet at about half load, and an endless mix of tasks that come and go."""

    def __init__(self, nodes: int, policy: str, seed: int = 1) -> None:
        self.draw = random.Random(seed)
        self.fleet = Fleet()
        for row in range(nodes):
            info = NodeInfo(f"node-{row}", *KINDS[row % len(KINDS)])
            self.fleet.set_row(NodeRow(row, info, True))
        self.demands = [self._demand(shape) for shape in range(SHAPES)]
        self.placer = Placer(self.fleet, make_policy(policy))
        self.live: list[tuple[int, int]] = []  # row and shape
        self.held: list[Counter[int]] = [Counter() for _ in range(SHAPES)]
        for _ in range(4 * nodes):
            row, shape = self.draw.randrange(nodes), self.draw.randrange(SHAPES)
            if self.fleet.fits(row, self.demands[shape]):
                self.fleet.take(row, self.demands[shape])
                self.live.append((row, shape))

    def _demand(self, shape: int) -> Demand:
        cpu = self.draw.choice([100, 250, 500, 1000, 2000, 4000])
        memory = self.draw.choice([128, 256, 512, 1024, 2048, 4096, 8192])
        disk = self.draw.choice([0, 100, 1000])
        return Demand(cpu, memory, disk, service=f"job/{shape}", spread=Spread())

    def round(self) -> tuple[tuple[Question, ...], tuple[int, ...]]:
        """A round's questions; each service has instances on some nodes already."""
        shapes = [self.draw.randrange(SHAPES) for _ in range(ROUND)]
        count = Counter(shapes)
        asked = sorted(count)
        questions = tuple(
            Question(
                self.demands[shape],
                tuple(str(i) for i in range(count[shape])),
                tuple((self.draw.randrange(len(self.fleet)), 1) for _ in range(SERVICE_NODES)),
            )
            for shape in asked
        )
        return questions, tuple(asked.index(shape) for shape in shapes)

    def play(self, questions: Sequence[Question], order: Sequence[int]) -> tuple[int | None, ...]:
        """One round and as many departures; the rows picked."""
        decisions = self.placer.place(questions, order)
        for k, decision in zip(order, decisions, strict=True):
            if decision.row is not None:
                shape = int(questions[k].demand.service.removeprefix("job/"))
                self.live.append((decision.row, shape))
        for _ in range(min(ROUND, len(self.live) - 1)):
            at = self.draw.randrange(len(self.live))
            self.live[at], self.live[-1] = self.live[-1], self.live[at]
            row, shape = self.live.pop()
            self.placer.free(row, self.demands[shape])
        return tuple(decision.row for decision in decisions)


def fresh_epvm(fleet: Fleet, demand: Demand, barred: np.ndarray[Any, Any]) -> int:
    """E-PVM from nothing: the row, by whole columns."""
    n, cost = float(len(fleet)), np.zeros(len(fleet))
    fits = fleet.open
    for need, size, free in (
        (demand.cpu_milli, fleet.cpu_milli, fleet.cpu_free_milli),
        (demand.memory_mib, fleet.memory_mib, fleet.memory_free_mib),
        (demand.disk_mib, fleet.disk_mib, fleet.disk_free_mib),
    ):
        fits = fits & (free >= need)
        used = size - free
        cost += np.power(n, used / size) * (np.power(n, need / size) - 1)
    cost[~fits] = np.inf
    cost[barred] = np.inf
    return int(cost.argmin())


def cached_seconds(bench: Bench, rounds: int) -> float:
    """Median time of a placement with its departure."""
    bench.play(*bench.round())  # the first round scores every row
    times = []
    for _ in range(rounds):
        asked = bench.round()
        begun = time.perf_counter()
        bench.play(*asked)
        times.append(time.perf_counter() - begun)
    return statistics.median(times) / ROUND


def fresh_seconds(bench: Bench, rounds: int) -> tuple[float, int]:
    """Median time of a fresh E-PVM decision, and how often it picked another row than cached."""
    times, other = [], 0
    for _ in range(rounds):
        questions, order = bench.round()
        question = questions[order[0]]
        barred = np.array([row for row, _ in question.present])
        begun = time.perf_counter()
        row = fresh_epvm(bench.fleet, question.demand, barred)
        times.append(time.perf_counter() - begun)
        cached = bench.placer.decide(question.demand, question.present).row
        other += cached != row
        bench.play(questions, order)
    return statistics.median(times), other


def argmin_seconds(nodes: int) -> float:
    """Median time of a bare argmin over the scores of one of 20 shapes in turn."""
    vectors = np.random.default_rng(1).random((SHAPES, nodes))
    times = []
    for k in range(400):
        begun = time.perf_counter()
        vectors[k % SHAPES].argmin()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def measure(nodes: int, policy: str, rounds: int) -> dict[str, Any]:
    """One line of the table."""
    bench = Bench(nodes, policy)
    cached = cached_seconds(bench, rounds)
    argmin = argmin_seconds(nodes)
    row: dict[str, Any] = {
        "policy": policy,
        "nodes": nodes,
        "cached_microseconds": round(cached * 1e6, 2),
        "placements_per_second": round(1 / cached),
        "argmin_microseconds": round(argmin * 1e6, 2),
        "cached_in_argmins": round(cached / argmin, 1),
    }
    if policy == "epvm":
        fresh, other = fresh_seconds(bench, min(rounds, 100))
        row |= {
            "fresh_microseconds": round(fresh * 1e6, 2),
            "fresh_to_cached": round(fresh / cached, 1),
            "other_picks": other,
        }
    return row


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The results for people."""
    head = f"{'policy':12} {'nodes':>7} {'us':>8} {'/s':>8} {'argmin us':>10} {'argmins':>8}"
    lines = [f"{head} {'fresh us':>9} {'fresh/cached':>13}"]
    for row in rows:
        fresh, ratio = row.get("fresh_microseconds", ""), row.get("fresh_to_cached", "")
        lines.append(
            f"{row['policy']:12} {row['nodes']:7} {row['cached_microseconds']:8} "
            f"{row['placements_per_second']:8} {row['argmin_microseconds']:10} "
            f"{row['cached_in_argmins']:8} {fresh:>9} {ratio:>13}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the JSON file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", default="100,1000,10000")
    parser.add_argument("--policies", default=",".join(policy_names()))
    parser.add_argument("--rounds", type=int, default=50, help="of 100 tasks each")
    parser.add_argument("--out", type=Path, help="a JSON file")
    asked = parser.parse_args()
    rows = [
        measure(int(nodes), policy, asked.rounds)
        for nodes in asked.nodes.split(",")
        for policy in asked.policies.split(",")
    ]
    print(table(rows))
    if asked.out:
        about = {"python": platform.python_version(), "numpy": np.__version__}
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
