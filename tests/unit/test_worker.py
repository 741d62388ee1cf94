"""The Worker core: messages in, effects out; every test is list equality."""

from __future__ import annotations

from dataclasses import replace

from cube.messages import (
    MANAGER,
    Discard,
    EngineDown,
    Exited,
    Found,
    Generation,
    Health,
    Kill,
    List,
    Listed,
    MachineMeasured,
    Measured,
    Phase,
    Progress,
    Report,
    RestartDue,
    Run,
    RunKey,
    Send,
    Started,
    Tick,
    Wake,
)
from cube.spec import Kind
from cube.task import MachineUse, TaskUse
from tests.workers import (
    CLUSTER,
    ENGINE,
    GEN,
    INFO,
    NODE,
    SIZE,
    SPEC,
    UID,
    WANTED,
    Driver,
    assign,
    fact,
    reports,
    running,
    started,
)


def test_waking_asks_the_engine_what_is_there() -> None:
    assert Driver().tell(Wake(1)) == [Send(ENGINE, List())]


def test_engine_that_does_not_answer_is_asked_again() -> None:
    driver = Driver()
    driver.tell(Wake(1))
    assert driver.timers == [(5.0, Tick())]
    assert driver.tell(Tick(), 5.0) == [Send(ENGINE, List())]


def test_first_list_is_followed_by_the_whole_truth() -> None:
    driver = Driver()
    driver.tell(Wake(1))
    report = Report(NODE, CLUSTER, 1, 1, 2.0, True, None, (), INFO)
    assert driver.tell(Listed((), INFO), 2.0) == [Send(MANAGER, report)]


def test_wanted_task_is_run_and_its_start_reported() -> None:
    driver = started()
    key = RunKey(UID, 1, 0)
    assert driver.tell(assign(WANTED)) == [Send(ENGINE, Run(key, 1, SPEC))]
    report = Report(
        NODE, CLUSTER, 1, 2, 3.0, False, GEN, (fact(Phase.RUNNING, handle="abc"),), None
    )
    assert driver.tell(Started(key, "abc"), 3.0) == [Send(MANAGER, report)]


def test_image_that_was_told_is_run_and_what_runs_is_told() -> None:
    driver = started()
    key = RunKey(UID, 1, 0)
    run = Run(key, 1, SPEC, image="web@sha256:aa")
    assert driver.tell(assign(replace(WANTED, image="web@sha256:aa"))) == [Send(ENGINE, run)]
    (report,) = reports(driver.tell(Started(key, "abc", image="web@sha256:aa"), 3.0))
    assert report.facts == (fact(Phase.RUNNING, handle="abc", image="web@sha256:aa"),)


def test_image_of_an_adopted_container_is_told() -> None:
    driver = Driver()
    driver.tell(Wake(1))
    found = Found(RunKey(UID, 1, 0), True, size=SIZE, image="sha256:bb")
    (report,) = reports(driver.tell(Listed((found,), INFO)))
    assert report.facts[0].image == "sha256:bb"


def test_same_assignment_again_changes_nothing() -> None:
    driver = running()
    assert driver.tell(assign(WANTED, answers=(1, 2))) == []


def test_older_or_foreign_assignment_is_refused() -> None:
    driver = running()
    driver.tell(assign(WANTED, number=5))
    assert driver.tell(assign(number=4)) == []
    assert driver.tell(assign(generation=Generation("other", 9, 9))) == []
    assert driver.tell(assign(generation=Generation(CLUSTER, 0, 9))) == []


def test_assignment_to_an_earlier_life_is_refused() -> None:
    """Else a run gets a number that the manager has already seen ending."""
    driver = started()
    assert driver.tell(assign(WANTED, answers=(0, 7))) == []
    assert driver.tell(assign(WANTED, answers=(1, 1))) != []


def test_nothing_is_killed_before_the_first_assignment() -> None:
    driver = Driver()
    driver.tell(Wake(1))
    found = Found(RunKey(UID, 1, 0), True, handle="abc", size=SIZE)
    (report,) = reports(driver.tell(Listed((found,), INFO)))
    assert report.facts == (fact(Phase.RUNNING, handle="abc"),)
    assert driver.tell(assign(WANTED)) == []  # adopted, not started again


def test_unwanted_container_is_killed_then_discarded() -> None:
    driver = running()
    key = RunKey(UID, 1, 0)
    assert driver.tell(assign(number=2)) == [Send(ENGINE, Kill(key, 10.0))]
    assert driver.tell(Exited(key, 143, "stopped")) == [Send(ENGINE, Discard(key))]


def test_kept_container_is_left_alone() -> None:
    driver = running()
    assert driver.tell(assign(number=2, keep=((UID, 1),))) == []


def test_container_that_the_manager_forgot_tells_what_it_was_made_from() -> None:
    driver = running()  # started by this very worker, not found
    driver.tell(assign(number=2, keep=((UID, 1),)))
    (report,) = (r for r in reports(driver.tell(Tick(), 7.0)) if r.whole)
    assert [(f.version, f.spec) for f in report.facts] == [(WANTED.version, WANTED.spec)]


def test_task_waits_for_the_end_of_a_later_attempt_that_is_kept_or_on_its_way_out() -> None:
    """A restored store may ask for an attempt that has been followed by others."""
    key = RunKey(UID, 3, 0)
    driver = started()
    driver.tell(Listed((Found(key, True),), INFO))
    assert driver.tell(assign(WANTED, keep=((UID, 3),))) == []
    assert driver.tell(assign(WANTED, number=2)) == [Send(ENGINE, Kill(key, 10.0))]
    sends = driver.tell(Exited(key, 143, "stopped"))
    assert [s.message.key for s in sends if isinstance(s.message, Run)] == [RunKey(UID, 1, 0)]


def test_stop_keeps_the_ended_run_until_it_is_acknowledged() -> None:
    driver = running()
    key = RunKey(UID, 1, 0)
    stop = replace(WANTED, run=False)
    assert driver.tell(assign(stop, number=2)) == [Send(ENGINE, Kill(key, 10.0))]
    (report,) = reports(driver.tell(Exited(key, 143, "stopped"), 1.0))
    ended = fact(
        Phase.ENDED, handle="abc", exit_code=143, reason="stopped", final=True, stopped=True
    )
    assert report.facts == (ended,)
    assert driver.tell(assign(number=3)) == [Send(ENGINE, Discard(key))]


def test_stop_of_a_task_that_never_came_here_is_reported_as_done() -> None:
    driver = started()
    (report,) = reports(driver.tell(assign(replace(WANTED, run=False))))
    assert [(f.phase, f.final, f.stopped) for f in report.facts] == [(Phase.ENDED, True, True)]


def test_failed_run_is_restarted_within_its_budget_then_given_up() -> None:
    driver = running()
    (report,) = reports(driver.tell(Exited(RunKey(UID, 1, 0), 3, "exited 3"), 10.0))
    (seen,) = report.facts
    assert (seen.exit_code, seen.retry_at, seen.final, seen.failures) == (3, 15.0, False, (10.0,))
    assert (15.0, RestartDue(RunKey(UID, 1, 0))) in driver.timers
    again = RunKey(UID, 1, 1)
    run = Run(again, 1, SPEC, (10.0,))
    assert driver.tell(RestartDue(RunKey(UID, 1, 0)), 15.0) == [Send(ENGINE, run)]
    driver.tell(Started(again), 15.0)
    (report,) = reports(driver.tell(Exited(again, 3, "exited 3"), 20.0))
    (seen,) = report.facts
    assert (seen.restart, seen.final, seen.charged, seen.failures) == (1, True, True, (10.0, 20.0))


def test_failures_outside_the_window_are_not_counted() -> None:
    driver = running()
    driver.tell(Exited(RunKey(UID, 1, 0), 3), 10.0)
    driver.tell(RestartDue(RunKey(UID, 1, 0)), 15.0)
    driver.tell(Started(RunKey(UID, 1, 1)), 15.0)
    (report,) = reports(driver.tell(Exited(RunKey(UID, 1, 1), 3), 111.0))
    assert report.facts[0].failures == (111.0,)
    assert not report.facts[0].final


def test_whole_report_tells_what_a_new_assignment_changed_and_repeats_the_rest() -> None:
    driver = running()
    other = replace(WANTED, uid="shop/web/2@1")
    asked = {"now": 1000.0, "tell_whole": True}
    (report,) = reports(driver.tell(assign(WANTED, other, number=2, **asked), 50.0))
    before, first = report.facts
    assert (before.phase, before.failures, first.uid) == (Phase.RUNNING, (), other.uid)
    known = replace(WANTED, failures=(990.0,))
    (report,) = reports(driver.tell(assign(known, other, number=3, **asked), 50.0))
    assert report.facts == (replace(before, failures=(40.0,)), first)
    larger = replace(known, spec=replace(SPEC, cpu_milli=SPEC.cpu_milli + 1))
    (report,) = reports(driver.tell(assign(larger, other, number=4, **asked), 50.0))
    size = (SIZE[0] + 1, *SIZE[1:])
    assert report.facts == (replace(before, failures=(40.0,), size=size), first)
    assert [
        w.uid for w in reports(driver.tell(assign(other, number=5, **asked), 51.0))[0].facts
    ] == [UID, other.uid]  # it is told until it has ended


def test_manager_knows_of_more_failures_than_a_restarted_worker() -> None:
    driver = started()
    wanted = replace(WANTED, restart=2, failures=(990.0,))
    driver.tell(assign(wanted, now=1000.0), 50.0)
    driver.tell(Started(RunKey(UID, 1, 2)), 51.0)
    (report,) = reports(driver.tell(Exited(RunKey(UID, 1, 2), 3), 52.0))
    assert report.facts[0].failures == (40.0, 52.0)
    assert report.facts[0].final


def test_batch_task_that_exits_with_zero_is_final_and_not_charged() -> None:
    driver = started()
    wanted = replace(WANTED, spec=replace(SPEC, kind=Kind.BATCH))
    driver.tell(assign(wanted))
    driver.tell(Started(RunKey(UID, 1, 0)))
    (report,) = reports(driver.tell(Exited(RunKey(UID, 1, 0), 0)))
    assert (report.facts[0].final, report.facts[0].charged) == (True, False)


def test_interrupted_run_is_started_again_at_once_and_not_charged() -> None:
    driver = running()
    key = RunKey(UID, 1, 0)
    (report,) = reports(driver.tell(Exited(key, None, "the host restarted", interrupted=True), 9.0))
    assert (report.facts[0].failures, report.facts[0].retry_at) == ((), 9.0)


def test_image_that_exists_nowhere_is_not_tried_again_here() -> None:
    driver = started()
    driver.tell(assign(WANTED))
    exited = Exited(RunKey(UID, 1, 0), None, "no such image", started=False, retry=False)
    (report,) = reports(driver.tell(exited))
    assert (report.facts[0].final, report.facts[0].reason) == (True, "no such image")


def test_unhealthy_task_is_killed_and_counts_as_failed() -> None:
    driver = running()
    key = RunKey(UID, 1, 0)
    effects = driver.tell(Health(key, False))
    assert Send(ENGINE, Kill(key, 10.0)) in effects
    (report,) = reports(driver.tell(Exited(key, 143), 5.0))
    assert (report.facts[0].reason, report.facts[0].failures) == ("its health check failed", (5.0,))


def test_what_a_health_check_said_is_told() -> None:
    driver = running()
    key = RunKey(UID, 1, 0)
    driver.tell(Health(key, False, "GET :80/: answered 503"))
    (report,) = reports(driver.tell(Exited(key, 143), 5.0))
    assert report.facts[0].reason == "its health check failed: GET :80/: answered 503"


def test_progress_of_a_pull_is_told() -> None:
    driver = started()
    driver.tell(assign(WANTED))
    (report,) = reports(driver.tell(Progress(RunKey(UID, 1, 0), "pulling image")))
    assert report.facts == (fact(Phase.STARTING, reason="pulling image"),)


def test_unanswered_change_is_told_again_until_it_is_answered() -> None:
    driver = running()
    assert driver.timers[-1][1] == Tick()
    (again,) = reports(driver.tell(Tick(), 1.0))
    assert (again.whole, [f.phase for f in again.facts]) in (
        (False, [Phase.RUNNING]),
        (True, [Phase.RUNNING]),
    )
    driver.tell(assign(WANTED, answers=(1, again.seq)), 1.1)
    later = [r for r in reports(driver.tell(Tick(), 1.2)) if not r.whole]
    assert later == []


def test_older_attempt_must_end_before_the_next_starts() -> None:
    driver = running()
    newer = replace(WANTED, attempt=2)
    key = RunKey(UID, 1, 0)
    assert driver.tell(assign(newer, number=2)) == [Send(ENGINE, Kill(key, 10.0))]
    assert driver.tell(Exited(key, 143)) == [
        Send(ENGINE, Discard(key)),
        Send(ENGINE, Run(RunKey(UID, 2, 0), 1, SPEC)),
    ]


def test_container_that_disappeared_counts_as_exited() -> None:
    driver = running()
    (report,) = reports(driver.tell(Listed((), INFO), 8.0))
    assert report.facts[0].reason == "its container disappeared"


def test_run_that_the_engine_forgot_is_asked_for_again() -> None:
    driver = started()
    driver.tell(assign(WANTED))
    run = Send(ENGINE, Run(RunKey(UID, 1, 0), 1, SPEC))
    assert run in driver.tell(Listed((), INFO))


def test_engine_that_is_away_is_told_and_nothing_is_concluded() -> None:
    driver = running()
    (report,) = reports(driver.tell(EngineDown("cannot connect"), 4.0))
    assert (report.whole, report.engine_error) == (True, "cannot connect")
    assert driver.tell(assign(number=2)) == []  # kills wait for its return
    found = Found(RunKey(UID, 1, 0), True, handle="abc", size=SIZE)
    back = driver.tell(Listed((found,), INFO), 6.0)
    assert Send(ENGINE, Kill(RunKey(UID, 1, 0), 10.0)) in back


def test_leased_task_is_fenced_when_nobody_answers_and_kept_otherwise() -> None:
    leased = replace(WANTED, spec=replace(SPEC, on_disconnect="stop"))
    for wanted, fenced in ((leased, True), (WANTED, False)):
        driver = started()
        driver.tell(assign(wanted))
        driver.tell(Started(RunKey(UID, 1, 0)))
        kill = Send(ENGINE, Kill(RunKey(UID, 1, 0), 5.0))
        assert kill not in driver.tell(Tick(), 9.9)
        assert (kill in driver.tell(Tick(), 10.0)) is fenced


def test_fenced_task_runs_again_when_the_manager_still_wants_it() -> None:
    driver = started()
    wanted = replace(WANTED, spec=replace(SPEC, on_disconnect="stop"))
    driver.tell(assign(wanted))
    key = RunKey(UID, 1, 0)
    driver.tell(Started(key))
    driver.tell(Tick(), 10.0)
    (report,) = reports(driver.tell(Exited(key, 143), 10.5))
    assert (report.facts[0].final, report.facts[0].charged) == (False, False)
    driver.tell(assign(wanted, answers=(1, report.seq)), 20.0)
    assert (20.0, RestartDue(key)) in [(round(at, 3), m) for at, m in driver.timers]


def test_changes_are_told_again_later_where_reports_are_rare() -> None:
    d = started()
    d.tell(assign(WANTED, interval=100.0, lease=500.0, grace=515.0))
    d.tell(Tick(), 1.0)
    d.tell(Started(RunKey(UID, 1, 0), "abc"), 1.0)
    assert reports(d.tell(Tick(), 10.9)) == []
    (again,) = reports(d.tell(Tick(), 11.0))
    assert [f.phase for f in again.facts] == [Phase.RUNNING]


def test_one_timer_serves_all_that_is_due_when_it_rings() -> None:
    d = running()
    d.tell(assign(WANTED, answers=(1, 2)))
    before = len(d.timers)
    for number in range(3, 9):  # sick, told, answered, and so on
        d.tell(Health(RunKey(UID, 1, 0), healthy=bool(number % 2)), 0.1)
        d.tell(assign(WANTED, answers=(1, number)), 0.1)
    assert len(d.timers) == before


def test_what_is_measured_is_told_with_the_whole_truth() -> None:
    driver = running()
    use = (TaskUse(UID, 1, 300, 40),)
    driver.tell(Measured(300, 40, use), 1.0)
    machine = MachineUse(900, 4000, 1000, 4096, 50, 100, shared=True)
    driver.tell(MachineMeasured(machine), 1.0)
    (report,) = reports(driver.tell(assign(WANTED, tell_whole=True), 1.5))
    assert (report.machine, report.usage) == (machine, use)
    assert (report.cpu_load_milli, report.memory_load_mib) == (300, 40)  # the rest may be others'
    driver.tell(MachineMeasured(machine._replace(shared=False)), 2.0)
    (report,) = reports(driver.tell(assign(WANTED, tell_whole=True), 2.5))
    assert (report.cpu_load_milli, report.memory_load_mib) == (900, 1000)
    changes = reports(driver.tell(Exited(RunKey(UID, 1, 0), 1), 3.0))[-1]
    assert (changes.whole, changes.machine, changes.usage) == (False, None, ())
