"""A command that runs until a signal ends it."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from cube.cli.ending import Ending, ending_signals


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_what_comes_just_as_somebody_begins_to_wait_ends_it(moment: int) -> None:
    """As a handler does it: between two steps of the very thread that waits."""
    ending = Ending()
    steps = 0

    def strike(*_: object) -> object:
        nonlocal steps
        steps += 1
        if steps == moment:
            ending.set()
        return strike

    def wait() -> None:
        sys.settrace(strike)  # type: ignore[arg-type]
        ending.wait()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    ending.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_waiting_and_what_was_there_before_is_put_back(number: int) -> None:
    before = signal.getsignal(number)
    with ending_signals() as ending:
        os.kill(os.getpid(), number)
        ending.wait()
    assert signal.getsignal(number) is before


def test_a_signal_that_another_thread_takes_ends_the_waiting() -> None:
    """It interrupts nothing that the waiting thread does, and its handler cannot run there."""

    def strike() -> None:
        waits.wait(10)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    waits = threading.Event()
    threading.Thread(target=strike, daemon=True).start()
    with ending_signals() as ending:
        waits.set()
        ending.wait()
    assert ending.is_set
