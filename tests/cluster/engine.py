"""A Docker engine on a machine of a box, and what it holds: the truth that tests go by.

As /run is the machine's own, dockerd runs with its usual paths: nothing of the outside's engine is
seen or touched. Its containers' control groups are below one of the box's own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from docker.api.client import APIClient

from cube.engine.docker import names
from tests.cluster.machine import ROOT, START_SECONDS, Machine, MachineError

NAME = "dockerd"
IMAGE_SCRIPT = ROOT / "tests/engine/busybox_image.sh"


@dataclass(frozen=True, order=True)
class Container:
    """A line of `docker ps`."""

    task: str  # `shop/web/1`
    attempt: int
    restart: int
    id: str
    state: str  # running, exited, created, ...


class Engine:
    """`dockerd` on a machine."""

    def __init__(self, machine: Machine, cgroup: str) -> None:
        self._machine = machine
        self._cgroup = cgroup

    @property
    def url(self) -> str:
        """Where it listens, for us outside; on its machine it is Docker's default."""
        return f"unix://{self._machine.run_path}/docker.sock"

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            MachineError: it does not come up.
        """
        settings = self._machine.directory / "daemon.json"
        settings.write_text(
            json.dumps(
                {
                    "data-root": str(self._machine.directory / "docker"),
                    "exec-opts": ["native.cgroupdriver=cgroupfs"],
                    "cgroup-parent": self._cgroup,
                }
            )
        )
        told = self._machine.run_path / "notify"
        told.unlink(missing_ok=True)
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as notified:
            notified.bind(str(told))
            notified.settimeout(START_SECONDS)
            argv = ["dockerd", f"--config-file={settings}"]
            self._machine.start(NAME, *argv, NOTIFY_SOCKET="/run/notify")
            try:
                while notified.recv(1024) != b"READY=1":
                    pass
            except TimeoutError:
                said = self._machine.log_path(NAME).read_text().splitlines()[-3:]
                raise MachineError("dockerd does not come up: " + " ".join(said)) from None

    def end(self, number: signal.Signals) -> None:
        """SIGTERM stops its containers in good order; SIGKILL leaves them running."""
        self._machine.signal(NAME, number)

    def load_busybox(self) -> None:
        """Give it the image busybox:latest.

        Raises:
            MachineError: it cannot be made.
        """
        env = {**os.environ, "DOCKER_HOST": self.url}
        done = subprocess.run([IMAGE_SCRIPT], env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MachineError(done.stderr.strip())

    def containers(self, *, all: bool = False) -> list[Container]:
        """Cube's, running or `all`, by task."""
        with closing(self.api()) as api:
            found = api.containers(all=all, filters={"label": [names.CLUSTER]})
        return sorted(_container(raw) for raw in found)

    def answers(self) -> bool:
        """Does it listen? (Docker's client leaves a socket open where nobody does.)"""
        with closing(socket.socket(socket.AF_UNIX)) as probe:
            return probe.connect_ex(self.url.removeprefix("unix://")) == 0

    def api(self) -> APIClient:
        """A client of it; close it."""
        return APIClient(base_url=self.url, version="auto", timeout=10)


def _container(raw: dict[str, object]) -> Container:
    labels = raw["Labels"]
    assert isinstance(labels, dict)
    key = names.key_of(labels)
    assert key is not None, f"not a container of Cube's: {labels}"
    task = key.uid.rpartition("@")[0]
    return Container(task, key.attempt, key.restart, str(raw["Id"])[:12], str(raw["State"]))


def remove_cgroups(name: str) -> None:
    """Remove the control groups that engines of a box left, in every hierarchy."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mounted, kind, *_ = line.split()
        if kind not in ("cgroup", "cgroup2"):
            continue
        for directory, _, _ in os.walk(mounted + name, topdown=False):
            os.rmdir(directory)
