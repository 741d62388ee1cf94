"""What people see: rows from views, plain in a pipe, times in their own zone."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from cube.cli import tables
from cube.cli.printing import local_time, plain_lines, print_table, rich_table
from cube.spec import HealthCheck, JobSpec, Port, TaskSpec
from cube.task import Decision, HostPort, Job, Rejection, State, Task
from cube.views.jobs import show_job
from cube.views.show import show_decision, show_task

WEB = TaskSpec("web", "busybox", ports=(Port(8000),), cpu_milli=250, memory_mib=1536)
RUNNING = Task(
    "shop/web/1",
    1,
    "shop",
    "web",
    "1",
    1,
    WEB,
    state=State.RUNNING,
    phase=1,
    attempt=1,
    restart=2,
    node="node-1",
    ports=(HostPort(8000, 32768, "tcp"),),
)


@pytest.fixture
def new_york(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("new_york")
def test_times_are_local_with_their_offset():
    assert local_time("2026-03-01T11:30:05.250Z") == "2026-03-01 06:30:05-05:00"
    assert local_time(1782907200) == "2026-07-01 08:00:00-04:00"
    assert local_time(None) == ""


def test_plain_tables_align_and_cut_nothing():
    lines = plain_lines(("task", "reason"), [("shop/web/1", "x" * 300), ("a", "")])
    assert lines == ["TASK        REASON", "shop/web/1  " + "x" * 300, "a"]


def test_in_a_pipe_there_is_no_colour(capsys):
    print_table(("task", "state"), [("shop/web/1", "failed"), ("line\nbreak", None)])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert shown.splitlines()[2].startswith("line break")


def test_on_a_terminal_a_table_fits_its_width():
    from rich.console import Console

    reason = "needs 4096 MiB memory; the best of 3 nodes has 3277 MiB free"
    console = Console(width=60, force_terminal=True, color_system="standard", highlight=False)
    with console.capture() as capture:
        console.print(rich_table(("task", "state", "reason"), [["shop/web/1", "failed", reason]]))
    shown = capture.get()
    assert "\x1b[" in shown
    plain = [console.render_str(line).plain for line in shown.splitlines()]
    assert len(plain) > 2
    from rich.text import Text

    assert all(Text.from_ansi(line).cell_len <= 60 for line in shown.splitlines())


def test_a_task_in_a_row():
    (row,) = tables.task_rows([show_task(RUNNING)])
    assert row[:4] == ("shop/web/1", "running", "node-1", "32768->8000/tcp")
    assert row[5] == "restarted 2 times"


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({}, "running"),
        ({"phase": 2}, "restarting"),
        ({"healthy": False}, "unhealthy"),
        ({"state": State.PENDING, "node": None}, "pending"),
        ({"state": State.COMPLETED}, "completed"),
    ],
)
def test_a_state_in_a_word(fields, word):

    assert tables.task_state(show_task(replace(RUNNING, **fields))) == word


def test_a_checked_task_is_not_ready_before_its_first_verdict():

    spec = replace(WEB, healthcheck=HealthCheck(("CMD", "true")))
    assert tables.task_state(show_task(replace(RUNNING, spec=spec))) == "running (not ready)"


def test_a_job_and_its_services_in_rows():
    job = show_job(Job("shop", JobSpec("shop", (WEB,)), 3, 9, 7), [RUNNING])
    assert tables.job_rows([job]) == [("shop", "running", 3, "1/1", "")]
    assert tables.service_rows(job["services"]) == [
        ("web", "service", "busybox", "1/1", "0.25", "1.5G", "8000/tcp")
    ]


def test_the_differences_of_a_submit():
    lines = tables.change_lines(
        [{"field": "priority", "before": "50", "after": "60"}],
        [
            change("web", "changed", 3, 5, [("image", "busybox:1", "busybox:2")]),
            change("old", "removed", 1, 0),
            change("new", "created", 0, 1),
            change("same", "unchanged", 1, 1),
            change("env", "changed", 1, 1, [("environment.A", None, "x")]),
        ],
    )
    assert lines == [
        "  priority: 50 -> 60",
        "  ~ web: changed, 3 -> 5 instances",
        "      image: busybox:1 -> busybox:2",
        "  - old: removed",
        "  + new: created, 1 instance",
        "  = same: unchanged",
        "  ~ env: changed",
        "      environment.A: (none) -> x",
    ]


def change(service, what, before, after, fields=()):
    differing = [{"field": f, "before": b, "after": a} for f, b, a in fields]
    return {
        "service": service,
        "change": what,
        "fields": differing,
        "instances_before": before,
        "instances_after": after,
    }


def test_scores_best_first():
    decision = Decision("u", 0, "node-1", "epvm", 0.25, (("node-2", 0.5),), feasible=2)
    rows = tables.score_rows(show_decision(decision))
    assert rows == [("node-1", 0.25, "picked"), ("node-2", 0.5, "")]
    nowhere = Decision("u", None, rejections=(Rejection("cpu", 1, 4000, 1000, "node-1"),))
    assert tables.score_rows(show_decision(nowhere)) == []


def test_policies_side_by_side():
    def plan(policy, **places):
        placements = [
            {"task": task, "node": node, "decision": None, "reason": ""}
            for task, node in places.items()
        ]
        return {"policy": policy, "placed": 0, "pending": 0, "placements": placements, "error": ""}

    columns, rows = tables.placement_table(
        [plan("epvm", a="node-1", b=None), plan("random", a="node-2")]
    )
    assert columns == ["task", "epvm", "random"]
    assert rows == [("a", "node-1", "node-2"), ("b", "(waits)", "")]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0M"), (64, "64M"), (1024, "1G"), (1536, "1.5G"), (1 << 20, "1024G")]
)
def test_sizes_with_the_unit_that_reads_best(size, text):
    assert tables.mib(size) == text
