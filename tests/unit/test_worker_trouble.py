"""The Worker core when things go wrong at once: leases, an engine that was away, nobody to tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cube.messages import (
    EngineDown,
    Exited,
    Found,
    Health,
    Kill,
    List,
    Listed,
    Phase,
    Progress,
    RestartDue,
    Run,
    RunKey,
    Send,
    Started,
    Tick,
    Wake,
)
from cube.spec import Kind
from cube.worker.runs import Held, adopt
from tests.workers import (
    ENGINE,
    GEN,
    INFO,
    SIZE,
    SPEC,
    UID,
    WANTED,
    Driver,
    assign,
    reports,
    running,
    started,
)

KEY = RunKey(UID, 1, 0)
LEASED = replace(WANTED, spec=replace(SPEC, on_disconnect="stop"))
FENCED = Send(ENGINE, Kill(KEY, 5.0))


def leased() -> Driver:
    driver = started()
    driver.tell(assign(LEASED))
    driver.tell(Started(KEY))
    return driver


def test_lease_holds_for_a_run_that_was_restarted() -> None:
    driver = leased()
    driver.tell(Exited(KEY, 3), 1.0)
    driver.tell(RestartDue(KEY), 6.0)
    again = RunKey(UID, 1, 1)
    driver.tell(Started(again), 6.0)
    assert Send(ENGINE, Kill(again, 5.0)) in driver.tell(Tick(), 10.0)


def test_lease_holds_for_a_container_found_while_nobody_answers() -> None:
    driver = Driver()
    driver.tell(Wake(1))
    found = Found(KEY, True, size=SIZE, on_disconnect="stop")
    driver.tell(Listed((found,), INFO), 0.0)
    assert FENCED in driver.tell(Tick(), 10.0)


def test_lease_that_was_over_before_the_engine_was_heard_does_not_begin_anew() -> None:
    driver = Driver()
    driver.tell(Wake(1))
    (report,) = reports(driver.tell(EngineDown("cannot connect"), 0.0))
    driver.tell(assign(LEASED, answers=(1, report.seq)), 0.5)
    found = Found(KEY, True, size=SIZE, on_disconnect="stop")
    driver.tell(Listed((found,), INFO), 12.0)
    assert FENCED in driver.tell(Tick(), 12.0)


def test_start_under_a_lease_that_is_over_is_declined_for_good() -> None:
    driver = started()
    driver.tell(Tick(), 12.0)
    late = replace(LEASED, uid="shop/web/2@7")
    (report,) = reports(driver.tell(assign(late, tell_whole=True, answers=(1, 1)), 12.0))
    assert (report.echoes, report.facts) == (GEN, ())  # its absence means that it is not there
    renewed = assign(late, answers=(1, report.seq))  # so somebody else may have it by now
    assert driver.tell(renewed, 12.5) == []
    again = replace(late, attempt=2)
    run = Send(ENGINE, Run(RunKey(late.uid, 2, 0), 1, late.spec))
    assert run in driver.tell(assign(again, number=2, answers=(1, report.seq)), 13.0)


def test_run_of_an_earlier_life_that_starts_late_is_stopped() -> None:
    driver = started()  # the engine lists nothing of what it is about to start
    again = replace(WANTED, restart=1)
    driver.tell(assign(again))
    assert Send(ENGINE, List()) in driver.tell(Started(KEY), 1.0)
    listed = Listed((Found(KEY, True, size=SIZE),), INFO)
    assert Send(ENGINE, Kill(KEY, 10.0)) in driver.tell(listed, 1.0)


def test_end_of_the_lease_cuts_the_grace_of_a_stop_short() -> None:
    driver = leased()
    driver.tell(assign(replace(LEASED, run=False), number=2))  # has 10 s to stop, begun just now
    assert FENCED in driver.tell(Tick(), 10.0)


def test_fencing_that_the_engine_missed_is_repeated_on_its_return() -> None:
    driver = leased()
    driver.tell(EngineDown("cannot connect"), 4.0)
    driver.tell(Tick(), 10.0)
    assert FENCED in driver.tell(Listed((Found(KEY, True, size=SIZE),), INFO), 12.0)


def test_unhealthy_task_whose_kill_was_missed_is_killed_on_the_engine_s_return() -> None:
    driver = running()
    driver.tell(Health(KEY, False), 1.0)
    driver.tell(EngineDown("cannot connect"), 2.0)
    back = driver.tell(Listed((Found(KEY, True, size=SIZE),), INFO), 12.0)
    assert Send(ENGINE, Kill(KEY, 10.0)) in back


def test_verdict_of_which_an_earlier_life_died_is_acted_upon() -> None:
    driver = Driver()
    driver.tell(Wake(2))
    driver.tell(Listed((Found(KEY, True, size=SIZE, healthy=False),), INFO))
    kill = Send(ENGINE, Kill(KEY, 10.0))
    assert kill in driver.tell(assign(WANTED, answers=(2, 1)))
    assert kill not in driver.tell(assign(WANTED, number=2, answers=(2, 1)))
    (report,) = reports(driver.tell(Exited(KEY, 143), 5.0))
    assert (report.facts[0].charged, report.facts[0].reason) == (True, "its health check failed")


def test_older_run_that_is_still_there_is_killed() -> None:
    driver = running()
    driver.tell(Exited(KEY, 3), 1.0)
    driver.tell(RestartDue(KEY), 6.0)
    newer = Found(RunKey(UID, 1, 1), True, size=SIZE)
    listed = Listed((Found(KEY, True, size=SIZE), newer), INFO)
    assert Send(ENGINE, Kill(KEY, 10.0)) in driver.tell(listed, 7.0)


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_runs_that_a_new_worker_finds_the_older_is_killed(order: int) -> None:
    newer = RunKey(UID, 1, 1)
    found = (Found(KEY, True, size=SIZE), Found(newer, True, size=SIZE))
    driver = Driver()
    driver.tell(Wake(1))
    kills = [s for s in driver.tell(Listed(found[::order], INFO)) if isinstance(s.message, Kill)]
    assert kills == [Send(ENGINE, Kill(KEY, 10.0))]


def test_restart_that_fell_due_while_the_engine_was_away_is_made_up_for() -> None:
    driver = running()
    driver.tell(Exited(KEY, 3), 1.0)
    driver.tell(EngineDown("cannot connect"), 2.0)
    assert driver.tell(RestartDue(KEY), 6.0) == []
    driver.tell(Listed((Found(KEY, False, 3, size=SIZE),), INFO), 12.0)
    assert (12.0, RestartDue(KEY)) in driver.timers


def test_exit_of_an_older_run_changes_nothing() -> None:
    driver = running()
    driver.tell(Exited(KEY, 3), 1.0)
    driver.tell(RestartDue(KEY), 6.0)
    assert driver.tell(Exited(KEY, 3), 6.5) == []


def test_restarted_run_is_listed_as_starting() -> None:
    driver = running()
    driver.tell(Exited(KEY, 3), 1.0)
    driver.tell(RestartDue(KEY), 6.0)
    (report,) = (r for r in reports(driver.tell(Tick(), 7.0)) if r.whole)
    assert [(f.restart, f.phase) for f in report.facts] == [(1, Phase.STARTING)]


def test_end_of_a_kept_container_is_told() -> None:
    driver = running()
    driver.tell(assign(number=2, keep=((UID, 1),)), 1.0)
    driver.tell(Tick(), 1.5)
    driver.tell(Exited(KEY, 0), 2.0)
    (report,) = (r for r in reports(driver.tell(Tick(), 7.0)) if r.whole)
    assert [f.phase for f in report.facts] == [Phase.ENDED]


def test_batch_task_that_was_cut_short_has_not_completed() -> None:
    driver = started()
    none = replace(SPEC.restart, condition="none")
    driver.tell(assign(replace(WANTED, spec=replace(SPEC, kind=Kind.BATCH, restart=none))))
    driver.tell(Started(KEY))
    (report,) = reports(driver.tell(Exited(KEY, 0, "the host restarted", interrupted=True), 9.0))
    assert (report.facts[0].final, report.facts[0].exit_code) == (True, None)


def test_service_that_exits_with_zero_is_not_charged_where_only_failures_count() -> None:
    driver = started()
    policy = replace(SPEC.restart, condition="on-failure")
    driver.tell(assign(replace(WANTED, spec=replace(SPEC, restart=policy))))
    driver.tell(Started(KEY))
    (report,) = reports(driver.tell(Exited(KEY, 0), 1.0))
    assert (report.facts[0].final, report.facts[0].charged) == (True, False)


def test_same_progress_again_is_not_told_again() -> None:
    driver = started()
    driver.tell(assign(WANTED))
    assert reports(driver.tell(Progress(KEY, "pulling image")))
    assert not reports(driver.tell(Progress(KEY, "pulling image")))


def test_worker_does_not_spin_once_there_is_nothing_left_to_tell_again() -> None:
    driver = running()  # the start is told, and not answered yet
    driver.tell(assign(number=2), 0.5)
    driver.tell(Exited(KEY, 143), 0.6)
    ticks(driver, until=30.0)


def test_tick_that_comes_a_hair_early_is_followed_by_another() -> None:
    driver = started()
    due = min(at for at, message in driver.timers if message == Tick())
    driver.timers.clear()
    driver.tell(Tick(), due - 1e-9)
    assert [message for _, message in driver.timers] == [Tick()]


def test_run_carries_the_failures_that_led_to_it() -> None:
    driver = running()
    driver.tell(Exited(KEY, 3), 1.0)
    again = Run(RunKey(UID, 1, 1), 1, SPEC, (1.0,))
    assert driver.tell(RestartDue(KEY), 6.0) == [Send(ENGINE, again)]
    assert Send(ENGINE, again) in driver.tell(Listed((), INFO), 7.0)  # it never heard of it


def restarted(*found: Found, now: float) -> Driver:
    """A worker that has forgotten everything, and what the engine lists for it."""
    driver = Driver()
    driver.tell(Wake(1), now)
    driver.tell(Listed(found, INFO), now)
    return driver


def test_restarted_worker_gives_up_at_the_right_count() -> None:
    """The manager was away: it knows of no failure."""
    again = RunKey(UID, 1, 1)
    for failures, final in (((1.0,), True), ((), False)):
        driver = restarted(Found(again, True, size=SIZE, failures=failures), now=7.0)
        driver.tell(assign(WANTED), 8.0)
        (report,) = reports(driver.tell(Exited(again, 3), 9.0))
        assert report.facts[0].failures == (*failures, 9.0)
        assert report.facts[0].final is final


def test_end_that_a_restarted_worker_finds_is_charged_once() -> None:
    again = RunKey(UID, 1, 1)
    ended = Found(again, False, 3, size=SIZE, failures=(1.0,))
    first = Found(KEY, False, 3, size=SIZE)
    for found in ((ended, first), (first, ended)):
        driver = restarted(*found, now=7.0)
        (report,) = reports(driver.tell(assign(WANTED), 8.0))
        assert report.facts[0].failures == (1.0, 8.0)
        assert report.facts[0].final


def test_end_that_the_manager_has_counted_is_not_counted_again() -> None:
    """An earlier life of the worker told of it, and died before the restart was due."""
    ended = Found(KEY, False, 3, size=SIZE)
    for counted, failures in ((-1, (7.0, 8.0)), (0, (7.0,))):
        driver = restarted(ended, now=7.5)
        wanted = replace(WANTED, failures=(7.0,), counted=counted)
        (report,) = reports(driver.tell(assign(wanted, now=8.0), 8.0))
        assert report.facts[0].failures == failures
        assert report.facts[0].final is (len(failures) > 1)


def test_of_labels_and_assignment_the_longer_memory_holds() -> None:
    found = Found(KEY, True, size=SIZE, failures=(1.0, 2.0))
    for told, known in (((991.0,), (1.0, 2.0)), ((991.0, 992.0, 993.0), (1.0, 2.0, 3.0))):
        driver = restarted(found, now=7.0)
        driver.tell(assign(replace(WANTED, failures=told), now=998.0), 8.0)
        (report,) = reports(driver.tell(Exited(KEY, 3), 9.0))
        assert report.facts[0].failures == (*known, 9.0)


def test_failures_of_long_ago_that_an_assignment_tells_hide_no_later_one() -> None:
    driver = running()
    old = assign(replace(WANTED, failures=(991.0, 992.0)), number=2, now=1000.0)
    driver.tell(old, 200.0)  # long ago: its interval is 100 s
    for attempt, failures in ((0, (300.0,)), (1, (300.0, 306.0))):
        key = RunKey(UID, 1, attempt)
        now = 300.0 + 6.0 * attempt
        (report,) = reports(driver.tell(Exited(key, 3), now))
        assert report.facts[0].failures == failures
        newer = assign(replace(WANTED, failures=(991.0, 992.0)), number=3 + attempt, now=1101.0)
        driver.tell(newer, now + 1.0)
        driver.tell(RestartDue(key), now + 5.0)
    assert report.facts[0].final


def test_newer_run_found_beside_the_one_that_is_held_brings_its_failures() -> None:
    for mine, labels, known in (
        ((), (1.0, 2.0), (1.0, 2.0)),
        ((1.0, 2.0), (2.0,), (1.0, 2.0)),
        ((1.0, 2.0), (2.0, 3.0), (1.0, 2.0, 3.0)),
    ):
        held = {(UID, 1): Held(UID, 1, failures=mine)}
        newer = RunKey(UID, 1, 1)
        assert adopt(held, Found(newer, True, failures=labels))
        assert (held[UID, 1].key, held[UID, 1].failures) == (newer, known)


def ticks(driver: Driver, until: float) -> None:
    """Let the worker's own ticks arrive, and see that there are few."""
    pending: list[Any] = sorted(at for at, message in driver.timers if message == Tick())
    count = 0
    while pending and pending[0] <= until:
        now = pending.pop(0)
        driver.timers.clear()
        driver.tell(Tick(), now)
        pending = sorted([*pending, *(at for at, _ in driver.timers)])
        count += 1
        assert count < 5 * until, f"{count} ticks by {now:.3f} s"


def test_failures_of_an_attempt_that_was_given_up_count_when_it_is_wanted_again() -> None:
    driver = running()
    driver.tell(Exited(KEY, 3), 1.0)
    driver.tell(assign(number=2), 1.5)  # a word from before the manager believed it again
    driver.tell(assign(replace(WANTED, restart=1), number=3), 2.0)
    again = RunKey(UID, 1, 1)
    driver.tell(Started(again), 2.0)
    (report,) = reports(driver.tell(Exited(again, 3), 2.5))
    (fact,) = report.facts
    assert (fact.failures, fact.final) == ((1.0, 2.5), True)  # one restart was allowed


def test_run_that_starts_while_the_engine_lists_it_runs_from_then_on() -> None:
    key = RunKey(UID, 1, 2)
    starting = Held(UID, 1, 2)
    held = {(UID, 1): starting}
    assert adopt(held, Found(key, True, handle="c0ffee"))
    assert (starting.phase, starting.handle, starting.leftovers) == (Phase.RUNNING, "c0ffee", set())
    assert not adopt(held, Found(key, True, handle="c0ffee"))
    assert not adopt(held, Found(RunKey(UID, 1, 1), False))
    assert starting.leftovers == {1}
