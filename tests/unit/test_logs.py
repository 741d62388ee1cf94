"""The log of a long-running command: what a line says, and that nobody ever waits for it."""

from __future__ import annotations

import io
import json
import logging
import threading
from datetime import datetime
from typing import Any

import pytest

from cube.logs import MOST_WAITING, TOLD, LogFormat, QueueWriter, logging_to

log = logging.getLogger("cube.test")


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_json_line_says_when_what_and_where() -> None:
    stream = io.StringIO()
    with logging_to(stream, "json"):
        log.warning("node %s\nis %s", "one", "lost", extra={"node": "one", "at": (1, 2)})
    (line,) = lines(stream.getvalue())
    assert datetime.fromisoformat(line.pop("time")).utcoffset() is not None
    assert line == {
        "level": "warning",
        "logger": "cube.test",
        "message": "node one\nis lost",
        "node": "one",
        "at": [1, 2],
    }


def test_an_exception_is_in_its_line() -> None:
    stream = io.StringIO()
    with logging_to(stream, "json"):
        try:
            raise ValueError("so")
        except ValueError:
            log.exception("it failed")
    (line,) = lines(stream.getvalue())
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: so")


def test_text_is_a_line_for_people() -> None:
    stream = io.StringIO()
    with logging_to(stream, "text"):
        log.warning("it is %s", "late")
        log.info("not this")
    assert stream.getvalue().endswith(" WARNING cube.test: it is late\n")
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize(("form", "told"), [("text", 0), ("json", 1)])
def test_what_people_are_told_is_logged_in_json_alone(form: LogFormat, told: int) -> None:
    stream = io.StringIO()
    with logging_to(stream, form):
        TOLD.info("it listens")
    assert stream.getvalue().count("it listens") == told


class Stuck(io.StringIO):
    """A stream whose reader does not read until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = threading.Event()
        self.reads = threading.Event()

    def write(self, text: str) -> int:
        self.writes.set()
        self.reads.wait()
        return super().write(text)


def test_nobody_waits_for_a_stream_that_is_stuck_and_what_is_dropped_is_counted() -> None:
    stream = Stuck()
    with logging_to(stream, "json"):
        log.warning("first")
        assert stream.writes.wait(10)
        for number in range(MOST_WAITING + 7):
            log.warning("%d", number)  # would wait for ever
        stream.reads.set()
    found = lines(stream.getvalue())
    messages = [line["message"] for line in found]
    assert messages[0] == "first"
    assert messages[1] == "7 lines of this log were dropped: they were not read fast enough"
    assert messages[2:] == [str(number) for number in range(MOST_WAITING)]


def test_the_end_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cube.logs.LAST_WORDS_SECONDS", 0.01)
    stream = Stuck()
    with logging_to(stream, "text"):
        log.warning("first")
    assert stream.getvalue() == ""
    stream.reads.set()


def test_a_stream_that_has_gone_hurts_nobody() -> None:
    stream = io.StringIO()
    with logging_to(stream, "json"):
        stream.close()
        log.warning("to nobody")


class Odd:
    def __str__(self) -> str:
        raise RuntimeError("cannot be shown")


def test_what_cannot_be_formatted_hurts_nobody() -> None:
    stream = io.StringIO()
    writer = QueueWriter(stream, logging.Formatter("%(message)s"))
    writer.handle(logging.LogRecord("cube", 30, "", 0, "it is %s", (Odd(),), None))
    writer.handle(logging.LogRecord("cube", 30, "", 0, "next", None, None))
    writer.close()
    assert stream.getvalue().splitlines() == [
        "'it is %s' could not be logged: RuntimeError('cannot be shown')",
        "next",
    ]
