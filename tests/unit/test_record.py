"""A recording, told to fresh cores, must lead to the same effects; where not, it is shown."""

import json
import logging
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stat import S_IMODE
from typing import Any

import pytest

from cube.messages import (
    Effect,
    Exited,
    Placed,
    Round,
    RunKey,
    Save,
    Send,
    Started,
    Tick,
    Wake,
)
from cube.record import Birth, Handled, Recorder, RecordingError, read, replay
from cube.task import Decision, Event, Meta, Saved


class Counting:
    """A core that counts what it is told, from a count that it is born with."""

    def __init__(self, count: int = 0, step: int = 1) -> None:
        self.count = count
        self.step = step

    def receive(self, message: Any, now: float) -> list[Effect]:
        self.count += self.step
        match message:
            case Wake():
                return [Send("manager", Tick(), after=math.inf)]
            case Started(key):
                event = Event(self.count, now, "task.started", key.uid)
                return [Save((Meta("count", str(self.count)), event)), Send("manager", message)]
            case Exited(exit_code=None):
                raise LookupError("no exit code")
            case _:
                return []


KEY = RunKey("shop/web/0@1", 1, 0)
MESSAGES = [Wake(1), Started(KEY, "abc"), Tick(), Exited(KEY, 0), Started(KEY._replace(restart=1))]


def record(recorder: Recorder, life: int, core: Counting, messages: list[Any]) -> None:
    recorder.birth("manager", life, {"saved": Saved({}, {}, {}, {}, {}), "count": core.count})
    for number, message in enumerate(messages):
        recorder.handled("manager", life, number / 10, message, core.receive(message, number / 10))


def again(name: str, birth: dict[str, Any]) -> Counting:
    assert birth["saved"] == Saved({}, {}, {}, {}, {})
    return Counting(birth["count"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


@pytest.fixture
def recorder(path: Path) -> Iterator[Recorder]:
    recorder = Recorder(path)
    yield recorder
    recorder.close()


def test_fresh_cores_do_the_same(recorder: Recorder, path: Path) -> None:
    record(recorder, 1, Counting(), MESSAGES)
    record(recorder, 2, Counting(40), MESSAGES)
    assert replay(path, again) == []
    entries = list(read(path))
    assert [type(entry) for entry in entries] == [Birth, *[Handled] * 5] * 2
    assert [entry.message for entry in entries[1:6] if isinstance(entry, Handled)] == MESSAGES


def test_another_answer_is_shown_with_its_place(recorder: Recorder, path: Path) -> None:
    record(recorder, 1, Counting(), MESSAGES)
    differences = replay(path, lambda name, birth: Counting(step=2))
    assert [d.recorded.message for d in differences] == [MESSAGES[1], MESSAGES[4]]
    text = str(differences[0])
    assert text.startswith("line 4: manager, life 1, at 0.1: Started(key=RunKey(")
    assert "then Save(records=(Meta(key='count', value='2')" in text
    assert "now  Save(records=(Meta(key='count', value='4')" in text


def test_a_core_that_raises_now_is_a_difference(recorder: Recorder, path: Path) -> None:
    recorder.birth("manager", 1, {})
    recorder.handled("manager", 1, 0.0, Exited(KEY, None), [])
    (difference,) = replay(path, lambda name, birth: Counting())
    assert "raised LookupError: no exit code" in str(difference)


def test_a_message_to_a_core_that_was_never_born_is_a_difference(
    recorder: Recorder, path: Path
) -> None:
    recorder.handled("manager", 1, 0.0, Tick(), [])
    (difference,) = replay(path, again)
    assert "birth was not recorded" in str(difference)


def test_not_a_number_equals_itself(recorder: Recorder, path: Path) -> None:
    placed = Placed(Round(1, 1), (Decision("a/b/0@1", 0, score=math.nan),))

    class Scheduler:
        def receive(self, message: Any, now: float) -> list[Effect]:
            return [Send("manager", placed)]

    recorder.birth("scheduler", 1, {})
    recorder.handled("scheduler", 1, 0.0, Tick(), [Send("manager", placed)])
    assert replay(path, lambda name, birth: Scheduler()) == []


def test_a_torn_last_line_is_left_out_and_cut_off(path: Path) -> None:
    first = Recorder(path)
    record(first, 1, Counting(), MESSAGES)
    first.close()
    whole = path.read_bytes()
    for cut in (1, 10, 60):
        path.write_bytes(whole[:-cut])
        assert len(list(read(path))) == len(MESSAGES)  # birth and all but the last
        assert replay(path, again) == []
        second = Recorder(path)
        record(second, 2, Counting(), MESSAGES)
        second.close()
        assert len(list(read(path))) == 2 * len(MESSAGES) + 1
        assert replay(path, again) == []


def test_lines_of_several_threads_stay_whole_and_in_order(path: Path, recorder: Recorder) -> None:
    def work(number: int) -> None:
        core = Counting()
        recorder.birth(f"worker/{number}", 1, {"count": 0})
        for _ in range(50):
            for message in MESSAGES:
                effects = core.receive(message, 1.5)
                recorder.handled(f"worker/{number}", 1, 1.5, message, effects)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert replay(path, lambda name, birth: Counting(birth["count"])) == []
    assert sum(1 for _ in read(path)) == 4 * (1 + 50 * len(MESSAGES))


def test_the_file_is_for_its_owner_only(recorder: Recorder, path: Path) -> None:
    assert S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["Dear diary\n", '{"cube recording": 99}\n', "[]"])
def test_another_file_is_never_touched(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(RecordingError, match="not a recording of form 1; name another file"):
        Recorder(path)
    with pytest.raises(RecordingError, match="not a recording"):
        replay(path, again)
    assert path.read_text() == content


@pytest.mark.parametrize(
    "line", ["{}", "junk", '["m", 1, {"x": {"$": "Robot"}}]', '["m", 1, 0.0, null, null]']
)
def test_damage_before_the_last_line_is_an_error(path: Path, line: str) -> None:
    Recorder(path).close()
    with path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(RecordingError, match=r"run\.jsonl:2 cannot be read"):
        replay(path, again)


def test_a_full_disk_ends_the_recording_and_nothing_else(
    caplog: pytest.LogCaptureFixture, path: Path, recorder: Recorder
) -> None:
    record(recorder, 1, Counting(), MESSAGES)
    full = os.open("/dev/full", os.O_WRONLY)
    assert recorder._file is not None
    os.dup2(full, recorder._file)
    os.close(full)
    with caplog.at_level(logging.ERROR):
        record(recorder, 2, Counting(), MESSAGES)
    assert [r.message for r in caplog.records] == [
        f"recording to {path} ends here: No space left on device"
    ]
    assert replay(path, again) == []


def test_one_json_value_per_line(recorder: Recorder, path: Path) -> None:
    record(recorder, 1, Counting(), MESSAGES)
    for line in path.read_text().splitlines():
        json.loads(line)
