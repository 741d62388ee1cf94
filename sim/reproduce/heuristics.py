"""The heuristics that the FGD paper compares, as its authors' simulator scores them.

Owns those formulas only: whole scores from 0 to 100, larger is better there, sizes over those of
the largest machine, memory only a filter. Source: github.com/hkust-adsl/
kubernetes-scheduler-simulator, `pkg/simulator/plugin`; Weng et al., USENIX ATC 2023.
"""

from __future__ import annotations

import numpy as np

from cube.fleet import Fleet, Floats, Rows
from cube.policies import policy
from cube.policies.turns import Random
from cube.spec import Demand

MOST_CPU_MILLI = 128_000  # of the largest machine
MOST_GPU_MILLI = 8_000


@policy(row_local=True)
def best_fit(fleet: Fleet, task: Demand, rows: Rows) -> Floats:
    """100 * (1 - (CPU left / 128000 / 2 + GPU left / 8000 / 2)), as a whole number."""
    cpu = (fleet.cpu_free_milli[rows] - task.cpu_milli) / MOST_CPU_MILLI
    gpu = (fleet.gpu_free_milli[rows] - task.gpu_milli) / MOST_GPU_MILLI
    return -np.trunc((1.0 - (cpu * 0.5 + gpu * 0.5)) * 100)


@policy(row_local=True)
def dot_product(fleet: Fleet, task: Demand, rows: Rows) -> Floats:
    """100 * (1 - (CPU free * CPU need + GPU free * GPU need) / 2): the least aligned node."""
    cpu = fleet.cpu_free_milli[rows] / MOST_CPU_MILLI * (task.cpu_milli / MOST_CPU_MILLI)
    gpu = fleet.gpu_free_milli[rows] / MOST_GPU_MILLI * (task.gpu_milli / MOST_GPU_MILLI)
    return -np.trunc(100 * (1.0 - (cpu + gpu) / 2))


class AnyDevice(Random):
    """Any node that fits, and any device of it that fits."""

    def gpus(self, fleet: Fleet, row: int, demand: Demand) -> tuple[int, ...]:
        """Each device draws; whole ones are all alike."""
        if demand.gpu is None or demand.gpu.count > 1:
            return super().gpus(fleet, row, demand)
        fitting = fleet.devices.fitting(row, demand.gpu)
        drawn = self.draw(np.array(fitting) + 8 * row + 8 * len(fleet))
        return (fitting[int(drawn.argmin())],)
