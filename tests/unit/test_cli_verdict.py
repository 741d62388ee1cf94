"""When is a submit over? The judge, shown views made from real records."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cube.cli.exits import ExitCode
from cube.cli.verdict import MAX_FAILURES, ROOM_SECONDS, SETTLE_SECONDS, Judge
from cube.spec import HealthCheck, JobSpec, Kind, TaskSpec
from cube.task import Decision, Job, Rejection, State, Task
from cube.views.jobs import show_job
from cube.views.show import show_task

WEB = TaskSpec("web", "busybox", instances=2)
TALLY = TaskSpec("tally", "busybox", kind=Kind.BATCH)
NO_ROOM = Decision("", None, rejections=(Rejection("memory", 3, 4096, 3277, "node-7"),))
PLACED = Decision("", 0, "node-1", "epvm", 0.5, feasible=3)


def task(spec: TaskSpec = WEB, index: int = 1, **fields) -> Task:
    fields = {"state": State.RUNNING, "phase": 1, "attempt": 1, "node": "node-1"} | fields
    name = f"shop/{spec.name}/{index}"
    return Task(name, 1, "shop", spec.name, str(index), fields.pop("version", 1), spec, **fields)


def pending(spec: TaskSpec = WEB, index: int = 1, **fields) -> Task:
    return task(spec, index, state=State.PENDING, phase=-1, attempt=0, node=None, **fields)


class Case:
    """A job that is looked at again and again."""

    def __init__(self, *services: TaskSpec, before: tuple[Task, ...] = ()) -> None:
        self.job = Job("shop", JobSpec("shop", services), 1, 1, 1)
        self.judge = Judge("shop", [show_task(t) for t in before])
        self.now = 0.0

    def see(self, *tasks: Task, after: float = 0.0, **job):
        self.now += after
        shown = show_job(replace(self.job, **job), tasks)
        return self.judge.judge(shown, [show_task(t) for t in tasks], self.now)


def test_a_service_is_up_once_it_has_run_for_a_while():
    case = Case(WEB)
    assert case.see(pending(), pending(index=2)) is None
    both = (task(), task(index=2))
    assert case.see(*both, after=1) is None
    assert case.see(*both, after=SETTLE_SECONDS - 0.1) is None
    verdict = case.see(*both, after=0.2)
    assert (verdict.code, verdict.text) == (ExitCode.OK, "shop version 1 is running")


def test_a_restart_begins_the_wait_anew():
    case = Case(WEB)
    case.see(task(), task(index=2))
    restarted = (task(), task(index=2, restart=1))
    assert case.see(*restarted, after=SETTLE_SECONDS) is None
    assert case.see(*restarted, after=SETTLE_SECONDS).code == ExitCode.OK


def test_completed_batch_tasks_need_no_wait():
    case = Case(TALLY)
    assert case.see(task(TALLY)) is None
    done = case.see(task(TALLY, state=State.COMPLETED, exit_code=0))
    assert (done.code, done.text) == (ExitCode.OK, "shop version 1 is completed")


def test_what_ran_before_the_submit_needs_no_wait():
    running = (task(), task(index=2))
    assert Case(WEB, before=running).see(*running).code == ExitCode.OK


def test_a_checked_service_is_up_when_it_is_healthy():
    checked = replace(WEB, instances=1, healthcheck=HealthCheck(("CMD", "true")))
    case = Case(checked)
    assert case.see(task(checked)) is None
    assert case.see(task(checked), after=60) is None
    assert case.see(task(checked, healthy=False), after=1) is None
    assert case.see(task(checked, healthy=True), after=SETTLE_SECONDS).code == ExitCode.OK


def test_no_room_is_told_once_all_that_can_run_runs():
    case = Case(WEB)
    tasks = (task(), pending(index=2, decision=NO_ROOM))
    assert case.see(*tasks) is None
    verdict = case.see(*tasks, after=ROOM_SECONDS + 0.1)
    assert verdict.code == ExitCode.UNPLACED
    assert "shop/web/2" in verdict.text
    assert "4" in verdict.text
    assert "node-7" in verdict.text
    assert "cube explain shop/web/2" in verdict.remedy


def test_no_room_waits_for_a_batch_task_that_may_free_some():
    case = Case(WEB, TALLY)
    tasks = (pending(decision=NO_ROOM), task(TALLY))
    assert case.see(*tasks) is None
    assert case.see(*tasks, after=60) is None


def test_what_depends_on_an_unplaced_task_is_not_waited_for():
    case = Case(WEB, TALLY)
    tasks = (pending(decision=NO_ROOM), pending(TALLY, reason="waits for shop/web"))
    case.see(*tasks)
    assert case.see(*tasks, after=2).code == ExitCode.UNPLACED


@pytest.mark.parametrize(
    "fields",
    [
        {"state": State.FAILED, "reason": "exited 1"},
        {"state": State.PENDING, "reschedules": 1, "reason": "no such image"},
        {"phase": 2, "failures": (1.0,) * MAX_FAILURES, "reason": "no such program"},
    ],
)
def test_failing_tasks_end_the_wait(fields):
    case = Case(WEB)
    verdict = case.see(task(), task(index=2, **fields))
    assert verdict.code == ExitCode.UNHEALTHY
    assert "shop/web/2" in verdict.text
    assert fields["reason"] in verdict.text
    assert "cube logs shop/web/2" in verdict.remedy


def test_a_loop_is_told_even_while_it_is_being_tried_again():
    again = task(failures=(1.0,) * MAX_FAILURES, exit_code=7)
    text = Case(WEB).see(again, task(index=2)).text
    assert text == "shop/web/1 does not come up: it failed 3 times, at last with exit code 7"


def test_one_failure_is_forgiven():
    assert Case(WEB).see(task(phase=2, failures=(1.0,)), task(index=2)) is None


def test_failures_before_the_submit_are_not_counted():
    web = replace(WEB, instances=1)
    old = task(web, failures=(1.0,) * MAX_FAILURES, reschedules=4)
    case = Case(web, before=(old,))
    assert case.see(old).code == ExitCode.OK
    worse = replace(old, reschedules=5)
    assert case.see(worse).code == ExitCode.UNHEALTHY


def test_a_halted_roll_out():
    verdict = Case(WEB).see(task(), halted="shop/web/1 did not come up")
    assert verdict.code == ExitCode.UNHEALTHY
    assert "halted" in verdict.text
    assert "did not come up" in verdict.text


def test_a_job_that_somebody_stops_meanwhile():
    assert Case(WEB).see(task(), stopped=True).code == ExitCode.UNHEALTHY


def test_a_failing_policy_is_told_as_unplaced():
    case = Case(WEB)
    broken = Decision("", None, policy="mine", error="ZeroDivisionError: division by zero")
    tasks = (pending(decision=broken), pending(index=2, decision=broken))
    case.see(*tasks)
    verdict = case.see(*tasks, after=2)
    assert verdict.code == ExitCode.UNPLACED
    assert "ZeroDivisionError" in verdict.text
