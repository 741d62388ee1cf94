"""What a worker tells its manager when it is asked."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.exceptions import HTTPException
from starlette.requests import Request

from cube.messages import Fact, Phase, Report
from cube.remote.line import Line
from cube.serving.streams import Bell
from cube.spec import JobSpec, TaskSpec
from cube.task import MachineUse, TaskUse
from cube.trust import Identity
from cube.trust.contexts import manager_to_node
from cube.worker_api.metrics import expose
from cube.worker_api.tasks import TaskRoutes
from tests.hosting.hosts import client_of, manager_at, worker_at
from tests.waiting import wait


def test_worker_tells_tasks_and_what_is_used(tmp_path) -> None:
    with (
        manager_at(tmp_path / "manager") as manager,
        client_of(manager) as client,
        worker_at(tmp_path / "one", manager, "one", engine="process") as worker,
    ):
        command = ("sleep", "1000")
        client.submit(JobSpec("shop", (TaskSpec("web", "image", command=command),)))
        wait(client, lambda: client.task("shop/web/1")["state"] == "running")
        line = manager.backend.engines.line("one")
        (task,) = until(line, "/v1/tasks", lambda tasks: tasks and tasks[0]["phase"] == "running")
        assert (task["task"], task["attempt"], task["restart"]) == ("shop/web/1", 1, 0)
        os.kill(int(task["container"]), signal.SIGCONT)  # it is there
        assert json.loads(line.call("GET", "/v1/statistics")).keys() == {"machine", "tasks"}
        path = worker.directory.identity_path
        own = manager_to_node(path, Identity.read(path).authority)
        scraper = http.client.HTTPSConnection(worker.address, context=own)  # tells no version
        scraper.request("GET", "/metrics")
        text = scraper.getresponse().read().decode()
        scraper.close()
        found = samples(text)
        assert found["cube_runs", "one", "running"] == found["cube_engine_up", "one"] == 1
        line.close()
        worker.engine.purge()


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_was_measured_is_exposed() -> None:
    machine = MachineUse(1500, 4000, 2, 8, 3, 9)
    usage = (TaskUse("shop/web/1@1", 1, 250, 1),)
    ended = Fact("shop/web/2@1", 1, 0, Phase.ENDED)
    report = Report("one", "c", 1, 1, 0.0, True, None, (ended,), None, "gone", 0, 0, machine, usage)
    found = samples(expose(report))
    assert found == {
        ("cube_engine_up", "one"): 0,
        ("cube_runs", "one", "ended"): 1,
        ("cube_node_used_cpu_cores", "one"): 1.5,
        ("cube_node_used_memory_bytes", "one"): 2 << 20,
        ("cube_node_used_disk_bytes", "one"): 3 << 20,
        ("cube_task_cpu_cores", "one", "shop/web/1"): 0.25,
        ("cube_task_memory_bytes", "one", "shop/web/1"): 1 << 20,
    }


def until(line: Line, path: str, condition):
    """Ask again until it is so: the worker tells anew every second."""
    while not condition(told := json.loads(line.call("GET", path))):
        pass
    return told


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("no JSON", 400),
        ("[" * 100_000, 400),
        ("[]", 422),
        ('{"command": ["sh"], "tty": false, "rows": Infinity, "columns": 80}', 422),
        ('{"command": ["sh"], "tty": false, "rows": 1e999, "columns": 80}', 422),
        ('{"command": ["a\\u0000b"], "tty": false, "rows": 24, "columns": 80}', 422),
        ('{"command": [], "tty": false, "rows": 24, "columns": 80}', 422),
        ('{"command": 7, "tty": false, "rows": 24, "columns": 80}', 422),
    ],
)
def test_what_is_no_command_is_refused(body: str, status: int) -> None:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body.encode()}

    scope = {
        "type": "http",
        "method": "POST",
        "headers": [],
        "path_params": {"uid": "shop/web/1@1"},
    }
    routes = TaskRoutes(None, Bell())
    with pytest.raises(HTTPException) as caught:
        asyncio.run(routes.execute(Request(scope, receive)))
    assert caught.value.status_code == status
