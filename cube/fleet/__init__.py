"""The nodes as NumPy columns, one row per node. Rows never move.

Owns what each node has, what of it is used, and who holds which host port and GPU; `take` and
`give` are exact inverses on integers. It never decides where anything goes.
"""

from __future__ import annotations

from collections.abc import Sequence

from cube.fleet.arrays import Floats, Ints, Mask, Rows
from cube.fleet.attributes import LACKING, Attributes, Column, attribute_of
from cube.fleet.changes import Changes
from cube.fleet.columns import GPU, RESOURCES, Columns
from cube.fleet.devices import NO_DEVICE, Devices
from cube.fleet.ports import HostPorts, Port
from cube.messages import NodeInfo, NodeRow
from cube.spec import WHOLE_GPU_MILLI, Constraint, Demand, GpuNeed

__all__ = [
    "GPU",
    "LACKING",
    "NO_DEVICE",
    "RESOURCES",
    "Column",
    "Devices",
    "Fleet",
    "Floats",
    "Ints",
    "Mask",
    "Port",
    "Rows",
    "satisfies",
    "suits",
]

_REMEMBERED = 1024  # changes, at least


def satisfies(info: NodeInfo, constraint: Constraint) -> bool:
    """Does the node meet the constraint? One that lacks the label meets only `!=`."""
    equal = attribute_of(info, constraint.attribute) == constraint.value
    return equal == (constraint.operator == "==")


def suits(info: NodeInfo, demand: Demand) -> bool:
    """Is the node what `demand` asks for, whatever is free on it now?"""
    return (
        (demand.node is None or demand.node == info.name)
        and (not demand.datacenters or info.datacenter in demand.datacenters)
        and all(satisfies(info, constraint) for constraint in demand.constraints)
    )


class Fleet(Columns):
    """Every node's capacity, use, labels and ports. See `Columns` for the columns."""

    def __init__(self) -> None:
        super().__init__()
        self._infos: list[NodeInfo] = []
        self._row: dict[str, int] = {}
        self._ports = HostPorts()
        self.devices = Devices()  # GPUs; written by the fleet alone
        self._attributes = Attributes(self._infos)
        self._changes = Changes(_REMEMBERED)

    # --- reading -------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """Rises with every change of a row."""
        return self._changes.revision

    @property
    def names(self) -> list[str]:
        """The nodes' names, by row (a copy)."""
        return [info.name for info in self._infos]

    def row_of(self, name: str) -> int | None:
        """The row of the node of that name, or None."""
        return self._row.get(name)

    def info(self, row: int) -> NodeInfo:
        """What the node of this row is."""
        return self._infos[row]

    def node_row(self, row: int) -> NodeRow:
        """The row in absolute values."""
        cpu, memory, disk = self.used_of(row)
        info, is_open = self._infos[row], self._open[row] != 0
        tasks, load, ports = self._tasks[row], self._load[row], self._ports.held(row)
        gpus = self.devices.used_of(row)
        return NodeRow(row, info, is_open, cpu, memory, disk, tasks, load, ports, gpus)

    def used_of(self, row: int) -> tuple[int, int, int]:
        """What is used of the row's CPU, memory and disk."""
        info = self._infos[row]
        return (
            info.cpu_milli - self._cpu[row],
            info.memory_mib - self._memory[row],
            info.disk_mib - self._disk[row],
        )

    def tasks_of(self, row: int) -> int:
        """How many tasks hold resources of the row."""
        return self._tasks[row]

    def changed_since(self, revision: int) -> tuple[NodeRow, ...]:
        """The rows changed after `revision`, by row; every row for 0 or a revision long past."""
        changed = self._changes.since(revision) if revision else None
        rows = range(len(self)) if changed is None else sorted(set(changed.tolist()))
        return tuple(self.node_row(row) for row in rows)

    def rows_since(self, revision: int) -> Rows | None:
        """The rows changed after `revision`, with repeats; None: look at all of them."""
        return self._changes.since(revision)

    def column(self, attribute: str) -> Column:
        """Values of `node.name`, `node.datacenter`, `node.labels.KEY`, ... as numbers."""
        return self._attributes.column(attribute)

    def sharing_host(self, row: int) -> Sequence[int]:
        """The rows on the host of `row`, itself included: they share its host ports."""
        return self._ports.neighbours(row)

    def blocked_by(self, port: Port) -> list[int]:
        """The rows on whose host `port` is in use."""
        return self._ports.blocked(port)

    def fits(self, row: int, demand: Demand, gpus: tuple[int, ...] | None = None) -> bool:
        """May a task of `demand` be placed on this row now, its own service left aside?

        Looks at everything that one node decides: open, CPU, memory, disk, host ports, GPUs (any
        that fit, or exactly those that `gpus` numbers), the node it is tied to, datacenters and
        constraints.
        """
        return self._open[row] != 0 and self.has_room(row, demand, gpus)

    def has_room(self, row: int, demand: Demand, gpus: tuple[int, ...] | None = None) -> bool:
        """Would it fit, whether the row takes new tasks or not?"""
        return (
            self._cpu[row] >= demand.cpu_milli
            and self._memory[row] >= demand.memory_mib
            and self._disk[row] >= demand.disk_mib
            and (not demand.ports or self._ports.free(row, demand.ports))
            and (demand.gpu is None or self._devices_fit(row, demand.gpu, gpus))
            and suits(self._infos[row], demand)
        )

    def _devices_fit(self, row: int, need: GpuNeed, gpus: tuple[int, ...] | None) -> bool:
        fitting = self.devices.fitting(row, need)
        if gpus is None:
            return len(fitting) >= need.count
        return len(gpus) == len(set(gpus)) == need.count and set(gpus) <= set(fitting)

    # --- writing -------------------------------------------------------------------------

    def set_row(self, row: NodeRow) -> None:
        """Insert the row (the next one) or replace it. A row that is equal is no change."""
        i = row.row
        assert 0 <= i <= len(self), f"row {i} leaves a gap after {len(self)} rows"
        known = i < len(self)
        if known and self._shows(row):
            return
        info = row.info
        if not known or info != self._infos[i]:
            self._learn(i, info)
        self._cpu[i] = info.cpu_milli - row.cpu_used_milli
        self._memory[i] = info.memory_mib - row.memory_used_mib
        self._disk[i] = info.disk_mib - row.disk_used_mib
        self._open[i] = row.open
        self._tasks[i] = row.tasks
        self._load[i] = row.cpu_load_milli
        if row.gpu_used_milli != self.devices.used_of(i):
            self.devices.replace(i, row.gpu_used_milli)
        self._gpu[i] = self._size_cells[GPU][i] - sum(row.gpu_used_milli)
        if row.ports != self._ports.held(i):
            self._ports.replace(i, row.ports)
            self._note_host(i)
        else:
            self._changes.note(i)

    def _shows(self, row: NodeRow) -> bool:
        """Is the row what we have already? Compared cell by cell: rounds repeat many rows."""
        i, info = row.row, row.info
        return (
            (info is self._infos[i] or info == self._infos[i])
            and self._cpu[i] == info.cpu_milli - row.cpu_used_milli
            and self._memory[i] == info.memory_mib - row.memory_used_mib
            and self._disk[i] == info.disk_mib - row.disk_used_mib
            and self._open[i] == row.open
            and self._tasks[i] == row.tasks
            and self._load[i] == row.cpu_load_milli
            and self._ports.held(i) == row.ports
            and self.devices.used_of(i) == row.gpu_used_milli
        )

    def _learn(self, row: int, info: NodeInfo) -> None:
        """The row (known, or the next one) is the node `info`."""
        if row == self.capacity:
            self._grow(self.capacity)
            self._changes.remember(max(_REMEMBERED, self.capacity))
        if row == len(self):
            self._infos.append(info)
            self.count += 1
        else:
            del self._row[self._infos[row].name]
            self._infos[row] = info
        assert self._row.get(info.name, row) == row, f"two rows are named {info.name}"
        self._row[info.name] = row
        gpu = WHOLE_GPU_MILLI * sum(map(bool, info.gpus))
        size = (info.cpu_milli, info.memory_mib, info.disk_mib, gpu)
        self._size[row] = size
        self._kind[row] = self._kinds.setdefault(size, len(self._kinds))
        self._ports.settle(row, info.host or f"node {info.name}")
        self._attributes.learn(row, info)
        self.devices.learn(row, info.gpus)

    def _note_host(self, row: int) -> None:
        """Ports changed: whoever shares the host may fit differently now."""
        for neighbour in self._ports.neighbours(row):
            self._changes.note(neighbour)

    def touch(self, row: int) -> None:
        """Count the row as changed, so that it is told again."""
        self._changes.note(row)

    def take(self, row: int, demand: Demand, gpus: tuple[int, ...] = ()) -> None:
        """A task of `demand` holds its resources on this row from now on, and these GPUs.

        Whether it fits is not asked: what is found running may exceed what there is.
        """
        self._cpu[row] -= demand.cpu_milli
        self._memory[row] -= demand.memory_mib
        self._disk[row] -= demand.disk_mib
        self._tasks[row] += 1
        if gpus:
            assert demand.gpu is not None, f"GPUs {gpus} for a task that needs none"
            self.devices.take(row, demand.gpu.milli, gpus)
            self._gpu[row] -= len(gpus) * demand.gpu.milli
        if demand.ports:
            self._ports.take(row, demand.ports)
            self._note_host(row)
        else:
            self._changes.note(row)

    def give(self, row: int, demand: Demand, gpus: tuple[int, ...] = ()) -> None:
        """The exact inverse of `take`."""
        self._cpu[row] += demand.cpu_milli
        self._memory[row] += demand.memory_mib
        self._disk[row] += demand.disk_mib
        self._tasks[row] -= 1
        if gpus:
            assert demand.gpu is not None, f"GPUs {gpus} of a task that needs none"
            self.devices.give(row, demand.gpu.milli, gpus)
            self._gpu[row] += len(gpus) * demand.gpu.milli
        assert min(self._tasks[row], *self.used_of(row)) >= 0, (
            f"{self._infos[row].name} was given back more than was taken"
        )
        if demand.ports:
            self._ports.give(row, demand.ports)
            self._note_host(row)
        else:
            self._changes.note(row)

    def set_open(self, row: int, is_open: bool) -> None:
        """May the row take new tasks?"""
        if (self._open[row] != 0) != is_open:
            self._open[row] = is_open
            self._changes.note(row)

    def set_load(self, row: int, cpu_load_milli: int) -> None:
        """The row's measured CPU load."""
        if self._load[row] != cpu_load_milli:
            self._load[row] = cpu_load_milli
            self._changes.note(row)
