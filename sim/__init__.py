"""The simulation: the same control plane on virtual time.

    import sim

    cluster = sim.Cluster.of(big=(20, "64c 256GiB"), small=(180, "16c 64GiB"))
    work = sim.Workload.poisson(tasks=20_000, load=0.85)
    trial = sim.compare(cluster, work, policies=["epvm", "round-robin"], seeds=range(1, 11))
    trial.table("wait_seconds.p95")
    trial.plot("utilisation", "figure.pdf", width_inches=3.3)

Importing this package loads nothing else; names are fetched when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cube.policies import policy as policy
    from sim.api import compare as compare
    from sim.api import run as run
    from sim.api import sweep as sweep
    from sim.cluster import Cluster as Cluster
    from sim.cluster import NodeGroup as NodeGroup
    from sim.comparison import Comparison as Comparison
    from sim.durations import Durations as Durations
    from sim.errors import InputError as InputError
    from sim.errors import SimulationError as SimulationError
    from sim.metrics import Window as Window
    from sim.metrics import metric as metric
    from sim.packing import pack as pack
    from sim.results import RunResult as RunResult
    from sim.scenario import Scenario as Scenario
    from sim.surface import Surface as Surface
    from sim.workload import Shape as Shape
    from sim.workload import Workload as Workload

_HOMES = {
    "policy": "cube.policies",
    "compare": "sim.api",
    "run": "sim.api",
    "sweep": "sim.api",
    "Cluster": "sim.cluster",
    "NodeGroup": "sim.cluster",
    "Comparison": "sim.comparison",
    "Durations": "sim.durations",
    "InputError": "sim.errors",
    "SimulationError": "sim.errors",
    "Window": "sim.metrics",
    "metric": "sim.metrics",
    "pack": "sim.packing",
    "RunResult": "sim.results",
    "Scenario": "sim.scenario",
    "Surface": "sim.surface",
    "Shape": "sim.workload",
    "Workload": "sim.workload",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sim' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
