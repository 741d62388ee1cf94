"""The log of a long-running command: a line each on stderr, as text or as JSON.

Whoever logs only puts a record into a bounded queue; one thread writes. So an actor never waits for
a terminal that was stopped or a pipe that nobody reads: when the queue is full, lines are dropped,
and it is said how many.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

LogFormat = Literal["text", "json"]
FORMATS: Final = ("text", "json")
MOST_WAITING: Final = 10_000  # lines that are not written yet
LAST_WORDS_SECONDS: Final = 2.0  # how long the end waits for what is not written yet

TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
TOLD: Final = logging.getLogger("cube.told")  # what is told to people otherwise
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message; `extra` fields; an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": time.removesuffix("+00:00") + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _OWN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class QueueWriter(logging.Handler):
    """Takes records at once, and has a thread of its own write them to a stream."""

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._stream = stream
        self._waiting: queue.Queue[str | None] = queue.Queue(MOST_WAITING)
        self._dropped = 0
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._write_all, name="cube-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Put the line into the queue, or count it as dropped; never wait, never raise."""
        try:
            line = self.format(record)
        except Exception as error:  # whatever the arguments' own methods raise
            line = self.format(_warning(f"{record.msg!r} could not be logged: {error!r}"))
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            with self._counting:
                self._dropped += 1

    def close(self) -> None:
        """Write what waits, as far as the stream takes it soon, and end the thread."""
        super().close()
        try:
            self._waiting.put(None, timeout=LAST_WORDS_SECONDS)
            self._thread.join(LAST_WORDS_SECONDS)
        except queue.Full:
            return  # nobody reads: the thread ends with the process

    def _write_all(self) -> None:
        while (line := self._waiting.get()) is not None:
            self._write(line)
            with self._counting:
                dropped, self._dropped = self._dropped, 0
            if dropped:
                text = f"{dropped} lines of this log were dropped: they were not read fast enough"
                self._write(self.format(_warning(text)))

    def _write(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return  # the reader has gone; there is nobody to tell


def _warning(text: str) -> logging.LogRecord:
    return logging.LogRecord("cube", logging.WARNING, "", 0, text, None, None)


@contextmanager
def logging_to(stream: TextIO, form: LogFormat) -> Iterator[None]:
    """Within, what is logged is written to `stream`; in JSON also what people are told."""
    formatter = JsonFormatter() if form == "json" else logging.Formatter(TEXT)
    writer, root = QueueWriter(stream, formatter), logging.getLogger()
    before = TOLD.level
    root.addHandler(writer)
    TOLD.setLevel(logging.INFO if form == "json" else logging.CRITICAL)
    try:
        yield
    finally:
        TOLD.setLevel(before)
        root.removeHandler(writer)
        writer.close()
