"""The network of a box: one switch, a cable to each machine and one to the outside.

The bridge is on a machine of its own: the outside's firewall rules and engine never see it. Nothing
is routed: machines reach one another and the outside's one address, and no further. Nobody else
names or numbers what is here.
"""

from __future__ import annotations

import subprocess

from tests.cluster.machine import Machine, MachineError

OUTSIDE = 1  # the last byte of our own address
FIRST = 10  # of the first machine's


class Switch:
    """`number` (0 to 255) is the box's; it makes network and names unique."""

    def __init__(self, machine: Machine, number: int) -> None:
        self._machine = machine
        self._number = number
        self._link = f"cube-box{number}"

    def address(self, place: int) -> str:
        """Of the machine at a place; 198.18.0.0/15 is nobody's (RFC 2544)."""
        return f"198.18.{self._number}.{FIRST + place}"

    def start(self) -> None:
        """Boot, and connect the outside."""
        self._machine.power_on()
        self._ip("link", "add", "bridge", "type", "bridge")
        self._ip("link", "set", "bridge", "up")
        _ip("link", "add", self._link, "type", "veth", "peer", "outside", "netns", self._pid)
        self._ip("link", "set", "outside", "master", "bridge", "up")
        _ip("address", "add", f"198.18.{self._number}.{OUTSIDE}/24", "dev", self._link)
        _ip("link", "set", self._link, "up")

    def stop(self) -> None:
        """Take all cables away, at once where the kernel would take its time."""
        self._machine.power_off()
        _ip("link", "delete", self._link, check=False)

    def plug(self, machine: Machine, place: int) -> None:
        """Connect a machine that has just got power."""
        self._ip("link", "delete", machine.name, check=False)  # of its last life
        peer = ("peer", "eth0", "netns", str(machine.pid))
        self._ip("link", "add", machine.name, "type", "veth", *peer)
        self._ip("link", "set", machine.name, "master", "bridge", "up")
        machine.run("ip", "address", "add", f"{self.address(place)}/24", "dev", "eth0")
        machine.run("ip", "link", "set", "eth0", "up")

    def cut(self, machine: Machine) -> None:
        """Pull its cable: nobody is told, packets just vanish."""
        self._ip("link", "set", machine.name, "down")

    def mend(self, machine: Machine) -> None:
        """Put its cable back."""
        self._ip("link", "set", machine.name, "up")

    @property
    def _pid(self) -> str:
        return str(self._machine.pid)

    def _ip(self, *args: str, check: bool = True) -> None:
        """On the switch, but with the outside's numbers of processes."""
        _run(self._machine.inside("ip", *args, namespaces=("--net",)), check)


def _ip(*args: str, check: bool = True) -> None:
    _run(["ip", *args], check)


def _run(argv: list[str], check: bool) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise MachineError(f"{' '.join(argv)}: {done.stderr.strip()}")
