"""The questions: which nodes drain, fail or join, which services are scaled, which policy decides.

Owns how they are written on a command line. What follows from them is the control plane's business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice

from cube.messages import NodeInfo, Snapshot
from cube.units import mib, parse_bytes, parse_cpus
from cube.views.show import natural
from sim.errors import InputError

USUAL = (4000, 8192, 65536, "dc1")  # of new nodes, where there are none to compare with
ADD_REMEDY = "Write K, or K:cpu=4,memory=16G,disk=100G."


@dataclass(frozen=True, slots=True)
class NewNodes:
    """So many equal nodes; a size that is None is that of most nodes."""

    count: int
    cpu_milli: int | None = None
    memory_mib: int | None = None
    disk_mib: int | None = None
    datacenter: str | None = None
    labels: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> NewNodes:
        """Read `2`, or `2:cpu=4,memory=16G,disk=100G,datacenter=dc2,label.zone=b`.

        Raises:
            InputError: it is not of that form.
        """
        number, _, rest = text.partition(":")
        if not (number.isdecimal() and 1 <= int(number) <= 10_000):
            raise InputError(f"'{text}' is no number of new nodes", ADD_REMEDY)
        sizes: dict[str, int] = {}
        datacenter, labels = None, []
        for part in filter(None, rest.split(",")):
            name, equals, value = part.partition("=")
            if not equals or not value:
                raise InputError(f"'{part}' says nothing about new nodes", ADD_REMEDY)
            if name == "datacenter":
                datacenter = value
            elif name.startswith("label."):
                labels.append((name.removeprefix("label."), value))
            else:
                sizes |= _size(name, value)
        return cls(int(number), **sizes, datacenter=datacenter, labels=tuple(labels))

    def infos(self, snapshot: Snapshot) -> list[NodeInfo]:
        """What these nodes would tell of themselves; they have names that nobody has."""
        known = [row.info for row in snapshot.rows]
        kinds = Counter((i.cpu_milli, i.memory_mib, i.disk_mib, i.datacenter) for i in known)
        cpu, memory, disk, datacenter = max(kinds, key=kinds.__getitem__, default=USUAL)
        taken = {info.name for info in known}
        free = (name for n in count(1) if (name := f"new-{n}") not in taken)
        return [
            NodeInfo(
                name,
                cpu if self.cpu_milli is None else self.cpu_milli,
                memory if self.memory_mib is None else self.memory_mib,
                disk if self.disk_mib is None else self.disk_mib,
                datacenter=self.datacenter or datacenter,
                labels=self.labels,
            )
            for name in islice(free, self.count)
        ]


def _size(name: str, value: str) -> dict[str, int]:
    try:
        if name == "cpu":
            return {"cpu_milli": parse_cpus(value)}
        if name in ("memory", "disk"):
            return {f"{name}_mib": mib(parse_bytes(value))}
    except ValueError as error:
        raise InputError(f"'{name}={value}' is no size", f"{error}.") from None
    raise InputError(f"nodes have no '{name}'", ADD_REMEDY)


@dataclass(frozen=True, slots=True)
class Scaling:
    """A service is to have so many instances."""

    job: str
    service: str
    instances: int

    @classmethod
    def parse(cls, text: str) -> Scaling:
        """Read `JOB/SERVICE=N`.

        Raises:
            InputError: it is not of that form.
        """
        target, _, number = text.partition("=")
        job, _, service = target.partition("/")
        if not (job and service and number.isdecimal()) or "/" in service:
            raise InputError(
                f"'{text}' is no number of instances", "Write JOB/SERVICE=N, as in shop/web=3."
            )
        return cls(job, service, int(number))


@dataclass(frozen=True, slots=True)
class Changes:
    """All that is tried at once; nothing at all is a question, too."""

    drain: tuple[str, ...] = ()
    deadline_seconds: float | None = None  # of the drains
    fail: tuple[str, ...] = ()
    add: tuple[NewNodes, ...] = ()
    scale: tuple[Scaling, ...] = ()
    policy: str = ""  # empty: the cluster's own

    def described(self) -> list[str]:
        """Each of them, for people."""
        late = "" if self.deadline_seconds is None else f" within {self.deadline_seconds:g} s"
        texts = [f"add {_count(new.count, 'node')}" for new in self.add]
        texts += [f"{node} fails" for node in self.fail]
        texts += [f"scale {s.job}/{s.service} to {s.instances}" for s in self.scale]
        texts += [f"drain {node}{late}" for node in self.drain]
        return texts + ([f"policy {self.policy}"] if self.policy else [])

    def check(self, snapshot: Snapshot) -> None:
        """See that they make sense for that cluster.

        Raises:
            InputError: there is no node of that name, or nothing to which the deadline belongs.
        """
        if self.deadline_seconds is not None and not self.drain:
            raise InputError("a deadline is one of drains", "Name a node with --drain.")
        known = sorted((node.name for node in snapshot.nodes), key=natural)
        for name in (*self.drain, *self.fail):
            if name not in known:
                shown = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
                raise InputError(f"there is no node {name}", f"Known are: {shown}.")


def names(texts: Sequence[str]) -> tuple[str, ...]:
    """Names between commas, each once, in the order given."""
    return tuple(dict.fromkeys(n for text in texts for n in map(str.strip, text.split(",")) if n))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
