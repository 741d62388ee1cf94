"""Which machines a simulated cluster has. Describes; starts nothing."""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from cube.messages import NodeInfo
from sim.description import Count, Description, Positive, Whole
from sim.errors import InputError

RESOURCES = ("cpu_milli", "memory_mib", "disk_mib")

_SIZE = re.compile(r"(\d+(?:\.\d+)?)c\s+(\d+(?:\.\d+)?)\s*([GT])iB", re.IGNORECASE)


class Hardware(NamedTuple):
    """What a machine has, whatever may be reserved of it."""

    cpu_milli: int
    memory_mib: int
    speed: float  # relative to the cores that run times mean


class NodeGroup(Description):
    """`count` equal nodes, named `name-1`, `name-2`, ... Sizes are what tasks may reserve.

    `real_*` are felt where `[machine]` says so: what there truly is, if it is not what may be
    reserved (0: it is). `speed` is that of the cores, relative to those that run times mean.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")] = "node"
    count: Count = 1000
    cpu_milli: Count = 8_000
    memory_mib: Count = 32_768
    disk_mib: Whole = 0
    real_cpu_milli: Whole = 0
    real_memory_mib: Whole = 0
    speed: Positive = 1.0

    @property
    def hardware(self) -> Hardware:
        """What there truly is."""
        return Hardware(
            self.real_cpu_milli or self.cpu_milli,
            self.real_memory_mib or self.memory_mib,
            self.speed,
        )


class Cluster(Description):
    """Groups of nodes; the fleet's rows follow their order."""

    groups: Annotated[tuple[NodeGroup, ...], Field(min_length=1)] = (NodeGroup(),)

    @model_validator(mode="after")
    def _names_differ(self) -> Cluster:
        names = [group.name for group in self.groups]
        if len(set(names)) < len(names):
            raise ValueError("two groups of nodes have the same name")
        return self

    @classmethod
    def of(cls, **groups: tuple[int, str]) -> Cluster:
        """Build from `name=(count, "64c 256GiB")`.

        Raises:
            InputError: a size is not of that form, a count makes no sense, or there is no group.
        """
        made = []
        for name, (count, size) in groups.items():
            match = _SIZE.fullmatch(size.strip())
            if match is None:
                raise InputError(f"'{size}' is no node size", "Write it as in '64c 256GiB'.")
            cores, memory, unit = match.groups()
            mib = round(float(memory) * (1024 if unit.upper() == "G" else 1024 * 1024))
            made.append(
                NodeGroup().but(
                    name=name.replace("_", "-"),
                    count=count,
                    cpu_milli=round(float(cores) * 1000),
                    memory_mib=mib,
                )
            )
        cluster: Cluster = cls().but(groups=tuple(made))
        return cluster

    @property
    def count(self) -> int:
        """Nodes altogether."""
        return sum(group.count for group in self.groups)

    def scaled(self, nodes: int) -> Cluster:
        """As many nodes as asked for, in the same proportions, at least one of each group.

        Raises:
            InputError: fewer nodes than groups.
        """
        if nodes < len(self.groups):
            raise InputError(
                f"{nodes} nodes cannot hold {len(self.groups)} groups of nodes",
                f"Ask for at least {len(self.groups)}.",
            )
        rest = nodes - len(self.groups)
        shares = [rest * group.count / self.count for group in self.groups]
        counts = [1 + int(share) for share in shares]
        by_remainder = sorted(range(len(shares)), key=lambda i: int(shares[i]) - shares[i])
        for i in by_remainder[: nodes - sum(counts)]:
            counts[i] += 1
        groups = zip(self.groups, counts, strict=True)
        return Cluster(groups=tuple(g.model_copy(update={"count": n}) for g, n in groups))

    def nodes(self) -> tuple[NodeInfo, ...]:
        """What each simulated worker says of its node, in row order."""
        return tuple(
            NodeInfo(f"{group.name}-{i}", group.cpu_milli, group.memory_mib, group.disk_mib)
            for group in self.groups
            for i in range(1, group.count + 1)
        )

    def hardware(self) -> tuple[Hardware, ...]:
        """What the machines truly have, in row order."""
        return tuple(group.hardware for group in self.groups for _ in range(group.count))

    def capacity(self) -> NDArray[np.int64]:
        """Int64[nodes, 3]: milli-cores, MiB of memory, MiB of disk per row."""
        sizes = [[getattr(group, resource) for resource in RESOURCES] for group in self.groups]
        counts = [group.count for group in self.groups]
        return np.repeat(np.array(sizes, dtype=np.int64), counts, axis=0)
