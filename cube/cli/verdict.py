"""Is a submitted job up, and if not, will it be? A pure judge of what the manager says.

It sees the job and its tasks again and again, and says so once the outcome is clear. It asks
nobody, prints nothing and reads no clock: the time comes with each look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cube.cli.exits import ExitCode
from cube.cli.tables import plural, times, why_waiting

if TYPE_CHECKING:
    from cube.views import JobView, TaskView

SETTLE_SECONDS: Final = 2.0  # a service is up once it has run for so long without a restart
ROOM_SECONDS: Final = 1.0  # how long nothing else may be under way before "no room" is final
MAX_FAILURES: Final = 3  # after so many failed runs it is not waited for the next


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome: how the command ends, and what it says."""

    code: ExitCode
    text: str
    remedy: str = ""


class Judge:
    """Follows one submit to its outcome.

    Args:
        job: the job's name.
        before: its tasks before the submit; what they did then is not held against them.
    """

    def __init__(self, job: str, before: Sequence[TaskView] = ()) -> None:
        self._job = job
        self._before = {(t["id"], t["version"]): t for t in before}
        self._runs: tuple[object, ...] = ()
        self._runs_since = 0.0

    def judge(self, job: JobView, tasks: Sequence[TaskView], now: float) -> Verdict | None:
        """The outcome, or None while it is open. `now`: seconds on any steady clock."""
        runs = tuple((t["id"], t["version"], t["attempt"], t["restart"], t["state"]) for t in tasks)
        if runs != self._runs:
            self._runs, self._runs_since = runs, now
        quiet = now - self._runs_since
        return (
            self._ended(job)
            or self._failed(job, tasks)
            or self._up(job, tasks, quiet)
            or self._without_room(job, tasks, quiet)
        )

    def _ended(self, job: JobView) -> Verdict | None:
        """Somebody else stopped it, or its roll-out has halted."""
        if job["halted"]:
            remedy = f"repair the file and run it again; `cube status {self._job}` shows the tasks"
            text = f"the roll-out of {self._job} halted: {job['halted']}"
            return Verdict(ExitCode.UNHEALTHY, text, remedy)
        if job["stopped"]:
            text = f"{self._job} was stopped while it was waited for"
            return Verdict(ExitCode.UNHEALTHY, text)
        return None

    def _failed(self, job: JobView, tasks: Sequence[TaskView]) -> Verdict | None:
        failed = [t for t in tasks if self._fails(t)]
        if not failed:
            return None
        first = failed[0]
        others = f" (and {plural(len(failed) - 1, 'other task')})" if len(failed) > 1 else ""
        text = f"{first['id']} does not come up: {_cause(first)}{others}"
        remedy = f"see its output: `cube logs {first['id']}`; end the job: `cube stop {self._job}`"
        return Verdict(ExitCode.UNHEALTHY, text, remedy)

    def _fails(self, task: TaskView) -> bool:
        """Has it failed for good, been given up by its node, or failed again and again?"""
        before = self._before.get((task["id"], task["version"]))
        if before is not None and before["state"] == "failed":
            return task["state"] == "failed" and task["revision"] != before["revision"]
        failures = task["failures"]
        if before is not None and before["attempt"] == task["attempt"]:
            failures -= before["failures"]
        given_up = task["reschedules"] - (before["reschedules"] if before is not None else 0)
        return task["state"] == "failed" or given_up > 0 or failures >= MAX_FAILURES

    def _up(self, job: JobView, tasks: Sequence[TaskView], quiet: float) -> Verdict | None:
        if not job["ready"] or not all(map(is_done, tasks)):
            return None
        fresh = any(t["state"] == "running" and self._is_new(t) for t in tasks)
        if fresh and quiet < SETTLE_SECONDS:
            return None
        return Verdict(ExitCode.OK, f"{self._job} version {job['version']} is {job['state']}")

    def _is_new(self, task: TaskView) -> bool:
        """Did it start since the submit? What ran before has proved itself."""
        before = self._before.get((task["id"], task["version"]))
        run = (task["attempt"], task["restart"])
        return (
            before is None or not before["ready"] or run != (before["attempt"], before["restart"])
        )

    def _without_room(
        self, job: JobView, tasks: Sequence[TaskView], quiet: float
    ) -> Verdict | None:
        """All that can run runs, and the rest fits nowhere."""
        unplaced = [t for t in tasks if lacks_room(t)]
        open_ones = [t for t in tasks if not (is_done(t) or lacks_room(t) or waits_for_others(t))]
        if not unplaced or open_ones or job["state"] == "updating" or quiet < ROOM_SECONDS:
            return None
        first = unplaced[0]
        count = plural(len(unplaced), "task")
        text = f"{count} of {self._job} cannot be placed; {first['id']}: {why_waiting(first)}"
        remedy = f"it is placed as soon as there is room; why: `cube explain {first['id']}`"
        if first["decision"] is not None and first["decision"]["error"]:
            remedy = "correct the policy and start `cube dev` again; tasks that run go on"
        return Verdict(ExitCode.UNPLACED, text, remedy)


def _cause(task: TaskView) -> str:
    """Why it fails; one that is just being tried again has no reason at this moment."""
    if task["failures"] >= MAX_FAILURES and task["exit_code"] is not None:
        return f"it failed {times(task['failures'])}, at last with exit code {task['exit_code']}"
    return task["reason"] or task["state"]


def is_done(task: TaskView) -> bool:
    """Is nothing more to come? A service that runs, or any task that has ended."""
    if task["state"] in ("completed", "failed", "stopped"):
        return True
    return task["ready"] and task["kind"] in ("service", "global")


def lacks_room(task: TaskView) -> bool:
    """Was it decided that it fits nowhere now?"""
    return why_waiting(task) != ""


def waits_for_others(task: TaskView) -> bool:
    """Does it wait for something else than a node: another service, or its volume's node?"""
    return task["state"] == "pending" and task["decision"] is None and bool(task["reason"])
