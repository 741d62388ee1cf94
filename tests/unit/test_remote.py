"""What couriers drop and keep, who may work with whom, and what is said of clocks."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from cube import __version__
from cube.frames import ENDED, STDOUT, frame, read_frames
from cube.hosting.worker import of_clocks
from cube.remote.courier import WAITING, Courier
from cube.remote.line import Place, Refused, Unreachable, ahead_seconds
from cube.remote.versions import mismatch

PATIENCE = 20.0  # seconds; a bound, never waited for


class Slow:
    """A way whose receiver takes one message at a time, when it is let."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.closed = threading.Event()
        self.began, self.may_go = threading.Semaphore(0), threading.Semaphore(0)
        self.error: Exception | None = None

    def bring(self, message: Any) -> None:
        self.taken.append(message)
        self.began.release()
        assert self.may_go.acquire(timeout=PATIENCE)
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed.set()

    def go(self) -> None:
        """Let it take what it has begun, and wait for the next."""
        self.may_go.release()
        assert self.began.acquire(timeout=PATIENCE)


def test_of_assignments_only_the_newest_waits() -> None:
    way = Slow()
    courier = Courier("one", way, lambda _: True)
    for number in range(1000):
        courier.carry(number)
        if number == 0:
            assert way.began.acquire(timeout=PATIENCE)
    way.go()
    assert way.taken == [0, 999]
    way.may_go.release()
    courier.close()
    courier.join()
    assert way.closed.wait(PATIENCE)


def test_what_changed_waits_in_order_until_the_whole_is_told() -> None:
    way = Slow()
    courier = Courier("the manager", way, lambda message: message == "whole")
    courier.carry(0)
    assert way.began.acquire(timeout=PATIENCE)
    for message in (1, 2, "whole", 3, 4):
        courier.carry(message)
    for _ in range(3):
        way.go()
    assert way.taken == [0, "whole", 3, 4]
    for number in range(3 * WAITING):  # beyond what may wait the oldest is lost
        courier.carry(number)
    way.go()
    assert way.taken[-1] == 2 * WAITING
    way.may_go.release(2 * WAITING)
    courier.close()
    courier.join()


def test_trouble_is_logged_once_and_its_end_too(caplog) -> None:
    way = Slow()
    way.error = Unreachable("nobody there")
    courier = Courier("one", way, lambda _: True)
    for number in range(4):
        courier.carry(number)
        assert way.began.acquire(timeout=PATIENCE)
        if number == 3:
            way.error = None
        way.may_go.release()
    courier.carry("end")
    assert way.began.acquire(timeout=PATIENCE)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["one is not reached: nobody there", "one is reached again"]
    way.may_go.release()
    courier.close()
    courier.join()


@pytest.mark.parametrize(
    ("status", "rests"), [(401, True), (403, True), (504, False), (422, False)]
)
def test_whoever_refuses_for_good_is_not_asked_at_once_again(status, rests) -> None:
    """A manager that is only busy hears the next report."""
    way = Slow()
    way.error = Refused(status, "no", "Join again.")
    courier = Courier("the manager", way, lambda _: True, rest_seconds=PATIENCE)
    courier.carry(0)
    assert way.began.acquire(timeout=PATIENCE)
    courier.carry(1)
    way.may_go.release(2)
    if not rests:
        assert way.began.acquire(timeout=PATIENCE)
    courier.close()  # ends its rest
    courier.join()
    assert way.closed.wait(PATIENCE)
    assert way.taken == ([0] if rests else [0, 1])


def test_a_message_that_cannot_be_brought_ends_no_courier(caplog) -> None:
    way = Slow()
    way.error = ValueError("a bug")
    courier = Courier("one", way, lambda _: True)
    courier.carry(0)
    assert way.began.acquire(timeout=PATIENCE)
    courier.carry(1)
    way.go()
    assert way.taken == [0, 1]
    assert "could not be told a int" in caplog.text
    way.may_go.release()
    courier.close()
    courier.join()


def test_versions_work_together_up_to_one_apart() -> None:
    major, minor = (int(part) for part in __version__.split(".")[:2])
    for good in (__version__, f"{major}.{minor + 1}.7", f"{major}.{minor}.0rc1"):
        assert mismatch(good) == ""
    for bad in (f"{major}.{minor + 2}.0", f"{major + 1}.{minor}.0", "", "new", "1", "x.y"):
        assert mismatch(bad)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("10.0.0.1:7462", Place("10.0.0.1", 7462)),
        ("[fd00::1]:7462", Place("fd00::1", 7462)),
        ("host.example:1", Place("host.example", 1)),
        ("", None),
        ("host", None),
        ("host:", None),
        (":7", None),
        ("host:0", None),
        ("host:65536", None),
        ("host:-1", None),
        ("host:1e3", None),
    ],
)
def test_places(text, place) -> None:
    assert Place.parse(text) == place
    if place is not None:
        assert str(place) == text


def test_clocks_an_hour_apart_are_told() -> None:
    date = "Thu, 01 Jan 1970 01:00:00 GMT"
    assert ahead_seconds(date, 7200.0) == 3600.0
    assert ahead_seconds("", 7200.0) == ahead_seconds("soon", 7200.0) == 0.0
    assert "60 min ahead of" in of_clocks(3600.0)
    assert "60 min behind" in of_clocks(-3600.0)
    assert of_clocks(-1.0) == of_clocks(30.0) == ""


def test_frames_come_back_from_any_pieces() -> None:
    sent = [(STDOUT, b"one"), (STDOUT, b""), (ENDED, b"{}" * 300)]
    whole = b"".join(frame(kind, data) for kind, data in sent)
    for size in (1, 2, 7, len(whole)):
        pieces = [whole[i : i + size] for i in range(0, len(whole), size)]
        assert list(read_frames(pieces)) == sent
    assert list(read_frames([whole[:-1]])) == sent[:-1]
