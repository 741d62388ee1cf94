"""A cluster's state as a file that can be handed on: what there is, where it runs, what it takes.

Owns the file's form and its version. `hiding` takes out what is secret, `times` reads from the
history how long services take to start and to stop. It never changes a cluster: who simulates one
from such a file is `sim.whatif`.
"""

from cube.snapshot.form import VERSION, SnapshotError, State, read, write
from cube.snapshot.times import Times, measured

__all__ = ["VERSION", "SnapshotError", "State", "Times", "measured", "read", "write"]
