"""`cube demo`: the whole of Cube in half a minute, and nothing left behind.

Starts an embedded cluster in a directory of its own, talks to it as any client does, and removes
everything at the end, also after Ctrl-C.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from cube.cli import remains, tables
from cube.cli.connection import client_failure
from cube.cli.exits import ExitCode, Failure
from cube.cli.files import describe_job, read_file
from cube.cli.hosting import cluster_failure
from cube.cli.printing import print_table, print_title
from cube.cli.progress import Progress
from cube.cli.text import say
from cube.cli.verdict import Judge

if TYPE_CHECKING:
    from cube.client import Client
    from cube.cluster import Cluster
    from cube.spec import JobSpec
    from cube.views import ExplainView, TaskView

EXAMPLE = Path(__file__).with_name("shop.compose.yaml")
NODES = 3
POLL_SECONDS = 0.1
PATIENCE_SECONDS = 60.0
PLACEMENT_COLUMNS = ("task", "node", "score", "why there")
EngineName = Literal["docker", "process"]


@click.command()
@click.option(
    "--engine",
    type=click.Choice(["docker", "process"]),
    help="Default: Docker, or plain processes where it cannot be used.",
)
def demo(engine: EngineName | None) -> None:
    """Watch a cluster run a small shop, explain itself and clean up."""
    job = read_file(EXAMPLE.resolve()).job
    chosen, why_not = choose_engine(engine, sorted({spec.image for spec in job.services}))
    if why_not:
        say(f"{why_not}\nSo the shop runs as plain processes instead of containers.\n")
    folder = Path(tempfile.mkdtemp(prefix="cube-demo-"))
    try:
        with _embedded(folder, chosen) as cluster:
            _play(cluster, chosen, job)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def choose_engine(wanted: EngineName | None, images: Sequence[str]) -> tuple[EngineName, str]:
    """Docker, if it answers and has or gets the images; else processes, and why not Docker."""
    if wanted == "process":
        return "process", ""
    why_not = remains.why_not_docker(_docker_url(), images)
    if why_not and wanted == "docker":
        raise Failure(why_not, remedy="`cube demo --engine process` needs no Docker")
    return ("process", why_not) if why_not else ("docker", "")


def _docker_url() -> str | None:
    return os.environ.get("DOCKER_HOST")


@contextmanager
def _embedded(folder: Path, engine: EngineName) -> Iterator[Cluster]:
    """A cluster of three nodes; all that it made is removed, whatever happens inside."""
    from cube.client import ClientError
    from cube.cluster import Cluster, ClusterOptions
    from cube.hosting.failures import ClusterError

    cluster = Cluster(ClusterOptions(folder, NODES, engine, docker_url=_docker_url()))
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        try:
            cluster.start()
            yield cluster
        except KeyboardInterrupt:
            say("\ninterrupted; cleaning up")
            raise
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # cleaning up is not to be cut short
            cluster.stop(rm=True, say=lambda text: None)
            signal.signal(signal.SIGINT, signal.default_int_handler)
    except ClusterError as error:
        raise cluster_failure(error) from None
    except ClientError as error:
        raise client_failure(error) from None
    if engine == "docker":
        say(f"removed; left behind: {remains.left_behind(_docker_url(), cluster.id)}")
    else:
        say("removed; nothing is left behind")


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _play(cluster: Cluster, engine: EngineName, job: JobSpec) -> None:
    """The acts of the demo, on a cluster that runs."""
    from cube.client import Client

    where = "Docker" if engine == "docker" else "plain processes"
    print_title(f"Cube: {NODES} nodes on {where}, one control plane")
    say(f"the manager listens at {cluster.url}; policy {cluster.options.policy}")
    with Client(cluster.url, cluster.token) as client:
        _wait_for_nodes(client)
        print_table(tables.NODE_COLUMNS, tables.node_rows(client.nodes()))
        print_title("cube run -f examples/shop.compose.yaml")
        say(describe_job(job))
        client.submit(job)
        _watch(client, job.name)
        print_title("cube explain: where each task went, and why")
        _show_placements([client.explain(task["id"]) for task in client.tasks(job.name)])
        print_title("cube logs: what they said")
        _show_output(client, client.tasks(job.name))
        print_title("cube stop, cube rm")
        say("stopping all of it")


def _wait_for_nodes(client: Client) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while sum(node["open"] for node in client.nodes()) < NODES:
        if time.monotonic() > end:
            raise Failure("the nodes do not come up", remedy="look at `cube doctor`")
        time.sleep(POLL_SECONDS)


def _watch(client: Client, job: str) -> None:
    """Show the tasks on their way, until the shop runs."""
    judge, end = Judge(job), time.monotonic() + PATIENCE_SECONDS
    with Progress() as progress:
        while True:
            tasks = client.tasks(job)
            progress.show(tasks)
            verdict = judge.judge(client.job(job), tasks, time.monotonic())
            if verdict is not None or time.monotonic() > end:
                break
            time.sleep(POLL_SECONDS)
    print_table(tables.TASK_COLUMNS, tables.task_rows(client.tasks(job)))
    if verdict is None:
        text = f"the shop is not up after {PATIENCE_SECONDS:g} s"
        raise Failure(text, remedy="look at `cube doctor`", code=ExitCode.UNHEALTHY)
    if verdict.code != ExitCode.OK:
        raise Failure(verdict.text, remedy="look at `cube doctor`", code=verdict.code)
    say(verdict.text)


def _show_placements(found: Sequence[ExplainView]) -> None:
    rows: tables.Rows = []
    for view in found:
        decision = view["decision"]
        if decision is not None:
            rows.append((view["task"]["id"], decision["node"], decision["score"], _why(view)))
    print_table(PLACEMENT_COLUMNS, rows)


def _why(view: ExplainView) -> str:
    """The reason of a decision, without what the table's other columns say."""
    decision = view["decision"]
    assert decision is not None
    fit, compared = decision["feasible"], 1 + len(decision["runners_up"])
    parts = [f"lowest score of {tables.plural(fit, 'node')} that fit"]
    if compared < fit:  # instances of a service spread before scores are compared
        service = view["task"]["service"]
        parts = [f"of {tables.plural(fit, 'node')} that fit, the one with fewest {service}"]
        if compared > 1:
            parts = [f"lowest score of the {compared} nodes with fewest {service}"]
    parts += [f"{other['node']} scores {other['score']:.4g}" for other in decision["runners_up"]]
    parts += [
        f"{tables.plural(r['nodes'], 'node')} turned away: {r['text']}"
        for r in decision["rejections"]
    ]
    return "; ".join(parts)


def _show_output(client: Client, tasks: Sequence[TaskView]) -> None:
    """The last line of each task; what has completed keeps its output until it is stopped."""
    for task in tasks:
        output = b"".join(client.logs(task["id"], tail=1)).decode(errors="replace")
        say(f"{task['id']:<14} | {output.strip()}")
