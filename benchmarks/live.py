"""What Cube itself costs beside a bare Docker engine, both sides in one run.

    python benchmarks/live.py [--containers 100] [--singles 30] [--nodes 10] [--out FILE]

Needs a Docker engine with `busybox:latest` and starts a manager and workers of its own on loopback,
over TLS, as they run on several machines:

- *memory*: what is resident of the manager and of a worker, with so many idle nodes;
- *idle CPU*: the manager's, as a multiple of what a bare TLS server needs for as many requests;
- *many*: containers of one job, from the request until all run, beside a loop over the Docker SDK
  with as many threads as a worker has, which creates and starts the same containers;
- *one*: from the accepted request until the container runs, beside a bare create and start.

What was started is removed at the end.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import psutil
from docker.errors import NotFound

from cube.client import Client
from cube.spec import Constraint, JobSpec, TaskSpec
from cube.state_dir import StateDir
from cube.trust import Authority
from cube.trust.contexts import to_manager, users_listener

THREADS = 4  # with which a worker's engine starts containers
IMAGE = "busybox:latest"
SLEEP = ("sleep", "3600")
IDLE_SECONDS = 20.0
BARE_REQUESTS = 2000


@contextmanager
def process(arguments: list[str], says: str) -> Iterator[tuple[psutil.Process, str]]:
    """A `cube` command that has said so, and that line; it is ended with the block."""
    command = [sys.executable, "-m", "cube", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            for line in running.stdout:
                if found := re.search(says, line):
                    drain = threading.Thread(target=running.stdout.read, daemon=True)
                    drain.start()
                    yield psutil.Process(running.pid), found[0]
                    break
            else:
                sys.exit(f"{' '.join(command)} has ended too early")
        finally:
            running.terminate()


class Site:
    """A manager with its workers: the first on Docker, the others simulated."""

    def __init__(self, folder: Path, nodes: int, stack: ExitStack) -> None:
        state = folder / "manager"
        listen = ["--listen", "127.0.0.1:0", "--state-dir", str(state)]
        self.manager, join = stack.enter_context(process(["manager", *listen], r"--join .*"))
        words = join.split()
        self.workers = []
        for i in range(nodes):
            engine = "docker" if i == 0 else "simulated"
            place = ["--state-dir", str(folder / f"node-{i}"), "--listen", "127.0.0.1:0"]
            place += ["--name", f"node-{i}", "--engine", engine, "--label", f"engine={engine}"]
            worker, _ = stack.enter_context(process(["worker", *words, *place], "serves"))
            self.workers.append(worker)
        directory = StateDir(state)
        authority = directory.certificate_path.read_text()
        address, token = directory.address(), directory.token()
        assert address
        assert token
        self.client = stack.enter_context(Client(address, token, authority))
        self.wait(lambda: sum(n["state"] == "alive" for n in self.client.nodes()) == nodes)

    def wait(self, condition: Any) -> None:
        """Look again after each event until it holds."""
        if not condition():
            for _ in self.client.follow_events():
                if condition():
                    return

    def run(self, name: str, instances: int) -> tuple[float, float]:
        """When a job of so many was asked for, and accepted; it runs when this returns."""
        only = (Constraint("node.labels.engine", "==", "docker"),)
        spec = TaskSpec("task", IMAGE, command=SLEEP, instances=instances, constraints=only,
                        cpu_milli=1, memory_mib=4)  # fmt: skip
        asked = time.time()
        self.client.submit(JobSpec(name, (spec,)))
        accepted = time.time()
        tasks = self.client.tasks
        self.wait(lambda: sum(t["state"] == "running" for t in tasks(name)) == instances)
        return asked, accepted

    def end(self, name: str) -> None:
        """Stop the job and forget it."""
        self.client.remove(name, force=True)
        self.wait(lambda: name not in [job["name"] for job in self.client.jobs()])


class Bare:
    """The engine, without Cube."""

    def __init__(self) -> None:
        self.docker = docker.from_env()

    def start(self, _: int = 0) -> Any:
        """Create and start one container."""
        made = self.docker.containers.create(IMAGE, SLEEP, mem_limit="64m", detach=True)
        made.start()
        return made

    def many(self, containers: int) -> float:
        """Seconds until so many run."""
        begun = time.time()
        with ThreadPoolExecutor(THREADS) as pool:
            made = list(pool.map(self.start, range(containers)))
        seconds = max(map(started, made)) - begun
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda one: one.remove(force=True), made))
        return seconds

    def one(self) -> float:
        """Seconds until one runs."""
        begun = time.time()
        made = self.start()
        seconds = started(made) - begun
        made.remove(force=True)
        return seconds

    def of_job(self, job: str) -> list[Any]:
        """The containers that Cube has made for a job."""
        return list(self.docker.containers.list(filters={"label": f"cube.job={job}"}))

    def await_end(self, job: str) -> None:
        """Wait until the containers of a job have ended, so that ending them disturbs nothing."""
        found = self.docker.containers.list(all=True, filters={"label": f"cube.job={job}"})
        for container in found:
            with suppress(NotFound):
                container.wait()


def started(container: Any) -> float:
    """When it started, in seconds since 1970, by the engine's word."""
    container.reload()
    day, _, fraction = container.attrs["State"]["StartedAt"].rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{day}+00:00").timestamp() + float(f"0.{fraction or 0}")


def idle(site: Site) -> dict[str, Any]:
    """Memory, and CPU while nothing happens."""
    before, begun = sum(site.manager.cpu_times()[:2]), time.monotonic()
    time.sleep(IDLE_SECONDS)
    seconds = sum(site.manager.cpu_times()[:2]) - before
    requests = len(site.workers) * (time.monotonic() - begun)  # each reports once a second
    bare = bare_request_seconds()
    return {
        "manager_mib": round(site.manager.memory_info().rss / 2**20),
        "docker_worker_mib": round(site.workers[0].memory_info().rss / 2**20),
        "manager_cpu_share": round(seconds / IDLE_SECONDS, 4),
        "bare_request_milliseconds": round(1000 * bare, 3),
        "cpu_in_bare_requests": round(seconds / (requests * bare), 1),
    }


class _Empty(BaseHTTPRequestHandler):
    """Answers nothing to anything."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Read the body, and say that it was read."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def bare_request_seconds() -> float:
    """CPU seconds for one request over TLS on a connection that stays, both sides together."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        authority = Authority(path / "ca.pem", "bare", time.time())
        authority.manager(path / "manager.pem", ["127.0.0.1"], time.time())
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Empty)
        server.socket = users_listener(path / "manager.pem").wrap_socket(server.socket, True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context = to_manager(authority.certificate)
        line = http.client.HTTPSConnection("127.0.0.1", server.server_port, context=context)
        begun = time.process_time()
        for _ in range(BARE_REQUESTS):
            line.request("POST", "/", b"x" * 500)
            line.getresponse().read()
        seconds = time.process_time() - begun
        line.close()
        server.shutdown()
    return seconds / BARE_REQUESTS


def measure(containers: int, singles: int, nodes: int) -> dict[str, Any]:
    """Everything, one after the other; Cube and the bare engine in turn."""
    bare = Bare()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        site = Site(Path(folder), nodes, stack)
        result: dict[str, Any] = {"nodes": nodes, "containers": containers, **idle(site)}
        bare.one()
        many = []
        for turn in range(3):
            direct = bare.many(containers)
            asked, _ = site.run(f"many-{turn}", containers)
            cube = max(map(started, bare.of_job(f"many-{turn}"))) - asked
            site.end(f"many-{turn}")
            bare.await_end(f"many-{turn}")
            many.append((cube, direct))
        ones = []
        for turn in range(singles):
            direct = bare.one()
            _, accepted = site.run(f"one-{turn}", 1)
            (container,) = bare.of_job(f"one-{turn}")
            ones.append((started(container) - accepted, direct))
            site.end(f"one-{turn}")
            bare.await_end(f"one-{turn}")
    result["many_to_bare"] = [round(cube / direct, 3) for cube, direct in many]
    cube, direct = (statistics.median(column) for column in zip(*ones, strict=True))
    result["one_milliseconds"] = round(1000 * cube)
    result["one_bare_milliseconds"] = round(1000 * direct)
    return result


def main() -> None:
    """Measure, print, and write the JSON file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--containers", type=int, default=100)
    parser.add_argument("--singles", type=int, default=30)
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--out", type=Path, help="a JSON file")
    asked = parser.parse_args()
    result = measure(asked.containers, asked.singles, asked.nodes)
    print(json.dumps(result, indent=1))
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
