"""What a person may do wrong with the simulator, each with its remedy and exit code.

Nothing here prints; `sim.__main__` shows these as one line and leaves with `exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SimulationError(Exception):
    """The run cannot be carried out or finished. `remedy` says what to do, as a sentence."""

    exit_code = 1

    def __init__(self, text: str, remedy: str = "") -> None:
        self.text = text
        self.remedy = remedy
        super().__init__(f"{text}. {remedy}" if remedy else text)

    def __reduce__(self) -> tuple[type[SimulationError], tuple[str, str]]:
        return type(self), (self.text, self.remedy)  # so that it survives a process boundary


class InputError(SimulationError):
    """What was asked for makes no sense: options, a scenario, a policy's name."""

    exit_code = 2


class PolicyFailed(SimulationError):
    """The policy raised, or returned what is no score, in the middle of a run."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'x'?`, or the list of what exists."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, 1)
    return f"Did you mean '{close[0]}'?" if close else f"Known are: {', '.join(names)}."
