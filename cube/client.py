"""The manager's API as Python calls: what the command line stands on.

Owns connections, errors and the reading of streams. It never interprets what it is told: answers
are the shapes of `cube.views`, as they came.
"""

from __future__ import annotations

import json
import ssl
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Self, cast
from urllib.parse import quote

import httpx2

from cube.codec import encode
from cube.frames import ENDED, STDERR, read_frames
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
    ProblemView,
    RecoverView,
    RecoveryView,
    SubmitView,
    TaskView,
    TokenView,
    UsageView,
)

TIMEOUT_SECONDS = 15.0  # longer than the server waits for its manager
CONNECT_SECONDS = 3.0
PAGE = 5000  # events asked for at once
STREAM_SILENCE_SECONDS = 45.0  # the server speaks at least every 15 s


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


class Client:
    """Speaks to one manager. Close it, or use it in a `with`."""

    def __init__(self, address: str, token: str, authority: str = "") -> None:
        """`authority`: the certificate in PEM that vouches for an https address."""
        self.address = address.rstrip("/")
        self.authority = authority
        self._http = httpx2.Client(
            base_url=self.address,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx2.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,  # no proxy between us and a manager on this machine
            # Loading certificates takes 0.2 s, and plain HTTP (on loopback) has none to check.
            verify=_trusting(authority) if self.address.startswith("https:") else False,
        )

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- looking ---

    def health(self) -> HealthView:
        """Does it answer at all?"""
        return cast(HealthView, self._get("/v1/health"))

    def cluster(self) -> ClusterView:
        """The cluster as a whole."""
        return cast(ClusterView, self._get("/v1/cluster"))

    def jobs(self) -> list[JobView]:
        """All jobs, by name."""
        return cast(list[JobView], self._get("/v1/jobs"))

    def job(self, name: str) -> JobView:
        """One job."""
        return cast(JobView, self._get(f"/v1/jobs/{_path(name)}"))

    def tasks(self, job: str | None = None) -> list[TaskView]:
        """All tasks, or those of one job (which must exist)."""
        return cast(list[TaskView], self._get("/v1/tasks", job=job))

    def task(self, task: str) -> TaskView:
        """One task, by `job/service/index`."""
        return cast(TaskView, self._get(f"/v1/tasks/{_path(task)}"))

    def services(self, job: str | None = None) -> list[EndpointsView]:
        """Where services are reached, of all jobs or of one (which must exist)."""
        return cast(list[EndpointsView], self._get("/v1/services", job=job))

    def nodes(self) -> list[NodeView]:
        """All nodes, by name."""
        return cast(list[NodeView], self._get("/v1/nodes"))

    def usage(self) -> list[UsageView]:
        """What tasks use now, by name, as far as it is measured."""
        return cast(list[UsageView], self._get("/v1/usage"))

    def explain(self, task: str, *, now: bool = False) -> ExplainView:
        """Why a task is where it is; with `now`, also decided anew on the fleet as it is."""
        return cast(ExplainView, self._get(f"/v1/explain/{_path(task)}", now=int(now)))

    def plan(self, job: JobSpec, policies: Sequence[str] = ()) -> PlanView:
        """What submitting `job` would do, under each policy (none: the cluster's)."""
        body = {"job": encode(job), "policies": list(policies)}
        return cast(PlanView, self._send("POST", "/v1/plan", body))

    def snapshot(self) -> dict[str, Any]:
        """The whole state, without secrets, as `python -m sim what-if` reads it."""
        return cast(dict[str, Any], self._get("/v1/snapshot"))

    def recovery(self) -> RecoveryView:
        """Containers that the store never knew."""
        return cast(RecoveryView, self._get("/v1/recovery"))

    # --- changing ---

    def submit(
        self, job: JobSpec, *, again: bool = False, request: str | None = None
    ) -> SubmitView:
        """Make `job` so. The same request id gets the same answer again."""
        body = {"request": request or new_request_id(), "job": encode(job), "again": again}
        return cast(SubmitView, self._send("POST", "/v1/jobs", body))

    def stop(self, target: str, *, request: str | None = None) -> AnswerView:
        """End a job, a service (`job/service`) or a task (`job/service/index`)."""
        body = {"request": request or new_request_id(), "target": target}
        return cast(AnswerView, self._send("POST", "/v1/stop", body))

    def remove(self, job: str, *, force: bool = False, request: str | None = None) -> AnswerView:
        """Forget an ended job; with `force`, stop it first."""
        path = f"/v1/jobs/{_path(job)}"
        query = {"force": int(force), "request": request or new_request_id()}
        return cast(AnswerView, self._send("DELETE", path, None, query))

    def scale(
        self, job: str, counts: Mapping[str, int], *, request: str | None = None
    ) -> SubmitView:
        """Change how many instances services of a job have, and nothing else."""
        body = {"request": request or new_request_id(), "counts": dict(counts)}
        return cast(SubmitView, self._send("POST", f"/v1/jobs/{_path(job)}/scale", body))

    def rollback(self, job: str, version: int = 0, *, request: str | None = None) -> SubmitView:
        """Make a job what it was in an earlier version; 0: the one before."""
        body = {"request": request or new_request_id(), "version": version}
        return cast(SubmitView, self._send("POST", f"/v1/jobs/{_path(job)}/rollback", body))

    def restart(self, target: str, *, request: str | None = None) -> AnswerView:
        """Stop what runs of a job, a service or a task, one after the other; start it anew."""
        body = {"request": request or new_request_id(), "target": target}
        return cast(AnswerView, self._send("POST", "/v1/restart", body))

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
        return cast(RecoverView, self._send("POST", "/v1/recovery", named))

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
        answer = self._send("DELETE", f"/v1/nodes/{_path(node)}", None, query)
        return cast(AnswerView, answer)

    def create_token(
        self, name: str, scope: str = "full", seconds: float | None = None
    ) -> NewTokenView:
        """Make a token; the answer holds its secret, which nobody can tell again."""
        body = {"name": name, "scope": scope, "seconds": seconds}
        return cast(NewTokenView, self._send("POST", "/v1/tokens", body))

    def tokens(self) -> list[TokenView]:
        """All tokens, by name."""
        return cast(list[TokenView], self._get("/v1/tokens"))

    def remove_token(self, name: str) -> AnswerView:
        """Let nobody in by that token any more."""
        return cast(AnswerView, self._send("DELETE", f"/v1/tokens/{_path(name)}", None))

    def _say_of(
        self, node: str, what: str, body: dict[str, Any], request: str | None
    ) -> AnswerView:
        body = {"request": request or new_request_id(), **body}
        return cast(AnswerView, self._send("POST", f"/v1/nodes/{_path(node)}/{what}", body))

    # --- streams ---

    def events(
        self, *, after: int = 0, epoch: int | None = None, job: str | None = None
    ) -> list[EventView]:
        """The events after a revision that there are, oldest first. See `follow_events`."""
        found: list[EventView] = []
        while True:
            page = self._get("/v1/events", after=after, epoch=epoch, job=job, limit=PAGE)
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
        with self._stream("/v1/events", query) as response:
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
        with self._stream(path, query, silence_seconds=None) as response:
            yield from response.iter_raw()

    @contextmanager
    def execute(
        self, task: str, command: Sequence[str], *, tty: bool = False, rows: int, columns: int
    ) -> Iterator[Running]:
        """Run a command where a task runs; it ends with the `with`."""
        body = {"command": list(command), "tty": tty, "rows": rows, "columns": columns}
        path = f"/v1/tasks/{_path(task)}/exec"
        with self._stream(path, {}, silence_seconds=None, body=body) as response:
            yield Running(self._http, response)

    # --- the wire ---

    def _get(self, path: str, **query: Any) -> Any:
        return self._send("GET", path, None, query)

    def _send(self, method: str, path: str, body: Any, query: dict[str, Any] | None = None) -> Any:
        with self._reach():
            response = self._http.request(method, path, json=body, params=_given(query or {}))
        _check(response)
        return response.json()

    @contextmanager
    def _stream(
        self,
        path: str,
        query: dict[str, Any],
        silence_seconds: float | None = STREAM_SILENCE_SECONDS,
        body: dict[str, Any] | None = None,
    ) -> Iterator[httpx2.Response]:
        timeout = httpx2.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS, read=silence_seconds)
        with (
            self._reach(),
            self._http.stream(
                "GET" if body is None else "POST",
                path,
                params=_given(query),
                timeout=timeout,
                json=body,
            ) as response,
        ):
            if response.is_error:
                response.read()
            _check(response)
            yield response

    @contextmanager
    def _reach(self) -> Iterator[None]:
        """Turn what goes wrong on the way into `NoManager`."""
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            if (why := _distrust(error)) is not None:
                raise Distrusted(
                    f"{self.address} is not the manager that is trusted: {why}."
                ) from None
            raise NoManager(f"No manager answers at {self.address}.") from error
        except httpx2.TimeoutException as error:
            raise NoManager(
                f"The manager at {self.address} did not answer in time.",
                "Look at what it says where it runs, and try again.",
            ) from error
        except httpx2.TransportError as error:
            raise NoManager(
                f"The connection to the manager at {self.address} broke.",
                "It was probably stopped. Start it again with: cube dev, or cube manager",
            ) from error


class Running:
    """A command that runs beside a task; see `cube.frames` for what it says."""

    def __init__(self, http: httpx2.Client, response: httpx2.Response) -> None:
        self.exit_code: int | None = None  # once its output has ended
        self._http = http
        self._frames = read_frames(response.iter_raw())
        _, data = next(self._frames)
        self._path = f"/v1/exec/{json.loads(data)['exec']}"

    def output(self) -> Iterator[tuple[bool, bytes]]:
        """What it says until it ends: (is it an error stream, bytes)."""
        for kind, data in self._frames:
            if kind == ENDED:
                self.exit_code = json.loads(data)["exit_code"]
                return
            yield kind == STDERR, data

    def write(self, data: bytes) -> None:
        """Give it input."""
        _check(self._http.post(f"{self._path}/input", content=data))

    def end_input(self) -> None:
        """There is no more input. A command that has ended already needs none."""
        self._http.post(f"{self._path}/input", params={"end": 1})

    def resize(self, rows: int, columns: int) -> None:
        """Its terminal has another size now."""
        _check(self._http.post(f"{self._path}/size", json={"rows": rows, "columns": columns}))


def _trusting(authority: str) -> ssl.SSLContext:
    """Believes who that authority vouches for, and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if authority:
        context.load_verify_locations(cadata=authority)
    return context


def _distrust(error: BaseException | None) -> str | None:
    """Why TLS does not believe the other side; None if that is not what went wrong."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return None if error is None else error.verify_message


def new_request_id() -> str:
    """A name for one request, so that repeating it changes nothing twice."""
    return uuid.uuid4().hex


def _given(query: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _path(name: str) -> str:
    """A name as part of a URL; its slashes separate."""
    return "/".join(quote(part, safe="") for part in name.split("/"))


def _check(response: httpx2.Response) -> None:
    """Raise what the server says went wrong."""
    if not response.is_error:
        return
    try:
        problem = ApiProblem(response.json())
    except (ValueError, KeyError, TypeError):
        raise NoManager(
            f"{response.url} answered {response.status_code}, but not as a Cube manager does.",
            "Is another program listening there? Start Cube with: cube dev --listen HOST:PORT",
        ) from None
    raise problem
