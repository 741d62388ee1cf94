"""Messages that are wrong: JSON of wrong shapes, and good messages with something wrong inside."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from cube.codec import encode
from cube.messages import Assign, Fact, Generation, NodeInfo, Phase, Report, SetAside, Wanted
from cube.spec import (
    Constraint,
    Dependency,
    GpuNeed,
    HealthCheck,
    JobSpec,
    Kind,
    Mount,
    Port,
    RestartPolicy,
    Spread,
    TaskSpec,
    Ulimit,
)
from cube.task import HostPort, MachineUse, TaskUse

DEEP = "@deep{}@"  # becomes so many lists within lists, which Python could not write
DEPTHS = (100, 900, 990, 3000, 100_000)
TEXTS = (
    "", "x", "\x00", "a\x00b", "\ud800", "\udfff\ud800", "../../../etc/passwd", "\u202e", "é" * 41,
    "a\r\nX-Bad: yes", "x" * 300, "$", "%s%n", "{0.__class__}", "=", "a=b", "nan", "inf",
    "9" * 5000, "http://u:p@h/", "node.labels.", "node.labels.\x00", "1", "shop/web/1@1",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 1 << 17, 1 << 31, 1 << 53, 1 << 62, 1 << 63, 1 << 64, -(1 << 63), 10**400,
    -(10**400), 0.5, -0.5, 1e-320, 1e300, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
TAGS = (
    "JobSpec",
    "TaskSpec",
    "Report",
    "Fact",
    "Kind",
    "tuple",
    "dict",
    "float",
    "no such",
    "Send",
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.sampled_from([DEEP.format(depth) for depth in DEPTHS]),
    st.text(max_size=8),
)
tagged = st.builds(lambda tag, more: {"$": tag, **more}, st.sampled_from(TAGS), st.dictionaries(
    st.sampled_from(["items", "value", "name", "x"]), scalars, max_size=2))  # fmt: skip
values = st.recursive(
    scalars | tagged,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(TEXTS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=6,
)


def written(document: Any) -> bytes:
    """As JSON, with what only Python's reader takes (NaN) and what nobody takes."""
    text = json.dumps(document)
    for depth in DEPTHS:
        text = text.replace(json.dumps(DEEP.format(depth)), "[" * depth + "]" * depth)
    return text.encode()


@st.composite
def damaged(draw: st.DrawFn, good: Any) -> Any:
    """A good document in which one thing, or a few, are wrong."""
    document = copy.deepcopy(good)
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        places = list(_places(document))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(("alike", "alike", "alike", "other", "drop", "add", "twice"))):
            case "alike":
                holder[key] = draw(alike(holder[key]))
            case "other":
                holder[key] = draw(values)
            case "drop":
                del holder[key]
            case "add" if isinstance(holder, dict):
                holder[draw(st.sampled_from(TEXTS))] = draw(values)
            case _ if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
    return document


def each_wrong(good: Any) -> Iterator[list[Any]]:
    """For each place of a good document: the document with one wrong thing there, in many ways."""
    for number in range(len(list(_places(good)))):
        yield [_with(good, number, wrong) for wrong in _wrongs(_at(good, number))]


def _at(document: Any, number: int) -> Any:
    holder, key = list(_places(document))[number]
    return holder[key]


def _with(good: Any, number: int, wrong: Any) -> Any:
    document = copy.deepcopy(good)
    holder, key = list(_places(document))[number]
    holder[key] = wrong
    return document


def _wrongs(value: Any) -> tuple[Any, ...]:
    match value:
        case bool():
            return (None, 1, "x")
        case int() | float():
            return (-1, 0.5, 1 << 63, 10**400, float("nan"), float("inf"), True)
        case str():
            return ("", "\x00", "\ud800", "../../x", "x" * 300, 7)
    return (None, "x", [], {}, [[]], DEEP.format(990))


def alike(value: Any) -> st.SearchStrategy[Any]:
    """Something of the same kind, which is read and then has to be judged."""
    match value:
        case bool():
            return st.booleans()
        case int() | float():
            return st.sampled_from(NUMBERS)
        case str():
            return st.sampled_from(TEXTS)
        case list():
            return st.lists(st.sampled_from(value), max_size=3) if value else values
    return values


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every place that holds a value."""
    if isinstance(document, dict | list):
        keys = document.keys() if isinstance(document, dict) else range(len(document))
        for key in keys:
            yield document, key
            yield from _places(document[key])


# --- good ones, with something in every field ------------------------------------------------

UID = "shop/web/1@1"
SPEC = TaskSpec(
    "web", "image:1", Kind.SERVICE, 2, ("sleep", "1000"), (), (("NAME", "value"),), "/", "nobody",
    (Port(80, 8080), Port(53, None, "udp")), (Mount("tmpfs", "", "/tmp/x", size_mib=1),),
    (("label", "value"),), "SIGTERM", 0.5, "missing", True, (Ulimit("nofile", 10, -1),), ("A",),
    ("B",), ("/dev/null",), False, 1 << 20, (("host", "10.0.0.1"),), "json-file",
    (("max-size", "1m"),), HealthCheck(("CMD", "true"), 1.0, 1.0), None, (), 10, 16, 1,
    GpuNeed(1, 500, ("T4",)), 100, 64, (Constraint("node.labels.zone", "!=", "b"),), 1,
    Spread("prefer"), "stop", RestartPolicy(attempts=1),
)  # fmt: skip
JOB = JobSpec("fuzz", (SPEC, TaskSpec("db", "image", command=("sleep", "1000"), depends_on=(
    Dependency("web"),))), 60, ("dc1",), "/fuzz.yaml")  # fmt: skip


STRANGE = Fact("other/web/2@7", 1, 0, Phase.RUNNING, handle="def", size=(10, 16, 0), spec=SPEC)


def report(node: str, cluster: str) -> Any:
    """Of a node that says a lot."""
    ended = Fact(
        UID, 1, 0, Phase.ENDED, 1, "it ended", True, True, False, 5.0, False,
        (HostPort(80, 8080, "tcp"),), (1.0, 2.0), "abc", (10, 16, 1), (0,), 500, 1, SPEC, "image@1",
    )  # fmt: skip
    info = NodeInfo(node, 4000, 8192, 1000, "host", "dc1", (("zone", "a"),), "docker", "boot",
                    ("T4", "T4"), "127.0.0.1:9")  # fmt: skip
    use = MachineUse(1, 4000, 1, 8192, 1, 1000)
    usage = (TaskUse(UID, 1, 5, 5),)
    return encode(
        Report(node, cluster, 1, 1, 5.0, True, Generation(cluster, 1, 1), (ended, STRANGE), info,
               "", 5, 5, use, usage)
    )  # fmt: skip


def set_aside(node: str) -> Any:
    """What a worker tells of a message that it cannot handle."""
    return encode(SetAside(f"worker/{node}", "Assign", "KeyError('x')"))


def assignment(node: str, cluster: str) -> Any:
    """Of two tasks."""
    wanted = (
        Wanted(UID, 1, 1, SPEC, True, 1, (1.0,), (), 0, "image@1"),
        Wanted("shop/web/2@1", 1, 1, SPEC, False),
    )
    return encode(
        Assign(Generation(cluster, 1, 1), node, 1.0, (1, 1), 1.0, 10.0, 20.0, wanted,
               (("other/web/1@1", 1),), True)
    )  # fmt: skip
