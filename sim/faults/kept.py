"""Runs that an earlier campaign has finished, so that one that was cut off goes on.

Owns a file of one JSON line per run. A line counts while scenario, code and versions are those that
it was made with; others stay where they are and count for nobody.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from sim.faults.ordeal import Outcome
from sim.faults.scenario import FaultScenario
from sim.source import digest_of, versions


class KeptRuns:
    """The runs in one file."""

    def __init__(self, file: Path, scenarios: Sequence[FaultScenario]) -> None:
        self._file = file
        self._digests = {scenario.name: _digest(scenario) for scenario in scenarios}

    def read(self, seeds: Collection[int]) -> list[Outcome]:
        """Those that need not be done again, each once, in the order of the file."""
        found: dict[tuple[str, int], Outcome] = {}
        if self._file.exists():
            for line in self._file.read_bytes().splitlines():
                outcome = self._outcome(line)
                if outcome is not None and outcome.seed in seeds:
                    found[outcome.scenario, outcome.seed] = outcome
        return list(found.values())

    def add(self, outcome: Outcome) -> None:
        """Keep a run; whatever ends the process afterwards, it stays."""
        line = {field.name: getattr(outcome, field.name) for field in fields(Outcome)}
        line["made_with"] = self._digests[outcome.scenario]
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("ab") as file:
            # A line that was cut off half way must not spoil this one.
            file.write(b"\n" + json.dumps(line).encode() + b"\n")

    def _outcome(self, line: bytes) -> Outcome | None:
        try:
            told: dict[str, Any] = json.loads(line)
            if told.pop("made_with") != self._digests[told["scenario"]]:
                return None
            counted = {name: Counter(told[name]) for name in ("faults", "marks")}
            return Outcome(**{**told, **counted, "plan": tuple(told["plan"])})
        except (ValueError, TypeError, KeyError, AttributeError):
            return None  # cut off half way, or of another campaign


def _digest(scenario: FaultScenario) -> str:
    """Of everything that decides what becomes of a seed."""
    what = [scenario.model_dump(mode="json"), digest_of("sim.faults.ordeal"), versions()]
    return hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=16).hexdigest()
