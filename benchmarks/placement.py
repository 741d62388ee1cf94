"""How many placements a second, by policy and number of nodes, cached and fresh.

    python benchmarks/placement.py [--nodes 100,1000,10000] [--policies epvm,best-fit] [--out FILE]
    python benchmarks/placement.py --check 100000 --nodes 1000

Rounds of 100 tasks in random order of 20 shapes, each a service that is spread over nodes; after
each round as many random tasks depart, so that the load stays. `cached` is the placer as it ships,
a placement with its departure; `fresh` is the same decision from nothing by whole NumPy columns,
with `power` (for E-PVM only); `argmin` is one bare argmin over as many scores. Times are medians of
rounds, per placement. With `--mix rich` four of the shapes ask for a host port, a constraint, a GPU
or a share of one. `--check N` compares picks and scores with those of a placer that keeps nothing,
over N random operations.

Times are CPU seconds of the thread, so that other programs disturb less.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cube.fleet import Fleet
from cube.messages import NodeInfo, NodeRow, Question
from cube.placement import Placer
from cube.policies import EpvmPaper, Fgd, Policy, make_policy, policy_names
from cube.spec import Constraint, Demand, GpuNeed, Spread

SHAPES, ROUND, SERVICE_NODES = 20, 100, 40
KINDS = ((16_000, 65_536, 500_000), (32_000, 131_072, 1_000_000),
         (64_000, 262_144, 1_000_000), (8_000, 32_768, 250_000))  # fmt: skip


RICH: dict[int, dict[str, Any]] = {
    3: {"ports": ((8080, "tcp"),)},
    8: {"constraints": (Constraint("node.labels.zone", "!=", "zone-1"),)},
    13: {"gpu": GpuNeed(1)},
    18: {"gpu": GpuNeed(1, 250)},
}

Held = tuple[int, int, tuple[int, ...]]  # row, shape, GPUs


class Bench:
    """A fleet at about half load, and an endless mix of tasks that come and go."""

    def __init__(self, nodes: int, policy: str, mix: str = "plain", seed: int = 1) -> None:
        self.draw = random.Random(seed)
        self.fleet = Fleet()
        for row in range(nodes):
            more: dict[str, Any] = {}
            if mix == "rich":
                gpus = ("T4",) * 4 if row % 10 == 0 else ()
                more = {"labels": (("zone", f"zone-{row % 7}"),), "gpus": gpus}
            info = NodeInfo(f"node-{row}", *KINDS[row % len(KINDS)], **more)
            self.fleet.set_row(NodeRow(row, info, True))
        self.demands = [self._demand(shape, mix) for shape in range(SHAPES)]
        self.placer = Placer(self.fleet, self.new_policy(policy))
        self.live: list[Held] = []
        for _ in range(4 * nodes):
            row, shape = self.draw.randrange(nodes), self.draw.randrange(SHAPES)
            demand = self.demands[shape]
            if self.fleet.fits(row, demand):
                gpus = self.fleet.devices.tightest(row, demand.gpu) if demand.gpu else ()
                self.fleet.take(row, demand, gpus)
                self.live.append((row, shape, gpus))

    def _demand(self, shape: int, mix: str) -> Demand:
        cpu = self.draw.choice([100, 250, 500, 1000, 2000, 4000])
        memory = self.draw.choice([128, 256, 512, 1024, 2048, 4096, 8192])
        disk = self.draw.choice([0, 100, 1000])
        more = RICH.get(shape, {}) if mix == "rich" else {}
        return Demand(cpu, memory, disk, service=f"job/{shape}", spread=Spread(), **more)

    def new_policy(self, name: str) -> Policy:
        """The policy; what FGD would learn is told to it, so that its scores can be kept."""
        made = make_policy(name)
        if isinstance(made, Fgd):
            made.expect(dict.fromkeys(self.demands, 1))
        return made

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

    def leavers(self) -> list[Held]:
        """As many tasks as a round brings, drawn from those that are there."""
        chosen = []
        for _ in range(min(ROUND, len(self.live) - 1)):
            at = self.draw.randrange(len(self.live))
            self.live[at], self.live[-1] = self.live[-1], self.live[at]
            chosen.append(self.live.pop())
        return chosen

    def play(self, questions: Sequence[Question], order: Sequence[int]) -> float:
        """One round and as many departures; the seconds that both took."""
        leaving = [(row, self.demands[shape], gpus) for row, shape, gpus in self.leavers()]
        begun = time.thread_time()
        decisions = self.placer.place(questions, order)
        for row, demand, gpus in leaving:
            self.placer.free(row, demand, gpus)
        seconds = time.thread_time() - begun
        for k, decision in zip(order, decisions, strict=True):
            if decision.row is not None:
                shape = int(questions[k].demand.service.removeprefix("job/"))
                self.live.append((decision.row, shape, decision.gpus))
        return seconds


def twin_of(bench: Bench, name: str) -> Policy:
    """A policy of that name that has kept no scores, but knows what the other has learnt."""
    twin, other = bench.new_policy(name), bench.placer.policy
    if isinstance(twin, EpvmPaper) and isinstance(other, EpvmPaper):
        twin.max_jobs = other.max_jobs
    return twin


def check(bench: Bench, policy: str, operations: int) -> int:
    """How many of so many random operations gave another pick or score than keeping nothing."""
    draw, other, done = bench.draw, 0, 0
    while done < operations:
        questions, order = bench.round()
        for k in order:
            question = Question(questions[k].demand, ("t",), questions[k].present)
            keeps_nothing = Placer(bench.fleet, twin_of(bench, policy), shapes=0)
            expected = keeps_nothing.decide(question.demand, question.present)
            (decision,) = bench.placer.place((question,), (0,))
            same = (decision.row, decision.score) == (expected.row, expected.score)
            other += not same or decision.feasible != expected.feasible
            if decision.row is not None:
                shape = int(question.demand.service.removeprefix("job/"))
                bench.live.append((decision.row, shape, decision.gpus))
            done += 1
            if draw.random() < 0.1:
                row = draw.randrange(len(bench.fleet))
                bench.fleet.set_open(row, not bench.fleet.open[row])
                done += 1
        for row, shape, gpus in bench.leavers():
            bench.placer.free(row, bench.demands[shape], gpus)
            done += 1
    return other


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


def cached_seconds(bench: Bench, rounds: int) -> tuple[float, float]:
    """Median and least time of a placement with its departure, over rounds."""
    bench.play(*bench.round())  # the first round scores every row
    times = [bench.play(*bench.round()) / ROUND for _ in range(rounds)]
    return statistics.median(times), min(times)


def fresh_seconds(bench: Bench, rounds: int) -> tuple[float, int]:
    """Median time of a fresh E-PVM decision, and how often it picked another row than cached."""
    times, other = [], 0
    for _ in range(rounds):
        questions, order = bench.round()
        question = questions[order[0]]
        barred = np.array([row for row, _ in question.present])
        begun = time.thread_time()
        row = fresh_epvm(bench.fleet, question.demand, barred)
        times.append(time.thread_time() - begun)
        cached = bench.placer.decide(question.demand, question.present).row
        other += cached != row
        bench.play(questions, order)
    return statistics.median(times), other


def argmin_seconds(nodes: int) -> float:
    """Median time of a bare argmin over the scores of one of 20 shapes in turn."""
    vectors = np.random.default_rng(1).random((SHAPES, nodes))
    times = []
    for k in range(400):
        begun = time.thread_time()
        vectors[k % SHAPES].argmin()
        times.append(time.thread_time() - begun)
    return statistics.median(times)


def measure(nodes: int, policy: str, mix: str, rounds: int) -> dict[str, Any]:
    """One line of the table."""
    bench = Bench(nodes, policy, mix)
    cached, least = cached_seconds(bench, rounds)
    argmin = argmin_seconds(nodes)
    row: dict[str, Any] = {
        "policy": policy,
        "nodes": nodes,
        "mix": mix,
        "cached_microseconds": round(cached * 1e6, 2),
        "least_microseconds": round(least * 1e6, 2),
        "placements_per_second": round(1 / cached),
        "argmin_microseconds": round(argmin * 1e6, 2),
        "cached_in_argmins": round(cached / argmin, 1),
    }
    if policy == "epvm" and mix == "plain":
        fresh, other = fresh_seconds(bench, min(rounds, 100))
        row |= {
            "fresh_microseconds": round(fresh * 1e6, 2),
            "fresh_to_cached": round(fresh / cached, 1),
            "other_picks": other,
        }
    return row


COLUMNS = (
    ("policy", "policy", 15), ("nodes", "nodes", 7), ("us", "cached_microseconds", 8),
    ("least us", "least_microseconds", 8), ("/s", "placements_per_second", 8),
    ("argmin us", "argmin_microseconds", 9), ("argmins", "cached_in_argmins", 8),
    ("fresh us", "fresh_microseconds", 9), ("fresh/cached", "fresh_to_cached", 12),
)  # fmt: skip


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The results for people."""
    lines = [" ".join(f"{head:>{wide}}" for head, _, wide in COLUMNS)]
    lines += [" ".join(f"{row.get(key, ''):>{wide}}" for _, key, wide in COLUMNS) for row in rows]
    return "\n".join(lines)


def _checked(asked: argparse.Namespace) -> int:
    """1 if any operation differed."""
    differing = 0
    for nodes in asked.nodes.split(","):
        for policy in asked.policies.split(","):
            other = check(Bench(int(nodes), policy, asked.mix), policy, asked.check)
            print(f"{policy:15} {nodes:>7} nodes: {other} of {asked.check} operations differ")
            differing += other
    return int(differing > 0)


def main() -> None:
    """Measure, print, and write the JSON file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", default="100,1000,10000")
    parser.add_argument("--policies", default=",".join(policy_names()))
    parser.add_argument("--rounds", type=int, default=50, help="of 100 tasks each")
    parser.add_argument("--mix", choices=["plain", "rich"], default="plain")
    parser.add_argument("--check", type=int, metavar="N", help="compare N operations instead")
    parser.add_argument("--out", type=Path, help="a JSON file")
    asked = parser.parse_args()
    if asked.check:
        sys.exit(_checked(asked))
    rows = [
        measure(int(nodes), policy, asked.mix, asked.rounds)
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
