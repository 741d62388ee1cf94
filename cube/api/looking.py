"""Routes that only look: the cluster, jobs, tasks, nodes, explanations, plans, recovery."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from cube import __version__
from cube.api.admission import admit
from cube.api.backend import Backend
from cube.api.metrics import CONTENT_TYPE, expose
from cube.api.problems import USAGE, Problem
from cube.plan import explain, plan
from cube.policies import Policy, make_policy
from cube.snapshot import State, measured, write
from cube.views import (
    ClusterView,
    EndpointsView,
    ExplainView,
    HealthView,
    JobView,
    NodeView,
    PlanView,
    RecoveryView,
    TaskView,
    UsageView,
)
from cube.views.cluster import show_cluster, show_nodes, show_recovery, show_usage
from cube.views.endpoints import show_endpoints
from cube.views.jobs import show_job, show_jobs, show_tasks
from cube.views.show import show_task

MAX_POLICIES = 20
MEASURED_EVENTS = 20_000  # of the history, the newest: what starts and stops took of late


class PlanBody(BaseModel):
    """What would this job do?"""

    model_config = ConfigDict(extra="forbid")

    job: dict[str, Any] = Field(description="A JobSpec as `cube.codec.encode` writes it.")
    policies: list[Annotated[str, Field(max_length=200)]] = Field(
        [], max_length=MAX_POLICIES, description="None: the cluster's own."
    )
    again: bool = False


def looking_routes(backend: Backend) -> APIRouter:
    """The routes, on this cluster."""
    router = APIRouter()

    @router.get("/v1/health", response_model=HealthView)
    async def health() -> JSONResponse:
        """The server answers; needs no token."""
        return JSONResponse({"status": "ok", "version": __version__})

    @router.get("/v1/cluster", response_model=ClusterView)
    def cluster() -> JSONResponse:
        """The cluster as a whole."""
        return JSONResponse(show_cluster(backend.look()))

    @router.get("/v1/nodes", response_model=list[NodeView])
    def nodes() -> JSONResponse:
        """All nodes."""
        return JSONResponse(show_nodes(backend.look()))

    @router.get("/v1/usage", response_model=list[UsageView])
    def usage() -> JSONResponse:
        """What tasks use now."""
        return JSONResponse(show_usage(backend.look()))

    @router.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> PlainTextResponse:
        """The same and more, as Prometheus reads it."""
        return PlainTextResponse(expose(backend.look()), media_type=CONTENT_TYPE)

    @router.get("/v1/jobs", response_model=list[JobView])
    def jobs() -> JSONResponse:
        """All jobs."""
        return JSONResponse(show_jobs(backend.look()))

    @router.get("/v1/jobs/{name}", response_model=JobView)
    def job(name: str) -> JSONResponse:
        """One job."""
        snapshot = backend.look()
        found = backend.job(snapshot, name)
        return JSONResponse(show_job(found, [t for t in snapshot.tasks if t.job == name]))

    @router.get("/v1/snapshot", response_model=dict[str, Any])
    def saved_state() -> JSONResponse:
        """The whole state as `python -m sim what-if` reads it; holds no secrets."""
        snapshot = backend.look()
        first = max(0, snapshot.revision - MEASURED_EVENTS)
        events = backend.store.events(first, MEASURED_EVENTS)
        return JSONResponse(write(State(snapshot, measured(events))))

    @router.get("/v1/recovery", response_model=RecoveryView)
    def recovery() -> JSONResponse:
        """Containers that the store never knew."""
        return JSONResponse(show_recovery(backend.look()))

    _add_tasks(router, backend)
    _add_answers(router, backend)
    return router


def _add_tasks(router: APIRouter, backend: Backend) -> None:
    @router.get("/v1/tasks", response_model=list[TaskView])
    def tasks(job: str | None = None) -> JSONResponse:
        """All tasks, or those of one job."""
        snapshot = backend.look()
        if job is not None:
            backend.job(snapshot, job)
        return JSONResponse(show_tasks(snapshot, job))

    @router.get("/v1/tasks/{job}/{service}/{index}", response_model=TaskView)
    def task(job: str, service: str, index: str) -> JSONResponse:
        """One task."""
        return JSONResponse(show_task(backend.task(backend.look(), job, service, index)))

    @router.get("/v1/services", response_model=list[EndpointsView])
    def services(job: str | None = None) -> JSONResponse:
        """Where services are reached, of all jobs or of one."""
        snapshot = backend.look()
        if job is not None:
            backend.job(snapshot, job)
        return JSONResponse(show_endpoints(snapshot, job))


def _add_answers(router: APIRouter, backend: Backend) -> None:
    @router.get("/v1/explain/{job}/{service}/{index}", response_model=ExplainView)
    def explanation(
        job: str, service: str, index: str, now: Annotated[bool, Query()] = False
    ) -> JSONResponse:
        """Why a task is where it is; with `now=1`, decided anew on the fleet as it is."""
        snapshot = backend.look()
        task = backend.task(snapshot, job, service, index)
        policy = make_policy(snapshot.policy) if now else None
        return JSONResponse(explain(snapshot, task, policy))

    @router.post("/v1/plan", response_model=PlanView)
    def planned(body: PlanBody) -> JSONResponse:
        """What submitting a job would do, under each policy; changes nothing."""
        job = admit(body.job)
        snapshot = backend.look()
        policies = _policies(body.policies or [snapshot.policy], snapshot.policy)
        return JSONResponse(plan(snapshot, job, policies, again=body.again))


def _policies(wanted: list[str], own: str) -> list[Policy]:
    """Those of these names. The manager imports no module because a request names it.

    Raises:
        PolicyError: there is no such policy, or not with these parameters.
        Problem: it is in a module that whoever started the manager did not choose.
    """
    for text in wanted:
        name = _name(text)
        if ":" in name and name != _name(own):
            what = f"The manager does not import {name} for a plan."
            remedy = (
                "Try it on a snapshot: python -m sim what-if FILE --policy P. Or install it where"
                " the manager runs, as an entry point of `cube.policies`."
            )
            raise Problem(422, what, remedy, USAGE)
    return [make_policy(text) for text in wanted]


def _name(policy: str) -> str:
    """Without parameters."""
    return policy.partition("(")[0].strip()
