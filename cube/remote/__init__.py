"""Messages to and from another machine: a connection that stays, and couriers that use it.

Loses messages as networks do, and never waits for anybody: the protocol repairs. `line` owns one
connection, `courier` what waits to be brought, `versions` who may speak with whom. What a message
means, and who is let in, is decided elsewhere.
"""

from cube.remote.courier import Courier
from cube.remote.line import Line, Refused, Unreachable

__all__ = ["Courier", "Line", "Refused", "Unreachable"]
