"""Host ports: who holds which, on which host.

Nodes of one host share its ports. Owns the counts; never decides who may have a port: what is
running already may collide, so a port can be held twice and is free only when nobody holds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Port: TypeAlias = tuple[int, str]  # number and protocol


class HostPorts:
    """Host ports in use, by row and by host."""

    def __init__(self) -> None:
        self._host: list[str] = []  # of each row
        self._rows: dict[str, list[int]] = {}  # of each host
        self._held: dict[int, list[Port]] = {}  # by each row that holds any
        self._users: dict[Port, Counter[str]] = {}  # hosts on which a port is held, and how often

    def settle(self, row: int, host: str) -> None:
        """Row `row` (known, or the next one) is on `host`."""
        if row == len(self._host):
            self._host.append(host)
        elif self._host[row] == host:
            return
        else:
            held = self.held(row)
            self.replace(row, ())
            self._rows[self._host[row]].remove(row)
            self._host[row] = host
            self.replace(row, held)
        self._rows.setdefault(host, []).append(row)

    def held(self, row: int) -> tuple[Port, ...]:
        """The ports that tasks of this row hold, in order."""
        return tuple(sorted(self._held.get(row, ())))

    def neighbours(self, row: int) -> Sequence[int]:
        """All rows on the host of `row`, itself included."""
        return self._rows[self._host[row]]

    def free(self, row: int, ports: Iterable[Port]) -> bool:
        """Does nobody on the row's host hold any of `ports`?"""
        host = self._host[row]
        return not any(host in self._users.get(port, ()) for port in ports)

    def blocked(self, port: Port) -> list[int]:
        """The rows on which `port` is not free."""
        return [row for host in self._users.get(port, ()) for row in self._rows[host]]

    def take(self, row: int, ports: Iterable[Port]) -> None:
        """A task of this row holds `ports` from now on."""
        host = self._host[row]
        for port in ports:
            self._held.setdefault(row, []).append(port)
            self._users.setdefault(port, Counter())[host] += 1

    def give(self, row: int, ports: Iterable[Port]) -> None:
        """The exact inverse of `take`."""
        host = self._host[row]
        for port in ports:
            held = self._held.get(row, [])
            assert port in held, f"row {row} gives back port {port}, which it does not hold"
            held.remove(port)
            if not held:
                del self._held[row]
            users = self._users[port]
            users[host] -= 1
            if not users[host]:
                del users[host]
            if not users:
                del self._users[port]

    def replace(self, row: int, ports: Iterable[Port]) -> None:
        """The row holds exactly `ports`."""
        self.give(row, self.held(row))
        self.take(row, ports)
