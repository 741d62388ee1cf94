"""Order within a lane, side by side across lanes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest

from cube.engine.pool import Pool

SECONDS = 10


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool("test", 2)
    yield made
    made.close()


def test_one_lane_keeps_its_order(pool: Pool) -> None:
    done: queue.Queue[int] = queue.Queue()
    for i in range(50):
        pool.submit("lane", lambda i=i: done.put(i))
    assert [done.get(timeout=SECONDS) for _ in range(50)] == list(range(50))


def test_lanes_do_not_wait_for_one_another(pool: Pool) -> None:
    met = threading.Barrier(2)
    done: queue.Queue[int] = queue.Queue()
    for lane in range(2):
        pool.submit(lane, lambda: done.put(met.wait(SECONDS)))
    assert {done.get(timeout=SECONDS) for _ in range(2)} == {0, 1}


def test_alone_waits_for_what_came_before_and_holds_back_what_comes_after(pool: Pool) -> None:
    log: list[str] = []
    go, end = threading.Event(), threading.Event()
    pool.submit("a", lambda: (go.wait(SECONDS), log.append("a")))
    pool.submit(Pool.ALONE, lambda: log.append("alone"))
    pool.submit("b", lambda: (log.append("b"), end.set()))
    go.set()
    assert end.wait(SECONDS)
    assert log == ["a", "alone", "b"]


def test_later_jobs_come_when_they_are_due(pool: Pool) -> None:
    done: queue.Queue[str] = queue.Queue()
    pool.submit("a", lambda: done.put("second"), after=0.05)
    pool.submit("a", lambda: done.put("third"), after=0.1)
    pool.submit("a", lambda: done.put("first"))
    assert [done.get(timeout=SECONDS) for _ in range(3)] == ["first", "second", "third"]


def test_a_job_that_fails_stops_nothing(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    done: queue.Queue[int] = queue.Queue()
    pool.submit("a", lambda: 1 / 0)
    pool.submit("a", lambda: done.put(1))
    assert done.get(timeout=SECONDS) == 1
    assert "ZeroDivisionError" in caplog.text


def test_nothing_happens_after_close(pool: Pool) -> None:
    pool.close()
    done: queue.Queue[int] = queue.Queue()
    pool.submit("a", lambda: done.put(1))
    assert done.empty()
