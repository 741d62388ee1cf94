"""What a worker tells of itself: its tasks and what is used, as it last told its manager.

Owns the newest whole report. Nothing here asks the worker anything, so a slow reader delays nobody.
"""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from cube.messages import Fact, Report
from cube.task import TaskName


class Told:
    """The newest whole report of one worker."""

    def __init__(self) -> None:
        self._report: Report | None = None

    def see(self, message: Any) -> None:
        """A message goes to the manager."""
        if isinstance(message, Report) and message.whole:
            self._report = message

    def routes(self) -> list[Route]:
        """For the manager."""
        return [Route("/v1/tasks", self.tasks), Route("/v1/statistics", self.statistics)]

    async def tasks(self, _: Request) -> Response:
        """All runs that the node holds, ended ones too."""
        return JSONResponse([_show(fact) for fact in self._now().facts])

    async def statistics(self, _: Request) -> Response:
        """What the machine and each task use: milli-cores and MiB; null: not measured."""
        report = self._now()
        machine = None if report.machine is None else report.machine._asdict()
        tasks = [
            {"task": task_name(u.uid), "cpu_milli": u.cpu_milli, "memory_mib": u.memory_mib}
            for u in report.usage
        ]
        return JSONResponse({"machine": machine, "tasks": tasks})

    async def metrics(self, _: Request) -> Response:
        """The same for Prometheus."""
        from cube.worker_api.metrics import CONTENT_TYPE, expose  # loaded when somebody asks

        return PlainTextResponse(expose(self._now()), media_type=CONTENT_TYPE)

    def _now(self) -> Report:
        if self._report is None:
            raise HTTPException(503, "The engine has not told yet what runs.")
        return self._report


def _show(fact: Fact) -> dict[str, Any]:
    return {
        "task": task_name(fact.uid),
        "attempt": fact.attempt,
        "restart": fact.restart,
        "phase": fact.phase.name.lower(),
        "healthy": fact.healthy,
        "exit_code": fact.exit_code,
        "reason": fact.reason,
        "container": fact.handle,
    }


def task_name(uid: str) -> str:
    """As users know it."""
    name = TaskName.parse(uid)
    return f"{name.job}/{name.service}/{name.index}"
