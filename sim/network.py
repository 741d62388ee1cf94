"""What the network does to messages between machines: loss, delay, copies, cut links.

Owns who can reach whom. Every link has a generator of its own, so what happens to the messages of
one link does not depend on how many others there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from sim.description import Description, Seconds, Share


class Weather(Description):
    """How bad the network is. Delays are in seconds, shares are of all messages."""

    loss: Share = 0.0
    duplicates: Share = 0.0
    late: Share = 0.0  # so many take up to `late_seconds`, and may be overtaken by others
    late_seconds: Seconds = 0.0
    delay_seconds: Seconds = 0.0005  # of all others


@dataclass(slots=True)
class Network:
    """The links between machines, in whatever state they are in now."""

    seed: int
    weather: Weather
    calm: bool = False  # healed: nothing is lost, late or copied any more
    cut: dict[tuple[str, str], int] = field(default_factory=dict)  # (from, to): cuts in force
    slow: dict[str, float] = field(default_factory=dict)  # machine: seconds more on its links
    lost: int = 0
    copied: int = 0
    delayed: int = 0
    _links: dict[tuple[str, str], Random] = field(default_factory=dict)

    def sever(self, sender: str, to: str) -> None:
        """Cut one direction of a link; cuts add up."""
        self.cut[sender, to] = self.cut.get((sender, to), 0) + 1

    def mend(self, sender: str, to: str) -> None:
        """Undo one cut."""
        left = self.cut.get((sender, to), 0) - 1
        if left > 0:
            self.cut[sender, to] = left
        else:
            self.cut.pop((sender, to), None)

    def delays(self, sender: str, to: str) -> tuple[float, ...]:
        """When copies of one message arrive, in seconds from now. Empty: it is lost."""
        if (sender, to) in self.cut:
            self.lost += 1
            return ()
        weather = self.weather
        slow = self.slow.get(sender, 0.0) + self.slow.get(to, 0.0)
        delay = weather.delay_seconds + slow
        if self.calm:
            return (delay,)
        draw = self._link(sender, to)
        if draw.random() < weather.loss:
            self.lost += 1
            return ()
        if draw.random() < weather.late:
            self.delayed += 1
            delay += draw.random() * weather.late_seconds
        if draw.random() < weather.duplicates:
            self.copied += 1
            return (delay, delay + draw.random() * max(weather.late_seconds, 0.01))
        return (delay,)

    def _link(self, sender: str, to: str) -> Random:
        link = self._links.get((sender, to))
        if link is None:
            link = self._links[sender, to] = Random(f"{self.seed} link {sender} {to}")
        return link
