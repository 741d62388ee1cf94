"""What a request can end in besides an answer, as errors that tell what to do."""

from __future__ import annotations

from cube.views import ProblemView


class ClientError(Exception):
    """A request did not succeed; `str` is the sentence, `remedy` what to do."""

    exit_code = 1
    remedy = ""
    knows_token = False  # it was refused for what the token may do, not for what it is


class NoManager(ClientError):
    """Nobody answers."""

    exit_code = 8

    def __init__(
        self, text: str, remedy: str = "Start one with: cube dev, or cube manager"
    ) -> None:
        super().__init__(text)
        self.remedy = remedy


class Distrusted(ClientError):
    """Somebody else answers, or the manager under a name that it is not sure of."""

    exit_code = 7
    remedy = (
        "If it is the manager: take CUBE_CA from `cube token create` anew, call it by a name or"
        " address that it was started with (--advertise), and compare both clocks."
    )


class ApiProblem(ClientError):
    """The manager refused or failed."""

    def __init__(self, problem: ProblemView) -> None:
        super().__init__(problem["detail"] or problem["title"])
        self.problem = problem
        self.status = problem["status"]
        self.remedy = problem["remedy"]
        self.exit_code = problem["exit_code"]
        self.knows_token = self.status == 403
