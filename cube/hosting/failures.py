"""What goes wrong when a process of a cluster starts, as an operator is told: one error, a remedy.

Knows errors that any of them may meet; each process adds its own.
"""

from __future__ import annotations

from cube.engine import EngineUnavailable
from cube.serving import ListenError
from cube.state_dir import StateDirError
from cube.store import StoreLocked
from cube.trust import TrustError


class ClusterError(Exception):
    """The cluster cannot start or end; the text's second line says what to do."""

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def explained(error: BaseException) -> ClusterError | None:
    """What an error at the start means to an operator; None: nobody expected it."""
    match error:
        case ClusterError():
            return error
        case ListenError():
            return ClusterError(str(error), error.exit_code)
        case StateDirError() | TrustError():
            return ClusterError(str(error), 7)
        case StoreLocked():
            what, _, _ = str(error).partition("; ")
            remedy = "Stop that one, or choose another directory with --state-dir DIR."
            return ClusterError(f"Another Cube runs here: {what}.\n{remedy}", 6)
        case EngineUnavailable():
            what, remedy = split(str(error), ": ")
            return ClusterError(f"{what}.\n{remedy}")
        case OSError():
            return ClusterError(f"{error}\nChoose another file or directory.")
    return None


def split(text: str, between: str) -> tuple[str, str]:
    """What is wrong, and the remedy as lines of their own."""
    what, _, remedy = text.partition(between)
    return what, f"{remedy[0].upper()}{remedy[1:]}.\n" if remedy else ""
