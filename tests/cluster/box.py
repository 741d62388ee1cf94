"""A box: machines with engines, one without for the manager, and the switch between them.

Owns the names and the order in which things start and end. Everything that a box makes carries its
number; a lock, which no crash can leave behind, says whether a number is in use. Whoever takes a
number first removes what an earlier owner left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cluster.engine import Container, Engine, remove_cgroups
from tests.cluster.machine import Machine, MachineError
from tests.cluster.switch import Switch

DIRECTORY = Path("/var/lib/cube-box")
MANAGER = "manager"
USERS = 0  # the number of the box that users try; tests take others
PROGRAMS = ("dockerd", "docker", "ip", "nsenter", "unshare", "setsid", "busybox")


def why_not() -> str:
    """Why there can be no box here; "" if there can."""
    if os.getuid() != 0:
        return "only root can make a cluster in a box"
    for program in PROGRAMS:
        if shutil.which(program) is None:
            return f"{program} is not installed here"
    return ""


class Box:
    """`nodes` machines with an engine, and the manager's machine."""

    def __init__(self, number: int = USERS, nodes: int = 3) -> None:
        self.number = number
        self.directory = DIRECTORY / str(number)
        self.cgroup = f"/cube-box{number}"
        self.manager = Machine(self.directory / MANAGER)
        names = [f"node-{i + 1}" for i in range(nodes)]
        self.nodes = {name: Machine(self.directory / name) for name in names}
        self.engines = {
            name: Engine(machine, f"{self.cgroup}/{name}") for name, machine in self.nodes.items()
        }
        self.machines = {MANAGER: self.manager, **self.nodes}
        self._places = {name: place for place, name in enumerate(self.machines)}
        self._switch_machine = Machine(self.directory / "switch")
        self._switch = Switch(self._switch_machine, number)

    def address(self, name: str) -> str:
        """Of a machine. Machines also know one another by name."""
        return self._switch.address(self._places[name])

    @property
    def is_up(self) -> bool:
        """Does it run? (In whichever process it was started.)"""
        return self._switch_machine.pid is not None

    def up(self) -> None:
        """Start it all, each machine beside the others; nothing stays if that fails.

        Raises:
            MachineError: something does not start.
        """
        self.down()
        self.directory.mkdir(parents=True)
        hosts = [f"{self.address(name)} {name}" for name in self.machines]
        (self.directory / "hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts, ""]))
        try:
            self._switch.start()
            with ThreadPoolExecutor() as threads:
                list(threads.map(self.power_on, self.machines))
                list(threads.map(Engine.load_busybox, self.engines.values()))
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """End it all and remove every trace, also of a box of this number that another made."""
        for machine in self.machines.values():
            machine.power_off()
        if self.directory.exists():
            for directory in self.directory.iterdir():  # it may have had more machines than we
                Machine(directory).power_off()
        self._switch.stop()
        remove_cgroups(self.cgroup)
        with suppress(FileNotFoundError):
            shutil.rmtree(self.directory)

    # --- what befalls machines ---

    def power_on(self, name: str) -> None:
        """Boot a machine, with its engine if it has one."""
        machine = self.machines[name]
        machine.power_on()
        self._switch.plug(machine, self._places[name])
        if name in self.engines:
            self.engines[name].start()

    def power_off(self, name: str) -> None:
        """Pull its plug."""
        self.machines[name].power_off()

    def cut(self, name: str) -> None:
        """Pull its network cable."""
        self._switch.cut(self.machines[name])

    def mend(self, name: str) -> None:
        """Put its network cable back."""
        self._switch.mend(self.machines[name])

    def restart_engine(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a machine's engine by a signal and start it again."""
        self.engines[name].end(number)
        self.engines[name].start()

    def containers(self) -> dict[str, list[Container]]:
        """What runs on each machine whose engine can be asked, as `docker ps` has it there."""
        engines = self.engines.items()
        return {name: engine.containers() for name, engine in engines if engine.answers()}


@contextmanager
def own_box(nodes: int = 3) -> Iterator[Box]:
    """A box of the first number that nobody uses, gone afterwards.

    Raises:
        MachineError: it does not start, or there is no number left.
    """
    for number in range(USERS + 1, 256):
        with Path(f"/run/cube-box{number}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            box = Box(number, nodes)
            box.up()
            try:
                yield box
            finally:
                box.down()
            return
    raise MachineError("every number is in use")
