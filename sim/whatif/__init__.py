"""What would happen if: the production control plane on a real cluster's state, in virtual time.

`seed` builds the simulated world from a snapshot, `engine` stands in for its machines, `changes`
are the questions, `trial` lets time pass until nothing happens any more, `comparing` holds after
against before, `outcome` is what it finds, `showing` tells people.
"""

from sim.whatif.changes import Changes
from sim.whatif.outcome import Outcome
from sim.whatif.trial import what_if

__all__ = ["Changes", "Outcome", "what_if"]
