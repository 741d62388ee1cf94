"""The written form: what it looks like, what it forgives, and what it says when it cannot."""

import json
import math
from dataclasses import dataclass, replace
from typing import Any

import pytest

from cube import codec
from cube.messages import Fact, Generation, Phase, RunKey, Save, Send, Submit
from cube.spec import JobSpec, Mount, TaskSpec
from cube.task import Answer, Event, Job, State, Task

SPEC = TaskSpec("web", "busybox", mounts=(Mount("volume", "data", "/data"),))
TASK = Task("shop/web/0", 7, "shop", "web", "0", 1, SPEC, state=State.RUNNING)


def test_classes_are_tagged_where_anything_may_stand_and_only_there() -> None:
    send = Send("worker/a", Generation("c", 1, 2))
    assert codec.encode(send) == {
        "$": "Send",
        "to": "worker/a",
        "message": {"$": "Generation", "cluster": "c", "epoch": 1, "number": 2},
        "after": 0.0,
    }
    assert "$" not in codec.encode(TASK)["spec"]


def test_a_record_of_a_newer_version_loads() -> None:
    body = codec.encode(TASK)
    body["colour"] = "blue"
    body["spec"]["colour"] = {"$": "Colour", "red": 0}
    assert codec.decode(body) == TASK


def test_a_record_of_an_older_version_takes_defaults() -> None:
    body = codec.encode(TASK)
    del body["healthy"], body["spec"]["cpu_milli"]
    assert codec.decode(body) == replace(TASK, healthy=None)


def test_what_has_no_default_must_be_there() -> None:
    body = codec.encode(Submit("r", JobSpec("shop", (SPEC,))))
    del body["job"]["services"][0]["image"]
    with pytest.raises(codec.CodecError, match=r"^Submit\.job\.services: TaskSpec lacks image$"):
        codec.decode(body)


@pytest.mark.parametrize(
    ("path", "wrong", "text"),
    [
        (("state",), "asleep", r"Task\.state: expected one of pending, .* got str"),
        (("index",), 4, r"Task\.index: expected str, got int$"),
        (("attempt",), True, r"Task\.attempt: expected int, got bool$"),
        (("since",), True, r"Task\.since: expected a number, got bool$"),
        (("since",), 10**400, r"Task\.since: expected a number, got one with hundreds of digits$"),
        (("since",), "noon", r"Task\.since: expected a number, got str$"),
        (("spec", "cpu_milli"), "1", r"Task\.spec\.cpu_milli: expected int"),
        (("spec", "mounts"), {}, r"Task\.spec\.mounts: expected list"),
        (("spec", "labels"), [["a"]], r"Task\.spec\.labels: expected 2 items, got 1"),
        (("spec",), None, r"Task\.spec: expected dict, got NoneType$"),
        (("reason",), None, r"Task\.reason: expected str"),
        (("id",), ["x" * 100], r"Task\.id: expected str, got list$"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    path: tuple[str, ...], wrong: Any, text: str
) -> None:
    body = codec.encode(TASK)
    inner = body
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = wrong
    with pytest.raises(codec.CodecError, match=text):
        codec.decode(body)


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(codec.CodecError, match="'Telepathy'; was it written by a newer"):
        codec.loads('{"$": "Telepathy"}')


@pytest.mark.parametrize("text", ["", "{", '{"$": []}', "[1,", b"\xff\xfe\x00", "[" * 100_000])
def test_junk_is_an_error(text: str | bytes) -> None:
    with pytest.raises(codec.CodecError):
        codec.loads(text)


@pytest.mark.parametrize(
    "body", [b'"\\ud800"', b'["\\ude00\\ud83d"]', b'"\xed\xa0\x80"', b'{"\\udfff": 1}', b'"\xff"']
)
def test_what_is_sent_is_unicode(body: bytes) -> None:
    """Whatever repeated half of a pair to anybody would fail."""
    with pytest.raises(codec.CodecError, match="not JSON in UTF-8"):
        codec.loads_sent(body)


def test_whole_pairs_may_be_sent() -> None:
    assert codec.loads_sent(b'["\\ud83d\\ude00", "\\\\ud800"]') == ["\U0001f600", "\\ud800"]
    sent = codec.dumps(replace(TASK, reason="\U0001f600")).encode()
    assert codec.loads_sent(sent).reason == "\U0001f600"


def test_only_the_catalogue_can_be_written() -> None:
    @dataclass(frozen=True)
    class Event:  # a namesake
        revision: int

    with pytest.raises(codec.CodecError, match="Event is not in the catalogue"):
        codec.dumps(Event(1))
    with pytest.raises(codec.CodecError, match="Path is not in the catalogue"):
        codec.dumps(Answer("r", 1, "ok", "", body=__import__("pathlib").Path()))
    with pytest.raises(codec.CodecError, match="expected TaskSpec, got NoneType"):
        codec.dumps(replace(TASK, spec=None))  # type: ignore[arg-type]
    with pytest.raises(codec.CodecError, match=r"cannot write a Event: .*set"):
        codec.dumps(replace(EVENT, text={1}))  # type: ignore[arg-type]


EVENT = Event(1, 2.0, "job.submitted", "shop")


def test_infinity_is_json() -> None:
    event = replace(EVENT, at=math.inf)
    assert json.loads(codec.dumps(event))["at"] == "inf"
    assert codec.loads(codec.dumps(event)) == event
    assert codec.loads(codec.dumps((-math.inf,))) == (-math.inf,)


def test_effects_with_records_round_trip() -> None:
    job = Job("shop", JobSpec("shop", (SPEC,)), 1, 7, 7)
    effects = [
        Save((job, TASK, EVENT)),
        Send("manager", Fact("u", 1, 0, Phase.ENDED, healthy=False)),
        Send("engine/a", RunKey("u", 1, 0), after=5.0),
    ]
    again = codec.loads(codec.dumps(effects))
    assert again == effects
    assert type(again[2].message) is RunKey
    assert again[1].message.phase is Phase.ENDED


def test_pairs_must_be_pairs_and_keys_hashable() -> None:
    with pytest.raises(codec.CodecError, match="expected a key and a value"):
        codec.decode({"$": "dict", "items": [[1]]})
    with pytest.raises(codec.CodecError, match="hashable"):
        codec.decode({"$": "dict", "items": [[[], 1]]})
    with pytest.raises(codec.CodecError, match="set is not a JSON value"):
        codec.decode({1})
