"""The Worker core: what is told when, and what is done with the answers."""

from __future__ import annotations

from dataclasses import replace

from cube.messages import (
    EngineDown,
    Exited,
    Fact,
    Found,
    Health,
    Kill,
    Listed,
    Phase,
    RestartDue,
    Run,
    RunKey,
    Send,
    Started,
    Tick,
    Wake,
)
from cube.worker.reports import SENT_AT_MOST, Reports
from tests.workers import (
    CLUSTER,
    ENGINE,
    INFO,
    NODE,
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
OTHER = replace(WANTED, uid="shop/db/1@7")
LEASED = replace(WANTED, spec=replace(SPEC, on_disconnect="stop"))


def told(driver: Driver, message: object, now: float = 0.0) -> list[Fact]:
    """The facts of all reports that a message leads to."""
    return [fact for report in reports(driver.tell(message, now)) for fact in report.facts]


def whole(driver: Driver, now: float) -> list[Fact]:
    """What the worker says when it is asked for everything."""
    return told(driver, assign(WANTED, tell_whole=True), now)


# --- changes -----------------------------------------------------------------------------


def test_change_of_health_is_told_at_once_and_is_in_the_next_whole_report() -> None:
    driver = running()
    (fact,) = told(driver, Health(KEY, True))
    assert fact.healthy is True
    assert whole(driver, 1.0) == [fact]
    (sick,) = told(driver, Health(KEY, False), 2.0)
    assert (sick.healthy, sick.phase) == (False, Phase.RUNNING)


def test_end_of_an_unwanted_run_is_told_as_stopped() -> None:
    driver = running()
    driver.tell(assign(replace(WANTED, run=False), number=2))
    (fact,) = told(driver, Exited(KEY, 0, "exited 0"))
    assert (fact.final, fact.stopped, fact.charged) == (True, True, False)


def test_run_that_waits_for_its_restart_ends_when_it_is_stopped() -> None:
    driver = running()
    driver.tell(Exited(KEY, 3, "exited 3"), 1.0)
    (fact,) = told(driver, assign(replace(WANTED, run=False), number=2), 2.0)
    assert (fact.final, fact.stopped, fact.retry_at) == (True, True, None)
    assert driver.tell(RestartDue(KEY), 6.0) == []


def test_container_that_a_later_listing_shows_is_told_of() -> None:
    driver = running()
    found = (Found(KEY, True, handle="abc", size=SIZE), Found(RunKey("a/b/1@3", 1, 0), True))
    facts = told(driver, Listed(found, INFO), 1.0)
    assert [(f.uid, f.phase) for f in facts] == [("a/b/1@3", Phase.RUNNING)]


def test_end_that_only_a_listing_shows_leads_to_a_restart() -> None:
    driver = running()
    ended = Found(KEY, False, 3, "exited 3", handle="abc", size=SIZE)
    (fact,) = told(driver, Listed((ended,), INFO), 10.0)
    assert (fact.phase, fact.exit_code, fact.retry_at) == (Phase.ENDED, 3, 15.0)


def test_listing_decides_at_once_about_what_had_ended_before_we_started() -> None:
    driver = Driver()
    driver.tell(Wake(1))
    ended = Found(KEY, False, 3, "exited 3", size=SIZE)
    (fact,) = told(driver, Listed((ended,), INFO))
    assert (fact.phase, fact.exit_code, fact.final) == (Phase.ENDED, 3, False)
    (fact,) = told(driver, assign(WANTED), 1.0)
    assert fact.retry_at == 6.0
    assert driver.tell(RestartDue(KEY), 6.0)[0] == Send(
        ENGINE, Run(RunKey(UID, 1, 1), 1, SPEC, (1.0,))
    )


def test_older_run_in_a_listing_is_a_leftover_and_goes_with_the_next_restart() -> None:
    driver = running()
    driver.tell(Exited(KEY, 3), 1.0)
    driver.tell(RestartDue(KEY), 6.0)
    second = RunKey(UID, 1, 1)
    driver.tell(Started(second), 6.0)
    both = (Found(second, True, size=SIZE), Found(KEY, False, 3, size=SIZE))
    assert told(driver, Listed(both, INFO), 7.0) == []


def test_killed_run_that_a_listing_lacks_has_ended() -> None:
    driver = started()
    driver.tell(assign(WANTED))
    driver.tell(assign(replace(WANTED, run=False), number=2))
    (fact,) = told(driver, Listed((), INFO), 1.0)
    assert (fact.phase, fact.final, fact.stopped) == (Phase.ENDED, True, True)


# --- asking twice ------------------------------------------------------------------------


def test_kill_is_sent_again_only_for_a_shorter_grace() -> None:
    driver = running()
    stop = replace(WANTED, run=False)
    assert driver.tell(assign(stop, number=2)) == [Send(ENGINE, Kill(KEY, 10.0))]
    assert driver.tell(assign(stop, number=3)) == []
    hasty = replace(stop, spec=replace(SPEC, stop_grace_seconds=2.0))
    assert driver.tell(assign(hasty, number=4)) == [Send(ENGINE, Kill(KEY, 2.0))]


def test_first_attempt_does_not_wait_for_anything_and_a_later_one_for_the_earlier() -> None:
    driver = running()
    second = replace(WANTED, attempt=2)
    assert driver.tell(assign(second, number=2)) == [Send(ENGINE, Kill(KEY, 10.0))]
    orders = driver.tell(Exited(KEY, 143), 1.0)
    assert Send(ENGINE, Run(RunKey(UID, 2, 0), 1, SPEC)) in orders


def test_engine_that_comes_back_is_told_of_and_failures_are_not_told_twice() -> None:
    driver = running()
    (down,) = reports(driver.tell(EngineDown("gone"), 1.0))
    assert (down.whole, down.engine_error) == (True, "gone")
    assert driver.tell(EngineDown("gone"), 2.0) == []
    (back,) = reports(driver.tell(Listed((Found(KEY, True, size=SIZE),), INFO), 3.0))
    assert (back.whole, back.engine_error) == (True, "")


# --- the lease ---------------------------------------------------------------------------


def test_lease_is_ten_seconds_until_a_manager_grants_another() -> None:
    driver = Driver()
    driver.tell(Wake(1), 100.0)
    leased = Found(KEY, True, size=SIZE, on_disconnect="stop", stop_grace_seconds=10.0)
    driver.tell(Listed((leased,), INFO), 100.0)
    assert Send(ENGINE, Kill(KEY, 5.0)) not in driver.tell(Tick(), 109.9)
    assert Send(ENGINE, Kill(KEY, 5.0)) in driver.tell(Tick(), 110.0)


def test_restart_that_is_due_the_moment_the_lease_ends_waits_for_the_manager() -> None:
    driver = started()
    driver.tell(assign(LEASED))
    driver.tell(Started(KEY))
    driver.tell(Exited(KEY, 3), 5.0)
    assert driver.tell(RestartDue(KEY), 10.0) == []
    (report,) = reports(driver.tell(Tick(), 11.0))
    driver.tell(assign(LEASED, answers=(1, report.seq)), 11.5)
    assert driver.timers.count((11.5, RestartDue(KEY))) == 1
    (run,) = driver.tell(RestartDue(KEY), 11.5)
    assert run.message.key == RunKey(UID, 1, 1)


# --- numbers -----------------------------------------------------------------------------


def test_reports_are_remembered_within_a_bound_and_forgotten_once_answered() -> None:
    box = Reports(NODE, CLUSTER)
    box.life = 1
    for second in range(SENT_AT_MOST + 10):
        box.whole((), float(second), None, INFO)
    assert box.unanswered == SENT_AT_MOST
    answered = assign(answers=(1, SENT_AT_MOST))
    assert box.answered(answered) == float(SENT_AT_MOST - 1)
    assert box.unanswered == 10
    assert box.answered(answered) is None  # once is news
    assert box.answered(assign(answers=(2, SENT_AT_MOST + 1))) is None  # of another life
    assert box.answered(assign(answers=(1, 3))) is None  # too long ago


def test_answer_to_an_older_report_leaves_newer_changes_to_be_told_again() -> None:
    box = Reports(NODE, CLUSTER)
    box.life = 1
    box.whole((), 0.0, None, INFO)
    box.changes([("a", 1)], (), 1.0, None)
    box.changes([("b", 1)], (), 2.0, None)
    box.answered(assign(answers=(1, 2), interval=10.0))
    assert box.resend(4.0) == (("b", 1),)
    box.answered(assign(answers=(1, 3), interval=10.0))
    assert box.resend(100.0) == ()


def test_unanswered_changes_are_told_again_after_one_two_four_seconds() -> None:
    box = Reports(NODE, CLUSTER)
    box.whole((), 0.0, None, INFO)
    box.answered(assign(answers=(0, 1), interval=5.0))
    now, waits = 10.0, []
    box.changes([("a", 1)], (), now, None)
    for _ in range(5):
        later = now
        while not box.resend(later):
            later += 0.25
        waits.append(later - now)
        now = later
        box.changes([("a", 1)], (), now, None)
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_forgotten_run_is_not_told_again() -> None:
    box = Reports(NODE, CLUSTER)
    box.changes([("a", 1), ("b", 1)], (), 0.0, None)
    box.forget(("a", 1))
    assert box.resend(5.0) == (("b", 1),)
    box.forget(("b", 1))
    assert box.due == float("inf")


def test_first_whole_report_is_followed_within_an_interval_and_then_by_the_interval() -> None:
    dues = set()
    for node in ("node-1", "node-2", "node-3"):
        box = Reports(node, CLUSTER)
        box.whole((), 0.0, None, INFO)
        dues.add(box.due)
        assert 0.0 < box.due < 1.0
        assert not box.whole_due(box.due - 1e-6)
        assert box.whole_due(box.due)
        box.whole((), 10.0, None, INFO)
        assert box.due == 11.0
    assert len(dues) == 3


# --- ends at odd moments -----------------------------------------------------------------


def test_an_end_before_the_manager_has_spoken_is_in_the_next_whole_report() -> None:
    driver = Driver()
    driver.tell(Wake(1))
    driver.tell(Listed((Found(KEY, running=True),), INFO))
    assert told(driver, Exited(KEY, 3)) == []
    (fact,) = told(driver, Tick(), now=1.0)
    assert (fact.phase, fact.exit_code) == (Phase.ENDED, 3)


def test_an_end_while_the_engine_is_away_is_judged_at_once() -> None:
    driver = running()
    driver.tell(EngineDown("away"))
    (fact,) = told(driver, Exited(KEY, 3), now=2.0)
    assert (fact.charged, fact.retry_at) == (True, 7.0)


def test_a_stop_that_ends_while_the_engine_is_away_is_told_as_one() -> None:
    driver = running()
    driver.tell(assign(replace(WANTED, run=False), number=2))
    driver.tell(EngineDown("away"))
    (fact,) = told(driver, Exited(KEY, 0), now=2.0)
    assert (fact.final, fact.stopped) == (True, True)


def test_what_was_let_go_is_told_no_longer() -> None:
    driver = running()
    driver.tell(Exited(KEY, 3))
    assert [f.phase for f in whole(driver, 0.5)] == [Phase.ENDED]
    driver.tell(assign(number=2, answers=(1, 1)), 0.6)
    (report,) = reports(driver.tell(assign(number=2, answers=(1, 1), tell_whole=True), 0.7))
    assert report.facts == ()


def test_nothing_is_told_again_of_what_was_let_go() -> None:
    driver = running()
    driver.tell(assign(WANTED, interval=300.0, answers=(1, 2)))
    driver.tell(Tick(), 1.0)  # the last whole report that the shorter interval had due
    driver.tell(Exited(KEY, 3), 2.0)
    driver.tell(assign(number=2, interval=300.0), 2.5)
    assert reports(driver.tell(Tick(), 40.0)) == []


def test_a_whole_report_has_what_changed_in_the_same_moment() -> None:
    driver = running()
    driver.tell(Exited(KEY, 3))
    assert whole(driver, 0.5)[0].retry_at == 5.0
    stop = assign(replace(WANTED, run=False), number=2, tell_whole=True)
    assert [(f.stopped, f.retry_at) for f in told(driver, stop, now=1.0)] == [(True, None)]
