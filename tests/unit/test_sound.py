"""Claims of machines: what an honest worker sends passes, and what cannot be does not."""

from dataclasses import replace
from typing import Any

import pytest

from cube.engine.docker import names
from cube.messages import Assign, Fact, Generation, NodeInfo, Phase, Report, Wanted
from cube.remote.sound import LARGEST, is_sound
from cube.spec import TaskSpec, Ulimit
from cube.task import HostPort, MachineUse, TaskUse
from tests.managers import Driver

UID = "shop/web/1@1"
FACT = Fact(UID, 1, 0, Phase.RUNNING, ports=(HostPort(80, 8080, "tcp"),), gpus=(0,))
INFO = NodeInfo("node-1", 4000, 8192, 1000)
USE = MachineUse(1, 4000, 1, 8192, 1, 1000)
REPORT = Report(
    "node-1", "c", 1, 1, 5.0, True, Generation("c", 1, 1), (FACT,), INFO,
    machine=USE, usage=(TaskUse(UID, 1, 5, 5),),
)  # fmt: skip


def test_an_honest_report_is_sound() -> None:
    assert is_sound(REPORT)
    assert is_sound(replace(REPORT, whole=False, info=None, machine=None, echoes=None, facts=()))


@pytest.mark.parametrize(
    "changes",
    [
        {"life": -1},
        {"seq": LARGEST},
        {"now": float("nan")},
        {"cpu_load_milli": 1 << 70},
        {"echoes": Generation("other", 1, 1)},
        {"echoes": Generation("c", LARGEST, 1)},
        {"info": replace(INFO, memory_mib=-1)},
        {"info": replace(INFO, gpus=("T4",) * 2000)},
        {"machine": USE._replace(disk_of_mib=-1)},
        {"usage": (TaskUse("x", 1, 1, 1),)},
        *(
            {"facts": (replace(FACT, **fields),)}
            for fields in (
                {"uid": "a b/c/d@1"},
                {"attempt": -1},
                {"size": (1, 1, LARGEST)},
                {"gpus": (-1,)},
                {"failures": (float("inf"),)},
                {"retry_at": float("nan")},
                {"ports": (HostPort(80, -1, "tcp"),)},
                {"exit_code": -LARGEST},
            )
        ),
    ],
)
def test_what_cannot_be_is_not_sound(changes: dict) -> None:
    assert not is_sound(replace(REPORT, **changes))


SPEC = TaskSpec("web", "image")
ASSIGN = Assign(
    Generation("c", 1, 1), "node-1", 5.0, (1, 1), 1.0, 10.0, 20.0,
    (Wanted(UID, 1, 1, SPEC, failures=(1.0,), gpus=(0,)),), ((UID, 1),),
)  # fmt: skip


def with_spec(**fields: Any) -> dict[str, Any]:
    return {"tasks": (replace(ASSIGN.tasks[0], spec=replace(SPEC, **fields)),)}


@pytest.mark.parametrize(
    "changes",
    [
        {"generation": Generation("c", -1, 1)},
        {"answers": (1, LARGEST)},
        {"now": float("nan")},
        {"interval": -1.0},
        {"lease": float("inf")},
        {"keep": (("x", 1),)},
        {"keep": ((UID, -1),)},
        with_spec(stop_grace_seconds=float("nan")),
        with_spec(cpu_milli=LARGEST),
        with_spec(ulimits=(Ulimit("nofile", 1, -LARGEST),)),
        *(
            {"tasks": (replace(ASSIGN.tasks[0], **fields),)}
            for fields in (
                {"uid": "../x"},
                {"attempt": -1},
                {"counted": -2},
                {"failures": (float("inf"),)},
                {"gpus": (LARGEST,)},
            )
        ),
    ],
)
def test_what_no_manager_says_is_not_sound(changes: dict[str, Any]) -> None:
    assert is_sound(ASSIGN)
    assert not is_sound(replace(ASSIGN, **changes))


def test_labels_that_anybody_can_write_make_no_unsound_fact() -> None:
    labels = {names.TASK: UID, names.ATTEMPT: "1", names.RESTART: "0"}
    assert names.key_of(labels) is not None
    for name, text in (("TASK", "a b/c/d@1"), ("ATTEMPT", "-1"), ("RESTART", "9" * 30)):
        assert names.key_of({**labels, getattr(names, name): text}) is None
    assert names.size_of({names.CPU: "9" * 30, names.MEMORY: "-5", names.DISK: "²"}) == (0, 0, 0)
    assert names.failures_of({names.FAILURES: "1.0,inf"}) == ()
    assert names.gpus_of({names.GPUS: "1,99999,x"}) == ((1,), 0)


def test_a_disk_of_which_nothing_is_known_ends_no_manager() -> None:
    d = Driver(nodes=1)
    d.report("node-1", machine=USE._replace(disk_mib=990))
    d.report("node-1", machine=USE._replace(disk_mib=0, disk_of_mib=0))
    assert not d.look().nodes[0].note
