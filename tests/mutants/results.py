"""What became of mutants, kept as it comes: a line of JSON for each verdict.

A verdict holds for one text of the core and one change of it. A mutant that somebody noticed need
not be judged again while these are the same; one that nobody noticed is, since the tests may have
learnt something.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from tests.mutants.judge import Case, Verdict


class Results:
    """A file of verdicts; of two on one mutant the later holds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[tuple[str, str], Verdict] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                self._take(Verdict(**json.loads(line)))

    def _take(self, verdict: Verdict) -> None:
        self._found[verdict.key, verdict.digest] = verdict

    def add(self, verdict: Verdict) -> None:
        """Keep a verdict, whatever happens next."""
        self._take(verdict)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(verdict)) + "\n")

    def of(self, case: Case) -> Verdict | None:
        """What became of that mutant of the code as it is, or None."""
        return self._found.get((case.key, case.digest))

    def noticed(self, case: Case) -> bool:
        """Has somebody noticed it before?"""
        verdict = self.of(case)
        return verdict is not None and verdict.caught
