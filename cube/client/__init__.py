"""The manager's API as Python calls: what the command line stands on.

Owns paths and what is sent to them. It never interprets what it is told: answers are the shapes of
`cube.views`, as they came.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, cast
from urllib.parse import quote

from cube.client.connection import Connection
from cube.client.errors import ApiProblem, ClientError, Distrusted, NoManager
from cube.client.running import Running
from cube.codec import encode
from cube.spec import JobSpec
from cube.views import (
    AnswerView,
    ClusterView,
    EndpointsView,
    EventView,
    ExplainView,
    HealthView,
    JobView,
    NewTokenView,
    NodeView,
    PlanView,
    RecoverView,
    RecoveryView,
    RegistryView,
    SubmitView,
    TaskView,
    TokenView,
    UsageView,
)

__all__ = [
    "ApiProblem",
    "Client",
    "ClientError",
    "Distrusted",
    "NoManager",
    "Running",
    "new_request_id",
]

PAGE = 5000  # events asked for at once


class Client(Connection):
    """Speaks to one manager. Close it, or use it in a `with`."""

    # --- looking ---

    def health(self) -> HealthView:
        """Does it answer at all?"""
        return cast(HealthView, self.get("/v1/health"))

    def cluster(self) -> ClusterView:
        """The cluster as a whole."""
        return cast(ClusterView, self.get("/v1/cluster"))

    def jobs(self) -> list[JobView]:
        """All jobs, by name."""
        return cast(list[JobView], self.get("/v1/jobs"))

    def job(self, name: str) -> JobView:
        """One job."""
        return cast(JobView, self.get(f"/v1/jobs/{_path(name)}"))

    def tasks(self, job: str | None = None) -> list[TaskView]:
        """All tasks, or those of one job (which must exist)."""
        return cast(list[TaskView], self.get("/v1/tasks", job=job))

    def task(self, task: str) -> TaskView:
        """One task, by `job/service/index`."""
        return cast(TaskView, self.get(f"/v1/tasks/{_path(task)}"))

    def services(self, job: str | None = None) -> list[EndpointsView]:
        """Where services are reached, of all jobs or of one (which must exist)."""
        return cast(list[EndpointsView], self.get("/v1/services", job=job))

    def nodes(self) -> list[NodeView]:
        """All nodes, by name."""
        return cast(list[NodeView], self.get("/v1/nodes"))

    def usage(self) -> list[UsageView]:
        """What tasks use now, by name, as far as it is measured."""
        return cast(list[UsageView], self.get("/v1/usage"))

    def explain(self, task: str, *, now: bool = False) -> ExplainView:
        """Why a task is where it is; with `now`, also decided anew on the fleet as it is."""
        return cast(ExplainView, self.get(f"/v1/explain/{_path(task)}", now=int(now)))

    def plan(self, job: JobSpec, policies: Sequence[str] = ()) -> PlanView:
        """What submitting `job` would do, under each policy (none: the cluster's)."""
        body = {"job": encode(job), "policies": list(policies)}
        return cast(PlanView, self.send("POST", "/v1/plan", body))

    def snapshot(self) -> dict[str, Any]:
        """The whole state, without secrets, as `python -m sim what-if` reads it."""
        return cast(dict[str, Any], self.get("/v1/snapshot"))

    def recovery(self) -> RecoveryView:
        """Containers that the store never knew."""
        return cast(RecoveryView, self.get("/v1/recovery"))

    # --- changing ---

    def submit(
        self, job: JobSpec, *, again: bool = False, request: str | None = None
    ) -> SubmitView:
        """Make `job` so. The same request id gets the same answer again."""
        body = {"request": request or new_request_id(), "job": encode(job), "again": again}
        return cast(SubmitView, self.send("POST", "/v1/jobs", body))

    def stop(self, target: str, *, request: str | None = None) -> AnswerView:
        """End a job, a service (`job/service`) or a task (`job/service/index`)."""
        body = {"request": request or new_request_id(), "target": target}
        return cast(AnswerView, self.send("POST", "/v1/stop", body))

    def remove(self, job: str, *, force: bool = False, request: str | None = None) -> AnswerView:
        """Forget an ended job; with `force`, stop it first."""
        path = f"/v1/jobs/{_path(job)}"
        query = {"force": int(force), "request": request or new_request_id()}
        return cast(AnswerView, self.send("DELETE", path, None, query))

    def scale(
        self, job: str, counts: Mapping[str, int], *, request: str | None = None
    ) -> SubmitView:
        """Change how many instances services of a job have, and nothing else."""
        body = {"request": request or new_request_id(), "counts": dict(counts)}
        return cast(SubmitView, self.send("POST", f"/v1/jobs/{_path(job)}/scale", body))

    def rollback(self, job: str, version: int = 0, *, request: str | None = None) -> SubmitView:
        """Make a job what it was in an earlier version; 0: the one before."""
        body = {"request": request or new_request_id(), "version": version}
        return cast(SubmitView, self.send("POST", f"/v1/jobs/{_path(job)}/rollback", body))

    def restart(self, target: str, *, request: str | None = None) -> AnswerView:
        """Stop what runs of a job, a service or a task, one after the other; start it anew."""
        body = {"request": request or new_request_id(), "target": target}
        return cast(AnswerView, self.send("POST", "/v1/restart", body))

    def recover(
        self,
        action: Literal["adopt", "remove"],
        containers: Sequence[str] = (),
        *,
        request: str | None = None,
    ) -> RecoverView:
        """Decide on containers that await recovery: those named, by id or task, or all."""
        body = {"request": request or new_request_id(), "action": action}
        named = {**body, "containers": list(containers)}
        return cast(RecoverView, self.send("POST", "/v1/recovery", named))

    # --- nodes ---

    def drain(
        self,
        node: str,
        *,
        on: bool = True,
        deadline_seconds: float | None = None,
        request: str | None = None,
    ) -> AnswerView:
        """Empty a node and give it no new tasks; `on` False: let it have some again.

        Args:
            node: its name.
            on: drain it.
            deadline_seconds: stop what is left after so long, without waiting for anything.
            request: names the request.
        """
        body = {"on": on, "deadline_seconds": deadline_seconds}
        return self._say_of(node, "drain", body, request)

    def label_node(
        self,
        node: str,
        add: Mapping[str, str],
        drop: Sequence[str] = (),
        *,
        request: str | None = None,
    ) -> AnswerView:
        """Add labels to those that a node's worker tells; take added ones away."""
        return self._say_of(node, "labels", {"add": dict(add), "drop": list(drop)}, request)

    def declare_lost(self, node: str, *, request: str | None = None) -> AnswerView:
        """A silent node is gone: place its tasks elsewhere at once."""
        return self._say_of(node, "lost", {}, request)

    def remove_node(self, node: str, *, request: str | None = None) -> AnswerView:
        """Forget a node that is gone for good."""
        query = {"request": request or new_request_id()}
        answer = self.send("DELETE", f"/v1/nodes/{_path(node)}", None, query)
        return cast(AnswerView, answer)

    def create_token(
        self, name: str, scope: str = "full", seconds: float | None = None
    ) -> NewTokenView:
        """Make a token; the answer holds its secret, which nobody can tell again."""
        body = {"name": name, "scope": scope, "seconds": seconds}
        return cast(NewTokenView, self.send("POST", "/v1/tokens", body))

    def tokens(self) -> list[TokenView]:
        """All tokens, by name."""
        return cast(list[TokenView], self.get("/v1/tokens"))

    def remove_token(self, name: str) -> AnswerView:
        """Let nobody in by that token any more."""
        return cast(AnswerView, self.send("DELETE", f"/v1/tokens/{_path(name)}", None))

    def registries(self) -> list[RegistryView]:
        """The image registries for which nodes have a credential, by name."""
        return cast(list[RegistryView], self.get("/v1/registries"))

    def log_in(self, registry: str, user: str, password: str) -> AnswerView:
        """Have nodes use this credential whenever they pull from `registry`."""
        body = {"user": user, "password": password}
        return cast(AnswerView, self.send("PUT", f"/v1/registries/{_path(registry)}", body))

    def log_out(self, registry: str) -> AnswerView:
        """Have nodes forget the credential for `registry`."""
        return cast(AnswerView, self.send("DELETE", f"/v1/registries/{_path(registry)}", None))

    def _say_of(
        self, node: str, what: str, body: dict[str, Any], request: str | None
    ) -> AnswerView:
        body = {"request": request or new_request_id(), **body}
        return cast(AnswerView, self.send("POST", f"/v1/nodes/{_path(node)}/{what}", body))

    # --- streams ---

    def events(
        self, *, after: int = 0, epoch: int | None = None, job: str | None = None
    ) -> list[EventView]:
        """The events after a revision that there are, oldest first. See `follow_events`."""
        found: list[EventView] = []
        while True:
            page = self.get("/v1/events", after=after, epoch=epoch, job=job, limit=PAGE)
            found += page
            if len(page) < PAGE:
                return found
            after, epoch = page[-1]["revision"], None

    def follow_events(
        self, *, after: int = 0, epoch: int | None = None, job: str | None = None
    ) -> Generator[EventView]:
        """Events after a revision, then each as it happens; ends when the manager stops.

        Close the iterator (or drop it) to leave. To resume, pass the last one's epoch and revision:
        if the store has another history meanwhile, that is told from its beginning, after an event
        of the kind `history.reset`.
        """
        query = {"after": after, "epoch": epoch, "follow": 1, "job": job}
        with self.stream("/v1/events", query) as response:
            for line in response.iter_lines():
                if line.startswith("data: "):
                    yield cast(EventView, json.loads(line.removeprefix("data: ")))

    def logs(
        self,
        task: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: float | None = None,
        previous: bool = False,
    ) -> Generator[bytes]:
        """Output of a task's newest run, in pieces as they come.

        Args:
            task: `job/service/index`.
            follow: go on until the run ends.
            tail: only the last so many lines.
            since: only what was written after this time (Unix seconds).
            previous: that of the run before it instead.
        """
        query = {"follow": int(follow), "tail": tail, "since": since, "previous": int(previous)}
        path = f"/v1/tasks/{_path(task)}/logs"
        with self.stream(path, query, silence_seconds=None) as response:
            yield from response.iter_raw()

    @contextmanager
    def execute(
        self, task: str, command: Sequence[str], *, tty: bool = False, rows: int, columns: int
    ) -> Iterator[Running]:
        """Run a command where a task runs; it ends with the `with`."""
        body = {"command": list(command), "tty": tty, "rows": rows, "columns": columns}
        path = f"/v1/tasks/{_path(task)}/exec"
        with self.stream(path, {}, silence_seconds=None, body=body) as response:
            yield Running(self.http, response)


def new_request_id() -> str:
    """A name for one request, so that repeating it changes nothing twice."""
    return uuid.uuid4().hex


def _path(name: str) -> str:
    """A name as part of a URL; its slashes separate."""
    return "/".join(quote(part, safe="") for part in name.split("/"))
