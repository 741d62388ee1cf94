"""Routes that change something: submit, scale, restart, roll back, stop, remove, recover.

Each passes one message to the manager, which decides; repeating a request id changes nothing twice.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from cube.api.admission import MAX_INSTANCES, MAX_NUMBER, admit, check
from cube.api.backend import Backend
from cube.api.problems import not_found
from cube.messages import (
    Recover,
    Remove,
    Reply,
    Restart,
    Rollback,
    Scale,
    Snapshot,
    Stop,
    Submit,
)
from cube.plan import diff, diff_job
from cube.spec import JobSpec
from cube.views import AnswerView, RecoverView, ServiceChange, SubmitView
from cube.views.jobs import find_job

RequestId = Annotated[str, Field(min_length=1, max_length=100)]


class Body(BaseModel):
    """What every change carries."""

    model_config = ConfigDict(extra="forbid")

    request: RequestId = Field(description="Names the request: repeating it changes nothing.")


class SubmitBody(Body):
    """Make this job so."""

    job: dict[str, Any] = Field(description="A JobSpec as `cube.codec.encode` writes it.")
    again: bool = Field(False, description="Run finished batch tasks once more.")


class StopBody(Body):
    """End or restart a job, a service (`job/service`) or a task (`job/service/index`)."""

    target: str = Field(min_length=1, max_length=400)


class ScaleBody(Body):
    """Change how many instances services have."""

    counts: dict[str, Annotated[int, Field(ge=0, le=MAX_INSTANCES)]] = Field(
        min_length=1, max_length=100, description="By service."
    )


class RollbackBody(Body):
    """Make the job what it was in an earlier version."""

    version: int = Field(0, ge=0, le=MAX_NUMBER, description="0: the one before.")


class RecoverBody(Body):
    """Decide on containers that the store never knew."""

    action: Literal["remove", "adopt"]
    containers: list[Annotated[str, Field(min_length=1, max_length=400)]] = Field(
        [], max_length=10_000, description="Their ids, or names of tasks; none: all of them."
    )


def changing_routes(backend: Backend) -> APIRouter:
    """The routes, on this cluster."""
    router = APIRouter()

    @router.post("/v1/jobs", response_model=SubmitView)
    def submit(body: SubmitBody) -> JSONResponse:
        """Make a job so: create it, change it to a new version, or find it unchanged."""
        job = admit(body.job)
        old = find_job(backend.look(), job.name)
        reply = backend.request(lambda edge: Submit(body.request, job, edge, body.again))
        return JSONResponse(_show_submit(reply, None if old is None else old.spec, job))

    _add_revisions(router, backend)

    @router.post("/v1/stop", response_model=AnswerView)
    def stop(body: StopBody) -> JSONResponse:
        """End a job, a service or a task; data stays."""
        return show_answer(backend.request(lambda edge: Stop(body.request, body.target, edge)))

    @router.delete("/v1/jobs/{name}", response_model=AnswerView)
    def remove(
        name: str, force: bool = False, request: Annotated[RequestId | None, Query()] = None
    ) -> JSONResponse:
        """Forget an ended job; with `force=1`, stop it first."""
        number = request or uuid.uuid4().hex
        conflict = f"Stop it with: cube stop {name}. Or both at once: cube rm {name} --force"
        return show_answer(
            backend.request(lambda edge: Remove(number, name, edge, force), conflict)
        )

    @router.post("/v1/recovery", response_model=RecoverView)
    def recover(body: RecoverBody) -> JSONResponse:
        """Adopt or remove containers that await recovery."""
        which = _chosen(backend.look(), body.containers)
        reply = backend.request(lambda edge: Recover(body.request, edge, body.action, which))
        return JSONResponse({"status": reply.status, "text": reply.text, **reply.body})

    return router


def _add_revisions(router: APIRouter, backend: Backend) -> None:
    @router.post("/v1/jobs/{name}/scale", response_model=SubmitView)
    def scale(name: str, body: ScaleBody) -> JSONResponse:
        """Change how many instances services have, and nothing else."""
        old = backend.job(backend.look(), name).spec
        services = (
            replace(s, instances=body.counts.get(s.name, s.instances)) for s in old.services
        )
        new = check(replace(old, services=tuple(services)))
        counts, remedy = (
            tuple(body.counts.items()),
            f"Run its file again: cube run -f FILE ({name}).",
        )
        reply = backend.request(lambda edge: Scale(body.request, name, counts, edge), remedy)
        return JSONResponse(_show_submit(reply, old, new))

    @router.post("/v1/jobs/{name}/rollback", response_model=SubmitView)
    def rollback(name: str, body: RollbackBody) -> JSONResponse:
        """Make a job what it was in an earlier version; that is a new version."""
        old = backend.job(backend.look(), name).spec
        reply = backend.request(lambda edge: Rollback(body.request, name, edge, body.version))
        return JSONResponse(_show_submit(reply, old, backend.job(backend.look(), name).spec))

    @router.post("/v1/restart", response_model=AnswerView)
    def restart(body: StopBody) -> JSONResponse:
        """Stop what runs of a job, a service or a task, one after the other; start it anew."""
        return show_answer(backend.request(lambda edge: Restart(body.request, body.target, edge)))


def _chosen(snapshot: Snapshot, names: list[str]) -> tuple[tuple[str, str], ...]:
    """The unknown containers that are named by their ids or by the tasks that they say they are.

    Raises:
        Problem: there is none of that name.
    """
    found: dict[tuple[str, str], None] = {}
    for name in names:
        same = [
            (node, fact.uid)
            for node, fact in snapshot.unknown
            if name in (fact.handle, fact.uid, fact.uid.partition("@")[0])
        ]
        if not same:
            raise not_found(f"unknown container {name}")
        found.update(dict.fromkeys(same))
    return tuple(found)


def show_answer(reply: Reply) -> JSONResponse:
    """The manager's word, as it came."""
    answer: AnswerView = {"status": reply.status, "text": reply.text}
    return JSONResponse(answer)


def _show_submit(reply: Reply, old: JobSpec | None, new: JobSpec) -> SubmitView:
    """The manager's answer, with the differences as they were just before it."""
    told: dict[str, Any] = reply.body if isinstance(reply.body, dict) else {}
    changes = diff(old, new)
    for change in changes:
        _follow(change, reply, told.get("changes", {}))
    status: Literal["created", "changed", "unchanged"] = (
        "created" if reply.status == "created" else
        "changed" if reply.status == "changed" else "unchanged"
    )  # fmt: skip
    return {
        "status": status,
        "text": reply.text,
        "job": new.name,
        "version": told.get("version", 0),
        "fields": diff_job(old, new) if status == "changed" else [],
        "changes": changes,
    }


def _follow(change: ServiceChange, reply: Reply, told: dict[str, Any]) -> None:
    """Take the manager's word for what became of a service: it decided."""
    word = told.get(change["service"], "unchanged" if reply.status == "unchanged" else None)
    if word in ("created", "changed", "restarted", "unchanged", "removed"):
        change["change"] = word
