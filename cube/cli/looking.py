"""`cube status` and `cube nodes`: how things stand."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cube.cli import connection, tables
from cube.cli.exits import ExitCode, Failure, warn
from cube.cli.printing import (
    clear_screen,
    on_terminal,
    output_option,
    print_json,
    print_json_line,
    print_table,
)
from cube.cli.text import say

if TYPE_CHECKING:
    from cube.client import Client
    from cube.views import TaskView

WATCH_SECONDS = 1.0
TOP_SECONDS = 2.0  # nodes measure every 5 s


@click.command()
@click.argument("target", required=False, shell_complete=connection.complete_target)
@click.option("-w", "--watch", is_flag=True, help="Show it again whenever it changes.")
@connection.state_dir_option
@output_option
def status(target: str | None, watch: bool, state_dir: Path, output: str) -> None:
    """Show the cluster, a job, a service or a task.

    TARGET is a JOB, a JOB/SERVICE or a task (JOB/SERVICE/INDEX); default: all.
    """
    with connection.connected(state_dir) as client:
        look, show = _views(client, target)
        if watch:
            _watch(look, show, output)
            return
        seen = look()
        if output == "json":
            print_json(seen)
        else:
            show(seen)


Look = Callable[[], Any]
Show = Callable[[Any], None]


def _views(client: Client, target: str | None) -> tuple[Look, Show]:
    """How to ask for what `target` names, and how to show the answer."""
    if target is None:
        return lambda: _all(client), show_all
    depth = target.count("/")
    if depth > 2 or not all(target.split("/")):
        remedy = "name a job, a service (JOB/SERVICE) or a task (JOB/SERVICE/INDEX)"
        raise Failure(
            f"{target or 'an empty name'} is no target", remedy=remedy, code=ExitCode.USAGE
        )
    if depth == 2:
        return lambda: client.task(target), show_task
    return lambda: _job(client, target), show_job


def _all(client: Client) -> dict[str, Any]:
    return {"cluster": client.cluster(), "jobs": client.jobs(), "tasks": client.tasks()}


def _job(client: Client, target: str) -> dict[str, Any]:
    """A job with its tasks; of one service only, if the target names one."""
    name, _, service = target.partition("/")
    job, tasks = client.job(name), client.tasks(name)
    if service:
        tasks = tasks_of(tasks, target)
        if not tasks and service not in [s["name"] for s in job["services"]]:
            known = ", ".join(s["name"] for s in job["services"])
            raise Failure(
                f"{name} has no service {service}",
                remedy=f"it has: {known}",
                code=ExitCode.NOT_FOUND,
            )
        job = {**job, "services": [s for s in job["services"] if s["name"] == service]}
    return {"job": job, "tasks": tasks}


def tasks_of(tasks: list[TaskView], target: str) -> list[TaskView]:
    """Those that a target names: a job, a service or a task."""
    return [t for t in tasks if t["id"] == target or t["id"].startswith(target + "/")]


def show_all(seen: dict[str, Any]) -> None:
    """The cluster, its jobs, its tasks."""
    if seen["cluster"]["note"]:
        warn(seen["cluster"]["note"])
    say(tables.cluster_line(seen["cluster"]))
    if not seen["jobs"]:
        say("\nno jobs; run one with `cube run -f FILE` or `cube run IMAGE`")
        return
    say()
    print_table(tables.JOB_COLUMNS, tables.job_rows(seen["jobs"]))
    say()
    print_table(tables.TASK_COLUMNS, tables.task_rows(seen["tasks"]))


def show_job(seen: dict[str, Any]) -> None:
    """A job, its services, its tasks."""
    job = seen["job"]
    source = f", from {job['source']}" if job["source"] else ""
    say(f"{job['name']} version {job['version']} is {job['state']}{source}")
    if job["reason"]:
        say(job["reason"])
    say()
    print_table(tables.SERVICE_COLUMNS, tables.service_rows(job["services"]))
    say()
    print_table(tables.TASK_COLUMNS, tables.task_rows(seen["tasks"]))


def show_task(task: TaskView) -> None:
    """A task, name by name."""
    for name, value in tables.task_details(task):
        if value not in (None, ""):
            say(f"{name:<10} {value}")


def _watch(look: Look, show: Show, output: str) -> None:
    """Show it at first, and again after each change, until Ctrl-C."""
    before: Any = None
    while True:
        seen = look()
        if _without_clock(seen) != before:
            before = _without_clock(seen)
            if output == "json":
                print_json_line(seen)
            else:
                clear_screen()
                show(seen)
        time.sleep(WATCH_SECONDS)


def _without_clock(seen: Any) -> Any:
    """What was seen, but for the time of the look."""
    if "cluster" in seen:
        return {**seen, "cluster": {**seen["cluster"], "now": ""}}
    return seen


@click.command()
@connection.state_dir_option
@output_option
def nodes(state_dir: Path, output: str) -> None:
    """Show the nodes: what they offer, and what is taken."""
    with connection.connected(state_dir) as client:
        found = client.nodes()
    if output == "json":
        print_json(found)
    else:
        print_table(tables.NODE_COLUMNS, tables.node_rows(found))


@click.command()
@click.argument("job", required=False, shell_complete=connection.complete_target)
@connection.state_dir_option
@output_option
def services(job: str | None, state_dir: Path, output: str) -> None:
    """Show where services are reached, and whether they are healthy.

    A service without an address publishes no port: it is reached by its name, on its own node.
    """
    with connection.connected(state_dir) as client:
        found = client.services(job)
    if output == "json":
        print_json(found)
    else:
        print_table(tables.ENDPOINT_COLUMNS, tables.endpoint_rows(found))


@click.group()
def top() -> None:
    """Show what nodes or tasks use, again and again."""


once_option = click.option("--once", is_flag=True, help="Show it once; so it is in a pipe.")


@top.command("nodes")
@once_option
@connection.state_dir_option
@output_option
def top_nodes(once: bool, state_dir: Path, output: str) -> None:
    """Show what machines use, beside what their tasks have reserved."""

    def show(found: Any) -> None:
        print_table(tables.LOAD_COLUMNS, tables.load_rows(found))

    with connection.connected(state_dir) as client:
        _again(client.nodes, show, output, once=once)


@top.command("tasks")
@once_option
@connection.state_dir_option
@output_option
def top_tasks(once: bool, state_dir: Path, output: str) -> None:
    """Show what tasks use and what they have reserved, the hungriest first."""

    def show(found: Any) -> None:
        print_table(tables.USAGE_COLUMNS, tables.usage_rows(found))

    with connection.connected(state_dir) as client:
        _again(client.usage, show, output, once=once)


def _again(look: Look, show: Show, output: str, *, once: bool) -> None:
    """Show it every few seconds on a terminal, until Ctrl-C; else once."""
    while True:
        seen = look()
        if output == "json":
            print_json(seen)
        else:
            if not once and on_terminal():
                clear_screen()
            show(seen)
        if once or output == "json" or not on_terminal():
            return
        time.sleep(TOP_SECONDS)
