"""What simulated machines do beyond running tasks for their time; all of it is off by default.

Owns the descriptions. The models are `sim.sharing`, `sim.images`; the engine that uses them is
`sim.engine`; failures are brought about by `sim.simulation`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from sim.description import Description, Positive
from sim.streams import Streams


class Failures(Description):
    """Machines fail and are repaired, each on its own; times between are exponential.

    What ran on a failed machine is gone, and so are its containers and images.
    """

    mean_up_seconds: Positive = 86_400.0
    mean_down_seconds: Positive = 600.0

    def periods(self, streams: Streams, node: str) -> Iterator[tuple[float, float]]:
        """When `node` fails and is back, in seconds from the start: the same in every run."""
        draw = streams.generator("machine", node)
        now = 0.0
        while True:
            down = now + float(draw.standard_exponential()) * self.mean_up_seconds
            now = down + float(draw.standard_exponential()) * self.mean_down_seconds
            yield down, now


class Machine(Description):
    """How machines behave when tasks use what they use, and not what they reserved.

    `cpu`: `reserved` lets every task run for its time; `shared` makes all slower by the same
    factor once they want more than there is. `memory`: `reserved` never runs out; with `thrash`
    everything takes `thrash_factor` times as long while it is short; with `kill` those that exceed
    their reservations most are killed (exit code 137) until the rest fits.
    """

    cpu: Literal["reserved", "shared"] = "reserved"
    memory: Literal["reserved", "thrash", "kill"] = "reserved"
    thrash_factor: Annotated[float, Field(strict=True, ge=1, le=1e6)] = 10.0

    @property
    def is_plain(self) -> bool:
        """Does every task run for its time?"""
        return self.cpu == self.memory == "reserved"
