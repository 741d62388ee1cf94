"""The same log through Cube, AccaSim and a plain SimPy model: equal waits, and what each costs.

    python benchmarks/peers.py [--jobs 10000] [--loads 0.9,1.5] [--accasim PYTHON] [--out FILE]

A synthetic log in the Standard Workload Format (whole seconds; powers of two up to 16 processors;
log-normal run times) goes through three simulators of 32 machines with 16 cores each: first fit,
first in, first out, nothing takes time but the jobs. Cube runs its whole control plane, every
message of it. Waits are compared job by job. Seconds are of the processor, not of the clock.

AccaSim (`pip install 'cube-orchestrator[peers]'`) is run in a process of its own, by `--accasim`
if its packages are elsewhere. The SimPy model is how one would write it by hand: a process and a
`Store` per machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import simpy

from sim import experiment, traces
from sim.arrivals import MICROS, Arrivals
from sim.cluster import Cluster, NodeGroup
from sim.durations import Durations
from sim.metrics import waits
from sim.scenario import Control, Scenario
from sim.traces import swf
from sim.workload import Shape, StartLatency, Trace, Workload

NODES, CORES = 32, 16
ACCASIM = Path(__file__).with_name("peer_accasim.py")


def log(jobs: int, load: float, path: Path) -> None:
    """Write the synthetic log."""
    workload = Workload(
        tasks=jobs,
        load=load,
        shapes=tuple(Shape(cpu_milli=1000 * 2**k, memory_mib=1) for k in range(5)),
        durations=Durations(mean_seconds=480.0, limit_seconds=20_000.0, sigma=1.2),
        start=StartLatency(least_seconds=0.0, most_seconds=0.0),
    )
    drawn = workload.draw(cluster(), 1)
    drawn.run_micros[:] = np.maximum(drawn.run_micros, MICROS)  # AccaSim has ways of its own with 0
    swf.write(drawn, path)


def cluster() -> Cluster:
    return Cluster(groups=(NodeGroup(count=NODES, cpu_milli=CORES * 1000, memory_mib=1_000_000),))


def by_cube(path: Path) -> tuple[list[float], float]:
    """Seconds waited by each job, and seconds of the processor."""
    scenario = Scenario(
        policies=("first-fit",),
        warm_up=0.0,
        cluster=cluster(),
        workload=Workload(
            arrivals="trace",
            trace=Trace(format="swf", path=str(path)),
            start=StartLatency(least_seconds=0.0, most_seconds=0.0),
        ),
        control=Control(network_seconds=0.0, queue="fifo", reports_per_second=0.001),
    )
    began = time.process_time()
    result = experiment.run(scenario)
    return waits(result.observation).tolist(), time.process_time() - began


def by_accasim(path: Path, python: str) -> tuple[list[float], float]:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [python, str(ACCASIM), str(path), str(NODES), str(CORES), folder],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        found = json.loads((Path(folder) / "accasim.json").read_text())
    return [float(wait) for wait in found["waits"]], found["seconds"]


class Plain:
    """A process and a `Store` per machine, a process per job, and one that dispatches."""

    def __init__(self, jobs: Arrivals) -> None:
        self.env = simpy.Environment()
        self.at = (jobs.at_micros // MICROS).tolist()
        self.run_seconds = (jobs.run_micros // MICROS).tolist()
        self.cores = (jobs.demand[:, 0] // 1000).tolist()
        self.free = [CORES] * NODES
        self.stores = [simpy.Store(self.env) for _ in range(NODES)]
        self.queue: list[int] = []
        self.waits = [0.0] * len(jobs)
        self.changed = self.env.event()
        for node in range(NODES):
            self.env.process(self.machine(node))
        self.env.process(self.arrive())
        self.env.process(self.dispatch())

    def tell(self) -> None:
        if not self.changed.triggered:
            self.changed.succeed()

    def machine(self, node: int) -> Iterator[Any]:
        while True:
            job = yield self.stores[node].get()
            self.env.process(self.job(node, job))

    def job(self, node: int, job: int) -> Iterator[Any]:
        yield self.env.timeout(self.run_seconds[job])
        self.free[node] += self.cores[job]
        self.tell()

    def arrive(self) -> Iterator[Any]:
        job = 0
        while job < len(self.at):
            yield self.env.timeout(self.at[job] - self.env.now)
            while job < len(self.at) and self.at[job] <= self.env.now:
                self.queue.append(job)
                job += 1
            self.tell()

    def dispatch(self) -> Iterator[Any]:
        while True:
            yield self.changed
            yield self.env.timeout(0)  # what else happens now has happened
            self.changed = self.env.event()
            placed = 0
            for job in self.queue:
                node = next((n for n, f in enumerate(self.free) if f >= self.cores[job]), None)
                if node is None:
                    break
                self.free[node] -= self.cores[job]
                self.waits[job] = self.env.now - self.at[job]
                self.stores[node].put(job)
                placed += 1
            del self.queue[:placed]


def by_simpy(path: Path) -> tuple[list[float], float]:
    jobs = traces.read("swf", path)
    began = time.process_time()
    model = Plain(jobs)
    model.env.run()
    return model.waits, time.process_time() - began


def compare(jobs: int, load: float, python: str | None) -> dict[str, Any]:
    """One log through all of them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.swf"
        log(jobs, load, path)
        cube, seconds = by_cube(path)
        plain, simpy_seconds = by_simpy(path)
        line: dict[str, Any] = {
            "jobs": jobs,
            "load": load,
            "mean_wait_seconds": float(np.mean(cube)),
            "cube_seconds": seconds,
            "simpy_seconds": simpy_seconds,
            "simpy_differs": sum(a != b for a, b in zip(cube, plain, strict=True)),
        }
        if python is not None:
            accasim, accasim_seconds = by_accasim(path, python)
            line["accasim_seconds"] = accasim_seconds
            line["accasim_differs"] = sum(a != b for a, b in zip(cube, accasim, strict=True))
            line["cube_to_accasim"] = seconds / accasim_seconds
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--loads", default="0.9,1.5")
    parser.add_argument("--accasim", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--without-accasim", action="store_true")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    python = None if chosen.without_accasim else chosen.accasim
    lines = [compare(chosen.jobs, float(load), python) for load in chosen.loads.split(",")]
    for line in lines:
        print(json.dumps(line, indent=2))
    if chosen.out is not None:
        body = {"python": platform.python_version(), "lines": lines}
        chosen.out.write_text(json.dumps(body, indent=2) + "\n")


if __name__ == "__main__":
    main()
