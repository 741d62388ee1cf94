"""What is wrong with a job file, where, and what to do about it.

Every part of the reader reports in these words; nothing here reads or prints.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MOST_PROBLEMS = 100  # more are mentioned, not listed


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One finding. Lines and columns count from 1; line 0 means that `file` is the whole place."""

    file: str
    line: int
    column: int
    text: str  # what is wrong, without a full stop
    remedy: str = ""  # what to do, as a sentence

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.text}. {self.remedy}".rstrip()


class SpecError(Exception):
    """The job cannot be read; `problems` holds everything that was found, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        ordered = sorted(set(problems))
        self.problems: tuple[Problem, ...] = tuple(ordered[:MOST_PROBLEMS])
        if len(ordered) > MOST_PROBLEMS:
            more = Problem(ordered[0].file, 0, 0, "there are more problems", "Repair these first.")
            self.problems += (more,)
        super().__init__("\n".join(map(str, self.problems)))
