"""Cube itself on the machines of a box: its manager and workers as users start them.

Owns their command lines and their life; says nothing about what they should do.
"""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path
from typing import Any

from cube.client import Client, ClientError
from cube.spec import JobSpec
from tests.cluster.box import MANAGER, Box
from tests.cluster.engine import Container
from tests.cluster.machine import MachineError
from tests.cluster.watch import Watch

WORKER = "worker"
START_SECONDS = 30.0
TRY_SECONDS = 0.05
STATE = ".local/state/cube"  # below a home


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
        greeting = self.box.manager.log_path(MANAGER).read_text()
        join = re.search(r"cube worker (--join .*)", greeting)
        assert join is not None, greeting
        for name in self.box.nodes:
            self.start_worker(name, *join[1].split())
        self.watch.until(lambda: self.alive() == set(self.box.nodes))

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

    def start_worker(self, name: str, *join: str) -> None:
        """Start a node's worker; `join` are the options of its first start."""
        self.box.nodes[name].start(WORKER, "cube", "worker", *join)

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

    def ids(self) -> dict[str, str]:
        """The container of each task that runs; to be asked when it is settled."""
        return {c.task: c.id for found in self.box.containers().values() for c in found}
