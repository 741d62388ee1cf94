"""One run on a node: what is remembered of it, and what its end makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cube.messages import (
    Exited,
    Found,
    Kill,
    Listed,
    Phase,
    RestartDue,
    RunKey,
    Started,
    Tick,
    Wake,
)
from cube.worker import DROPPED
from cube.worker.lease import Lease
from cube.worker.runs import Held, adopt, remembered
from tests.workers import INFO, UID, WANTED, Driver, assign, reports, running, started

KEY = RunKey(UID, 1, 0)
BOUND = replace(WANTED, spec=replace(WANTED.spec, on_disconnect="stop"))


def test_a_fresh_run_is_fresh_in_every_respect() -> None:
    held = Held(UID, 1)
    fact = held.fact()
    assert (held.key, held.version, held.grace_seconds) == (KEY, 0, 10.0)
    assert (held.interrupted, held.retry, held.started) == (False, True, True)
    assert (fact.size, fact.gpus, fact.gpu_milli) == ((0, 0, 0), (), 0)


@pytest.mark.parametrize(
    ("told", "own", "known"),
    [
        ((), (), ()),
        ((1.0, 2.0), (), (1.0, 2.0)),
        ((), (1.0,), (1.0,)),
        ((1.0, 2.0), (2.25, 3.0), (1.0, 2.25, 3.0)),
        ((1.75,), (2.25,), (1.75,)),  # within the half second of one failure
        ((1.0, 1.75), (2.25,), (1.0, 1.75)),  # else fewer than were told
        ((1.0,), (2.0, 3.0), (1.0, 2.0, 3.0)),
    ],
)
def test_failures_of_both_memories_count_once(
    told: tuple[float, ...], own: tuple[float, ...], known: tuple[float, ...]
) -> None:
    assert remembered(told, own) == known


def test_what_was_known_already_is_no_news() -> None:
    held = Held(UID, 1)
    assert held.learn(WANTED, 0.0, 0.0)  # what it is made from
    assert not held.learn(WANTED, 0.0, 0.0)
    told = replace(WANTED, failures=(1.0,))
    assert held.learn(told, 5.0, 5.0)
    assert not held.learn(told, 5.0, 5.0)
    assert held.failures == (1.0,)


def test_a_run_that_is_found_ended_has_ended_so() -> None:
    held: dict[tuple[str, int], Held] = {}
    assert adopt(held, Found(KEY, False, exit_code=3, reason="exited 3"))
    one = held[UID, 1]
    assert (one.phase, one.exit_code, one.reason) == (Phase.ENDED, 3, "exited 3")


def test_failures_of_so_many_attempts_are_remembered_and_no_more() -> None:
    driver = started()
    uids = [f"shop/web/{i}@7" for i in range(DROPPED + 1)]
    for number, uid in enumerate(uids):
        wanted = replace(WANTED, uid=uid)
        driver.tell(assign(wanted, number=2 * number + 1), 1.0)
        driver.tell(Started(RunKey(uid, 1, 0), "abc"), 1.0)
        driver.tell(Exited(RunKey(uid, 1, 0), 3), 1.0)
        driver.tell(assign(number=2 * number + 2), 1.0)
    assert (len(driver.worker._dropped), DROPPED) == (100, 100)
    assert (uids[0], 1) not in driver.worker._dropped


# --- the lease ---


def test_a_lease_is_over_at_its_very_end_and_is_watched_only_for_what_is_bound() -> None:
    bound, free = Held(UID, 1, on_disconnect="stop"), Held(UID, 2)
    lease = Lease()
    lease.begin(5.0)
    lease.watch([free])
    assert lease.until == float("inf")
    lease.watch([free, bound])
    assert lease.until == 15.0
    assert [lease.is_over(now) for now in (14.9, 15.0)] == [False, True]
    assert lease.end([free, bound]) == [bound]
    assert lease.until == float("inf")
    lease.watch([free, bound])  # it is fenced: nothing is left to do
    assert lease.until == float("inf")


@pytest.mark.parametrize("told", ["stop", "keep"])
def test_what_is_found_is_stopped_when_the_lease_ends_if_the_newest_word_binds_it(
    told: str,
) -> None:
    driver = Driver()
    driver.tell(Wake(1))
    found = Found(KEY, True, on_disconnect=told, stop_grace_seconds=30.0)
    driver.tell(Listed((found,), INFO), 1.0)
    driver.tell(assign(BOUND), 1.0)
    kills = [e.message for e in driver.tell(Tick(), 11.0) if isinstance(e.message, Kill)]
    assert [kill.key for kill in kills] == [KEY]


def test_what_let_go_is_in_no_whole_report() -> None:
    driver = running()
    driver.tell(Exited(KEY, 0), 1.0)
    driver.tell(assign(number=2), 1.0)
    (report,) = reports(driver.tell(Tick(), 2.0))
    assert (report.whole, report.facts) == (True, ())


def test_a_failure_counts_for_its_interval_and_no_longer() -> None:
    """One restart is allowed within 100 s."""
    for second, final in ((101.0, False), (100.9, True)):
        driver = running()
        driver.tell(Exited(KEY, 3), 1.0)
        again = RunKey(UID, 1, 1)
        driver.tell(RestartDue(KEY), 6.0)
        driver.tell(Started(again), 6.0)
        (report,) = reports(driver.tell(Exited(again, 3), second))
        assert [f.final for f in report.facts] == [final]


def test_an_earlier_run_that_is_found_is_no_news_and_a_later_one_is() -> None:
    held = {(UID, 1): Held(UID, 1, 1)}
    assert not adopt(held, Found(KEY, False))
    assert held[UID, 1].leftovers == {0}
    assert adopt(held, Found(RunKey(UID, 1, 2), True))
    assert (held[UID, 1].restart, held[UID, 1].leftovers) == (2, {0, 1})
