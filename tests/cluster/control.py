"""Cube itself on the machines of a box: its manager and workers as users start them.

Owns their command lines and their life; says nothing about what they should do.
"""

from __future__ import annotations

import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cube.client import Client, ClientError
from cube.engine.docker import names
from cube.spec import JobSpec
from tests.cluster.box import MANAGER, Box
from tests.cluster.engine import Container
from tests.cluster.machine import MachineError
from tests.cluster.watch import Watch

WORKER = "worker"
START_SECONDS = 30.0
TRY_SECONDS = 0.05
STATE = ".local/state/cube"  # below a home
STATE_MIB = 32
LABELLED = f"label={names.CLUSTER}"
KINDS = {"ps --all": "rm --force", "network ls": "network rm", "volume ls": "volume rm"}


class Control:
    """A manager and a worker on each node of a box, and what was asked of them."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.wanted: dict[str, JobSpec] = {}  # the jobs that the manager accepted, by name
        self.watch = Watch(box)

    @property
    def state_dir(self) -> Path:
        """The manager's."""
        return self.box.manager.home / STATE

    def read_state(self, name: str) -> str:
        """A file of the manager's state, which may be mounted on its machine only."""
        return Path(f"/proc/{self.box.manager.pid}/root{self.state_dir}/{name}").read_text()

    def start(self) -> None:
        """Start all, and wait until every node takes tasks."""
        self.start_manager()
        self.start_workers(*self.box.nodes, join=self.join_options())
        self.watch.until(lambda: self.alive() == set(self.box.nodes))

    def join_options(self) -> list[str]:
        """Of the newest line that the manager told to paste."""
        told = re.findall(
            r"cube worker (--join .*)", self.box.manager.log_path(MANAGER).read_text()
        )
        return str(told[-1]).split()

    def stop(self) -> None:
        """End all of it; what runs stays."""
        self.watch.close()
        for name, machine in self.box.machines.items():
            daemon = WORKER if name in self.box.nodes else MANAGER
            if machine.daemon(daemon) is not None:
                machine.signal(daemon, signal.SIGKILL)

    def start_manager(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            MachineError: it does not.
        """
        listen = ("--listen", "0.0.0.0:7460", "--advertise", MANAGER)
        self.box.manager.start(MANAGER, "cube", "manager", *listen)
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            if time.monotonic() > end:
                raise MachineError(self.box.manager.log_path(MANAGER).read_text())
            time.sleep(TRY_SECONDS)

    def kill_manager(self) -> None:
        """As kill -9 does."""
        self.box.manager.signal(MANAGER, signal.SIGKILL)

    def start_workers(self, *nodes: str, join: Sequence[str] = ()) -> None:
        """Start the workers of nodes, and wait until they serve; `join`: options of the first time.

        Raises:
            MachineError: one does not.
        """
        served = {node: self._times_served(node) for node in nodes}
        for node in nodes:
            self.box.nodes[node].start(WORKER, "cube", "worker", *join)
        end = time.monotonic() + START_SECONDS
        while waiting := [n for n in nodes if self._times_served(n) == served[n]]:
            if time.monotonic() > end or self.box.nodes[waiting[0]].daemon(WORKER) is None:
                raise MachineError(self.box.nodes[waiting[0]].log_path(WORKER).read_text())
            time.sleep(TRY_SECONDS)

    def _times_served(self, node: str) -> int:
        log = self.box.nodes[node].log_path(WORKER)
        return log.read_text().count("serves its manager") if log.exists() else 0

    def kill_worker(self, name: str) -> None:
        """As kill -9 does."""
        self.box.nodes[name].signal(WORKER, signal.SIGKILL)

    # --- as a user ---

    def client(self) -> Client:
        """An operator's, from outside the box. Close it."""
        token = self.read_state("token").strip()
        authority = self.read_state("ca.crt")
        return Client(f"https://{self.box.address(MANAGER)}:7460", token, authority)

    def answers(self) -> bool:
        """Does the manager?"""
        try:
            with self.client() as client:
                client.health()
        except (ClientError, OSError):
            return False
        return True

    def alive(self) -> set[str]:
        """The nodes that the manager says are."""
        with self.client() as client:
            return {node["name"] for node in client.nodes() if node["state"] == "alive"}

    def submit(self, job: JobSpec, **options: Any) -> None:
        """Have a job run from now on."""
        with self.client() as client:
            client.submit(job, **options)
        self.wanted[job.name] = job

    # --- as docker ps has it ---

    def expected(self) -> list[str]:
        """The tasks that should run, each once."""
        return sorted(
            f"{job.name}/{service.name}/{i + 1}"
            for job in self.wanted.values()
            for service in job.services
            for i in range(service.instances)
        )

    def on(self, node: str) -> list[Container]:
        """What runs on a node."""
        return self.box.engines[node].containers()

    def is_settled(self) -> bool:
        """Does exactly the wanted set run, each once?"""
        running = [c.task for found in self.box.containers().values() for c in found]
        return sorted(running) == self.expected()

    def settle(self, seconds: float = 60.0) -> float:
        """Wait until it is settled; the seconds that it took.

        Raises:
            AssertionError: it does not settle in time.
        """
        try:
            return self.watch.until(self.is_settled, seconds)
        except AssertionError as error:
            running = Counter(c.task for found in self.box.containers().values() for c in found)
            wanted = Counter(self.expected())
            text = f"missing {wanted - running}, too many {running - wanted}; {self._trouble()}"
            raise AssertionError(text) from error

    def _trouble(self) -> list[str]:
        with self.client() as client:
            tasks = [t for t in client.tasks() if t["state"] != "running"]
            told = [f"{t['id']} {t['state']} on {t['node']} ({t['reason']})" for t in tasks]
            return told + [f"{n['name']} {n['state']} {n['note']}" for n in client.nodes()]

    def ids(self) -> dict[str, str]:
        """The container of each task that runs; to be asked when it is settled."""
        return {c.task: c.id for found in self.box.containers().values() for c in found}

    def wipe(self) -> None:
        """Take away all that it ever made on the machines."""
        self.box.manager.run("umount", str(self.state_dir))
        for machine in self.box.machines.values():
            shutil.rmtree(machine.home / ".local", ignore_errors=True)
        for machine in self.box.nodes.values():
            for kind, remove in KINDS.items():
                found = machine.run("docker", *kind.split(), "--quiet", "--filter", LABELLED)
                if made := found.stdout.split():
                    machine.run("docker", *remove.split(), *made)


@contextmanager
def controlled(box: Box) -> Iterator[Control]:
    """A cluster on a box that has none, with little room for its state; nothing of it stays."""
    made = Control(box)
    made.state_dir.mkdir(parents=True)
    size = f"size={STATE_MIB}m"
    box.manager.run("mount", "-t", "tmpfs", "-o", size, "state", str(made.state_dir))
    try:
        made.start()
        yield made
    finally:
        made.stop()
        made.wipe()
