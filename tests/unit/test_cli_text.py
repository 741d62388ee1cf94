"""What nodes and containers wrote reaches a terminal as text, not as commands to it."""

from __future__ import annotations

import pytest

from cube.cli.exits import Failure, note, warn
from cube.cli.printing import print_table
from cube.cli.text import harmless, say

TITLE = "\x1b]0;owned\x07"
SHOWN = "\\x1b]0;owned\\x07"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("exited 1: naïve 数 \U0001f433", "exited 1: naïve 数 \U0001f433"),
        ("two\n\tlines", "two\n\tlines"),
        ("\x1b[2Jgone\x7f", "\\x1b[2Jgone\\x7f"),
        ("hidden\rshown", "hidden\\rshown"),
        ("\x9b31m", "\\x9b31m"),
        ("gnp\u202egpj", "gnp\\u202egpj"),
    ],
)
def test_controls_are_written_out_and_nothing_else_is(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_every_way_to_a_person_writes_them_out(capsys: pytest.CaptureFixture[str]) -> None:
    say(TITLE)
    note(TITLE)
    warn(TITLE)
    Failure(TITLE, where=TITLE, remedy=TITLE).show()
    print_table(("reason",), [(TITLE,)])
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err
    assert (told.out.count(SHOWN), told.err.count(SHOWN)) == (2, 5)
