"""Names of services for containers on other machines: the manager's word, answered as DNS.

On one machine the engine resolves a job's services by itself. What it does not know its containers
ask here: a responder listens on the gateway of each job's network. Owns what a name stands for.
Knows neither engines nor how the manager is asked.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from cube.naming.names import Names
from cube.naming.responder import Responder
from cube.naming.upstream import upstream

__all__ = ["NameService", "Names", "OffersNames", "Responder", "upstream"]


class NameService(Protocol):
    """What an engine needs in order to have its containers find services elsewhere."""

    def serve(self, gateway: str, job: str) -> bool:
        """Answer what containers of `job` ask at `gateway`. False: that cannot be done."""

    def settle(self, gateways: Mapping[str, str]) -> None:
        """Those are all that there are, with their jobs."""


@runtime_checkable
class OffersNames(Protocol):
    """An engine whose containers can ask."""

    def offer_names(self, names: NameService) -> None:
        """Have containers ask there, also those that run already."""
