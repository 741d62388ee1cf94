"""A worker driven by hand: one message in, what it sends to others out."""

from __future__ import annotations

from typing import Any

from cube.messages import (
    MANAGER,
    Assign,
    Fact,
    Generation,
    Listed,
    NodeInfo,
    Phase,
    Report,
    RunKey,
    Started,
    Wake,
    Wanted,
)
from cube.spec import RestartPolicy, TaskSpec
from cube.worker import Worker

NODE, CLUSTER = "node-1", "c0ffee"
ME, ENGINE = f"worker/{NODE}", f"engine/{NODE}"
INFO = NodeInfo(NODE, 4000, 4096, 10_000)
UID = "shop/web/1@7"
SPEC = TaskSpec("web", "image", restart=RestartPolicy("any", 1, 100.0, 5.0))
WANTED = Wanted(UID, 1, 1, SPEC)
SIZE = (SPEC.cpu_milli, SPEC.memory_mib, SPEC.disk_mib)
GEN = Generation(CLUSTER, 1, 1)


def assign(*tasks: Wanted, number: int = 1, now: float = 0.0, **fields: Any) -> Assign:
    grants = {"interval": 1.0, "lease": 10.0, "grace": 15.3}
    generation = fields.pop("generation", Generation(CLUSTER, 1, number))
    answers = fields.pop("answers", (1, 1))
    return Assign(generation, NODE, now, answers, tasks=tasks, **{**grants, **fields})


def fact(phase: Phase, **fields: Any) -> Fact:
    return Fact(
        **{
            "uid": UID,
            "attempt": 1,
            "restart": 0,
            "phase": phase,
            "size": SIZE,
            "charged": False,
            **fields,
        }
    )


class Driver:
    """A worker with its clock; leaves timers to itself out of what it returns."""

    def __init__(self) -> None:
        self.worker = Worker(NODE, CLUSTER)
        self.timers: list[tuple[float, Any]] = []

    def tell(self, message: Any, now: float = 0.0) -> list[Any]:
        effects = self.worker.receive(message, now)
        self.timers += [(now + e.after, e.message) for e in effects if e.to == ME]
        return [e for e in effects if e.to != ME]


def started(now: float = 0.0, **listed: Any) -> Driver:
    driver = Driver()
    driver.tell(Wake(1), now)
    driver.tell(Listed((), INFO), now)
    return driver


def running() -> Driver:
    driver = started()
    driver.tell(assign(WANTED))
    driver.tell(Started(RunKey(UID, 1, 0), "abc"))
    return driver


def reports(effects: list[Any]) -> list[Report]:
    return [e.message for e in effects if e.to == MANAGER]
