"""The fault simulator: the production control plane under everything that can go wrong.

`run_seed` carries out one run: a scenario and a seed decide all of it. In its first phase faults
strike and safety must hold at every moment; then all is healed and the cluster must settle within
the time that the protocol promises. What is checked is recomputed from what the engines truly run,
never taken from the manager's word alone.
"""

from sim.faults.ordeal import Outcome, run_seed
from sim.faults.scenario import FaultScenario, named, read

__all__ = ["FaultScenario", "Outcome", "named", "read", "run_seed"]
