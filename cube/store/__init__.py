"""What must survive: jobs, tasks, events, volumes, what was answered, decided of nodes, let in.

A store takes records, all or none, and gives the latest of each back. `SqliteStore` is durable,
`MemoryStore` has the same semantics for the simulator and for tests. A store never decides
anything and never looks inside a record beyond its key, its revision and whether it has ended.
"""

from cube.store.contract import KEPT, Kept, Store, StoreError, StoreLocked
from cube.store.copies import Checked, check, copy, opened
from cube.store.lock import FileLock
from cube.store.memory import MemoryStore
from cube.store.sqlite import SqliteStore

__all__ = [
    "KEPT",
    "Checked",
    "FileLock",
    "Kept",
    "MemoryStore",
    "SqliteStore",
    "Store",
    "StoreError",
    "StoreLocked",
    "check",
    "copy",
    "opened",
]
