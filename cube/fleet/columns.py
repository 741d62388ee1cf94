"""The numbers of a fleet: int64 columns with one cell per row, which grow but never move.

Owns the arrays. Everybody may read columns; only `Fleet` writes cells.
"""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from cube.fleet.arrays import Ints, Mask, Rows

RESOURCES: Final = ("cpu", "memory", "disk")  # milli-cores, MiB, MiB: the order of all triples
CPU, MEMORY, DISK = range(3)
OPEN: Final = 3  # the fourth column of the table `room`
GPU: Final = 3  # the fourth column of the table `size`
_FIRST_CAPACITY = 16
_SIZE, _ROOM, _COUNTS = range(3)

_Int = TypeVar("_Int", bound=np.generic)


def _grown(table: Ints, more: int) -> Ints:
    return np.concatenate([table, np.zeros((more, table.shape[1]), np.int64)])


def _read_only(table: NDArray[_Int]) -> NDArray[_Int]:
    view = table.view()
    view.flags.writeable = False
    return view


class Columns:
    """Capacity and use of every row. All columns have shape (rows,).

    Columns are read-only views that show later changes as long as no row is added. In memory the
    cells of a row lie together, since placement reads rows here and there. Cells are read and
    written through memoryviews of the same arrays, which takes half the time of NumPy's scalars.
    """

    def __init__(self) -> None:
        self.count = 0  # of rows
        self._size = np.zeros((0, 4), np.int64)  # CPU, memory, disk, GPU
        self._room = np.zeros((0, 4), np.int64)  # free CPU, memory, disk; 1 where open
        self._counts = np.zeros((0, 3), np.int64)  # tasks, measured CPU load, free GPU
        self._kind = np.zeros(0, np.intp)
        self._kinds: dict[tuple[int, int, int, int], int] = {}
        self._grow(_FIRST_CAPACITY)

    def _grow(self, more: int) -> None:
        self._size = _grown(self._size, more)
        self._room = _grown(self._room, more)
        self._counts = _grown(self._counts, more)
        self._kind = np.concatenate([self._kind, np.zeros(more, np.intp)])
        self._cpu, self._memory, self._disk, self._open = [column.data for column in self._room.T]
        self._tasks, self._load, self._gpu = [column.data for column in self._counts.T]
        self._size_cells = tuple(column.data for column in self._size.T)
        self._shown = tuple(map(_read_only, (self._size, self._room, self._counts)))
        self._shown_kind = _read_only(self._kind)

    def __len__(self) -> int:
        return self.count

    @property
    def capacity(self) -> int:
        """Rows that there is room for before the columns are made anew."""
        return len(self._kind)

    @property
    def cpu_milli(self) -> Ints:
        """CPU that tasks may use."""
        return self._view(_SIZE, CPU)

    @property
    def memory_mib(self) -> Ints:
        """Memory that tasks may use."""
        return self._view(_SIZE, MEMORY)

    @property
    def disk_mib(self) -> Ints:
        """Disk that tasks may use."""
        return self._view(_SIZE, DISK)

    @property
    def cpu_free_milli(self) -> Ints:
        """CPU not yet used; negative where more was promised than there is."""
        return self._view(_ROOM, CPU)

    @property
    def memory_free_mib(self) -> Ints:
        """Memory not yet used."""
        return self._view(_ROOM, MEMORY)

    @property
    def disk_free_mib(self) -> Ints:
        """Disk not yet used."""
        return self._view(_ROOM, DISK)

    @property
    def gpu_milli(self) -> Ints:
        """GPUs that tasks may use, in thousandths of a device."""
        return self._view(_SIZE, GPU)

    @property
    def gpu_free_milli(self) -> Ints:
        """Thousandths not yet used, over all devices of the row."""
        return self._view(_COUNTS, 2)

    @property
    def cpu_used_milli(self) -> Ints:
        """CPU that placed tasks count for (a copy)."""
        return self.cpu_milli - self.cpu_free_milli

    @property
    def memory_used_mib(self) -> Ints:
        """Memory that placed tasks count for (a copy)."""
        return self.memory_mib - self.memory_free_mib

    @property
    def disk_used_mib(self) -> Ints:
        """Disk that placed tasks count for (a copy)."""
        return self.disk_mib - self.disk_free_mib

    @property
    def gpu_used_milli(self) -> Ints:
        """Thousandths of GPUs that placed tasks count for (a copy)."""
        return self.gpu_milli - self.gpu_free_milli

    @property
    def tasks(self) -> Ints:
        """Tasks that hold resources of the row."""
        return self._view(_COUNTS, 0)

    @property
    def cpu_load_milli(self) -> Ints:
        """Measured CPU load."""
        return self._view(_COUNTS, 1)

    @property
    def open(self) -> Mask:
        """Whether the row may take new tasks (a copy)."""
        return self._view(_ROOM, OPEN).astype(np.bool_)

    @property
    def kind(self) -> Rows:
        """Which of `kinds` the row's capacity is."""
        return self._shown_kind[: self.count]

    @property
    def kinds(self) -> list[tuple[int, int, int, int]]:
        """The different capacities that rows have or had, as (cpu, memory, disk, gpu)."""
        return list(self._kinds)

    @property
    def kind_count(self) -> int:
        """How many different capacities rows have or had."""
        return len(self._kinds)

    def kind_at(self, rows: Rows) -> Rows:
        """Which of `kinds` the capacities of `rows` are; same shape."""
        return self._kind.take(rows)

    @property
    def free_cells(self) -> tuple[memoryview, memoryview, memoryview, memoryview]:
        """Free CPU, memory, disk and GPU by cell, for loops; good while `capacity` is."""
        return self._cpu, self._memory, self._disk, self._gpu

    @property
    def size_cells(self) -> tuple[memoryview, ...]:
        """The same of capacities."""
        return self._size_cells

    @property
    def free_columns(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Free CPU, memory, disk and GPU."""
        return self.cpu_free_milli, self.memory_free_mib, self.disk_free_mib, self.gpu_free_milli

    @property
    def size_columns(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Capacities of CPU, memory, disk and GPU."""
        return self.cpu_milli, self.memory_mib, self.disk_mib, self.gpu_milli

    def size_at(self, rows: Rows) -> Ints:
        """Capacity of CPU, memory, disk and GPU, shape (len(rows), 4)."""
        return self._size.take(rows, axis=0)

    def room_at(self, rows: Rows) -> Ints:
        """Free CPU, memory, disk and, as a fourth, 1 where open; shape (len(rows), 4).

        A task fits where this is at least (cpu, memory, disk, 1).
        """
        return self._room.take(rows, axis=0)

    def _view(self, table: int, column: int) -> Ints:
        return self._shown[table][: self.count, column]
