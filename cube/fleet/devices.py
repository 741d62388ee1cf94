"""GPUs: how much of each device is free, on which row, and of which model it is.

Owns the thousandths of every device; `take` and `give` are exact inverses on integers. Which of
the devices that fit a task gets is a policy's choice; `tightest` is what most of them want. Rows
without GPUs cost nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cube.fleet.arrays import Ints, Mask, Rows
from cube.spec import WHOLE_GPU_MILLI, GpuNeed

NO_DEVICE = 0  # the number of a model that is none


class Devices:
    """Free thousandths by row and device number.

    The tables are as wide as the row with most devices. A device that a row lacks has nothing
    free (less than nothing if a task was found to hold it), so that no need fits there.
    """

    def __init__(self) -> None:
        self._free = np.zeros((0, 0), np.int64)
        self._model = np.zeros((0, 0), np.intp)  # the model's number; NO_DEVICE where there is none
        self._models: dict[str, int] = {}
        self._have: dict[int, tuple[str, ...]] = {}  # models by row, for rows that ever had any;
        # an empty model is a device that others use

    # --- reading -------------------------------------------------------------------------

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that a row has or had, in the order of their numbers, which begin at 1."""
        return tuple(self._models)

    def free_at(self, rows: Rows) -> Ints:
        """Free thousandths, shape (len(rows), devices)."""
        self._reach(rows)
        return self._free.take(rows, axis=0)

    def models_at(self, rows: Rows) -> Rows:
        """Numbers of models, shape (len(rows), devices); 0 where there is no device."""
        self._reach(rows)
        return self._model.take(rows, axis=0)

    def free_of(self, row: int) -> list[int]:
        """Free thousandths of each of the row's devices."""
        return self._free[row].tolist() if row in self._have else []

    def used_of(self, row: int) -> tuple[int, ...]:
        """Used thousandths by device number, without zeros at the end."""
        if row not in self._have:
            return ()
        used = (self._sizes(row) - self._free[row]).tolist()
        while used and not used[-1]:
            used.pop()
        return tuple(used)

    def suitable(self, need: GpuNeed, rows: Rows) -> Mask:
        """Have the rows as many devices of the models that will do? Shape (len(rows),)."""
        enough: Mask = np.count_nonzero(self._allowed(need, rows), axis=1) >= need.count
        return enough

    def fit(self, need: GpuNeed, rows: Rows) -> Mask:
        """Do the devices that are needed fit on the rows now? Shape (len(rows),)."""
        enough: Mask = np.count_nonzero(self.fits_at(need, rows), axis=1) >= need.count
        return enough

    def fits_at(self, need: GpuNeed, rows: Rows) -> Mask:
        """On which devices of the rows does the need fit now? Shape (len(rows), devices)."""
        fits: Mask = (self.free_at(rows) >= need.milli) & self._allowed(need, rows)
        return fits

    def best(self, need: GpuNeed, rows: Rows) -> Ints:
        """How near each row comes, in thousandths, shape (len(rows),).

        Of whole devices those that are free altogether; of a share the most free on one device.
        """
        free = np.where(self._allowed(need, rows), self.free_at(rows), 0)
        if need.milli == WHOLE_GPU_MILLI:
            free = np.where(free == WHOLE_GPU_MILLI, free, 0)
            near: Ints = free.sum(axis=1)
        else:
            near = free.max(axis=1, initial=0)
        return near

    def fitting(self, row: int, need: GpuNeed) -> list[int]:
        """The row's devices that the need fits on now, in order."""
        have = self._have.get(row, ())
        free = self.free_of(row)
        return [
            device
            for device, model in enumerate(have)
            if model and free[device] >= need.milli and model in (need.models or (model,))
        ]

    def tightest(self, row: int, need: GpuNeed) -> tuple[int, ...]:
        """The devices with least free that fit, lowest number first among equals; sorted."""
        free = self.free_of(row)
        chosen = sorted(self.fitting(row, need), key=free.__getitem__)[: need.count]
        return tuple(sorted(chosen))

    def places(self, row: int, need: GpuNeed) -> int:
        """How many tasks of that need fit on the row now."""
        free = self.free_of(row)
        return sum(free[d] // need.milli for d in self.fitting(row, need)) // need.count

    def _allowed(self, need: GpuNeed, rows: Rows) -> Mask:
        there = self.models_at(rows)
        if not need.models:
            return np.not_equal(there, NO_DEVICE)
        return np.isin(there, [self._models.get(model, -1) for model in need.models])

    # --- writing -------------------------------------------------------------------------

    def learn(self, row: int, models: tuple[str, ...]) -> None:
        """The row has these devices from now on; what is held of them stays held."""
        if models == self._have.get(row, ()):
            return
        self._reach(row, len(models))
        used = self._sizes(row) - self._free[row]
        self._have[row] = models
        self._free[row] = self._sizes(row) - used
        self._model[row] = NO_DEVICE
        for device, model in enumerate(models):
            if model:
                self._model[row, device] = self._models.setdefault(model, len(self._models) + 1)

    def take(self, row: int, milli: int, devices: Sequence[int]) -> None:
        """A task holds `milli` of each of these devices. Whether it fits is not asked."""
        self._reach(row, max(devices, default=-1) + 1)
        self._have.setdefault(row, ())
        for device in devices:
            self._free[row, device] -= milli

    def give(self, row: int, milli: int, devices: Sequence[int]) -> None:
        """The exact inverse of `take`."""
        for device in devices:
            self._free[row, device] += milli
        assert (self._free[row] <= self._sizes(row)).all(), (
            f"row {row} was given back more of GPUs {tuple(devices)} than was taken"
        )

    def replace(self, row: int, used: Sequence[int]) -> None:
        """Exactly this much is used of the row's devices."""
        self._reach(row, len(used))
        self._have.setdefault(row, ())
        self._free[row] = self._sizes(row)
        self._free[row, : len(used)] -= np.asarray(used, np.int64)

    def _sizes(self, row: int) -> Ints:
        """What the row has of each device, shape (devices,)."""
        sizes = np.zeros(self._free.shape[1], np.int64)
        for device, model in enumerate(self._have.get(row, ())):
            sizes[device] = WHOLE_GPU_MILLI if model else 0
        return sizes

    def _reach(self, rows: Rows | int, devices: int = 0) -> None:
        """Make the tables large enough."""
        have_rows, have_devices = self._free.shape
        most = rows + 1 if isinstance(rows, int) else int(rows.max(initial=-1)) + 1
        if most <= have_rows and devices <= have_devices:
            return
        shape = (
            have_rows if most <= have_rows else max(16, 2 * most),
            max(have_devices, devices),
        )
        free, model = np.zeros(shape, np.int64), np.zeros(shape, np.intp)
        free[:have_rows, :have_devices] = self._free
        model[:have_rows, :have_devices] = self._model
        self._free, self._model = free, model
