"""Makes a core again from what a recording says it was made from.

Owns the way from an actor's name to its core; used by replays, which must get exactly the core that
was recorded.
"""

from __future__ import annotations

from typing import Any

from cube.actor import Core
from cube.engine.simulated import SimulatedEngine
from cube.manager import Manager, ManagerOptions
from cube.messages import MANAGER, SCHEDULER
from cube.policies import make_policy
from cube.scheduler import Scheduler
from cube.worker import Worker


def revive(name: str, birth: dict[str, Any]) -> Core:
    """The core of the actor `name`, as `birth()` described it.

    Raises:
        ValueError: no core has such a name.
    """
    if name == MANAGER:
        return Manager(birth["cluster"], birth["saved"], ManagerOptions(**birth["options"]))
    if name == SCHEDULER:
        return Scheduler(make_policy(birth["policy"]))
    kind, _, _ = name.partition("/")
    if kind == "worker":
        return Worker(**birth)
    if kind == "engine":
        return SimulatedEngine(**birth)
    raise ValueError(f"no core is called {name}")
