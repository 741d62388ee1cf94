"""Ends a command that runs until Ctrl-C or SIGTERM."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cube.cli.exits import ExitCode, note

ENDING = (signal.SIGINT, signal.SIGTERM)


class Ending:
    """Is set by a signal's handler, and waited for by the thread that the handler interrupts.

    Not a `threading.Event`: where the signal comes just as the thread begins to wait, that thread
    holds the event's lock, and its own handler would wait for it for ever. Any signal must write
    into `wakes`: of one that comes after the last look and before the wait, or is taken by another
    thread of the process, the handler runs only once the wait is over.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    @property
    def wakes(self) -> int:
        """The descriptor for `signal.set_wakeup_fd`."""
        return self._write

    def set(self) -> None:
        """End the waiting, which may be about to begin."""
        self.is_set = True
        os.write(self._write, b".")

    def wait(self) -> None:
        """Return once it is set."""
        while not self.is_set:
            os.read(self._read, 1)

    def close(self) -> None:
        """Nobody sets it or waits for it any more."""
        os.close(self._read)
        os.close(self._write)


@contextmanager
def ending_signals() -> Iterator[Ending]:
    """What the first Ctrl-C or SIGTERM sets; the second ends the process at once."""
    ending = Ending()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if ending.is_set:
            note("stopped at once")
            os._exit(ExitCode.INTERRUPTED)
        ending.set()

    woken = signal.set_wakeup_fd(ending.wakes, warn_on_full_buffer=False)
    before = {number: signal.signal(number, handle) for number in ENDING}
    try:
        yield ending
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        ending.close()
