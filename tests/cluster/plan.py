"""What befalls a cluster under chaos, step by step: drawn from a seed, and from nothing else.

The clock decides how many of the steps are taken, never which. Kinds come from a shuffled deck, so
that none is left out for long. Whatever hurts a machine is undone a few steps later; never more
than MOST_HURT machines are hurt at once, and each in one way. Touches no machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.cluster.box import MANAGER
from tests.cluster.jobs import SIDE_JOBS

MOST_HURT = 2  # machines at once, of four
STEPS_HURT = (2, 7)  # how many steps later it is undone, at least and at most
PAUSE_SECONDS = (1.0, 4.0)

UNDOES = {  # what hurts a machine, and what heals it
    "cut": "mend",
    "power-off": "power-on",
    "kill-worker": "start-worker",
    "stop-engine": "start-engine",
    "kill-engine": "start-engine",
    "drain": "enable",
    "kill-manager": "start-manager",
    "fill-disk": "free-disk",
}
OF_MANAGER = ("cut", "kill-manager", "fill-disk")
OF_NODES = ("cut", "cut", "power-off", "kill-worker", "stop-engine", "kill-engine", "drain")
OF_STORE = ("delete-store", "restore-store")  # while no machine is hurt: an operator's procedures
OF_USERS = ("scale", "scale", "stop", "submit", "restart", "backup")
SCALED = ("web", "api", "cart", "pay")
INSTANCES = (4, 7)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done."""

    what: str
    on: str = ""  # a machine, a job, or a service of the shop
    instances: int = 0
    pause_seconds: float = 0.0  # before it


@dataclass
class Plan:
    """The steps of a seed, for nodes of these names."""

    seed: int
    nodes: Sequence[str]
    _hurt: dict[str, tuple[str, int]] = field(default_factory=dict)  # machine: what, until when
    _backed_up: bool = False  # by a manager whose nodes are still known

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        self._deck: list[tuple[str, bool]] = []  # what; does the manager's machine have it?

    def __iter__(self) -> Iterator[Step]:
        number = 0
        while True:
            number += 1
            yield self._undo_due(number) or self._next(number)

    def _undo_due(self, number: int) -> Step | None:
        for machine, (what, until) in self._hurt.items():
            if until <= number:
                del self._hurt[machine]
                return self._step(UNDOES[what], machine)
        return None

    def _next(self, number: int) -> Step:
        for card in self._deck:
            if (step := self._play(*card, number)) is not None:
                self._deck.remove(card)
                return step
        if not self._hurt:
            self._shuffle()
            return self._next(number)
        machine, (what, _) = next(iter(self._hurt.items()))  # what is left needs calm
        del self._hurt[machine]
        return self._step(UNDOES[what], machine)

    def _shuffle(self) -> None:
        """Add a new deck; only what needs a backup may be left of the last."""
        self._deck += [(what, False) for what in (*OF_NODES, *OF_STORE, *OF_USERS)]
        self._deck += [(what, True) for what in OF_MANAGER]
        self._draw.shuffle(self._deck)

    def _play(self, what: str, of_manager: bool, number: int) -> Step | None:
        """That step, if it is allowed now."""
        if what in UNDOES:
            return self._hurt_one([MANAGER] if of_manager else self.nodes, what, number)
        if what in OF_STORE:
            return self._harm_store(what)
        if what == "backup":
            if MANAGER in self._hurt:
                return None
            self._backed_up = True
        if what in ("stop", "submit"):
            return self._step(what, self._draw.choice(list(SIDE_JOBS)))
        if what == "scale":
            return self._step(what, self._draw.choice(SCALED), self._draw.randint(*INSTANCES))
        return self._step(what, self._draw.choice(SCALED) if what == "restart" else MANAGER)

    def _hurt_one(self, machines: Sequence[str], what: str, number: int) -> Step | None:
        well = [name for name in machines if name not in self._hurt]
        if not well or len(self._hurt) >= MOST_HURT:
            return None
        machine = self._draw.choice(well)
        self._hurt[machine] = what, number + self._draw.randint(*STEPS_HURT)
        return self._step(what, machine)

    def _harm_store(self, what: str) -> Step | None:
        if self._hurt or (what == "restore-store" and not self._backed_up):
            return None
        if what == "delete-store":
            self._backed_up = False
        return self._step(what, MANAGER)

    def _step(self, what: str, on: str, instances: int = 0) -> Step:
        return Step(what, on, instances, round(self._draw.uniform(*PAUSE_SECONDS), 1))
