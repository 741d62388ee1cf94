"""A recorded live run, replayed into fresh cores and fed to the simulated world."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cube.messages import MANAGER, SCHEDULER, Save, Stop, Submit
from cube.record import Handled, Recorder, read, replay
from cube.revive import revive
from cube.spec import ReschedulePolicy, RestartPolicy
from cube.task import State, Task
from tests.clusters import SimulatedCluster, ThreadedCluster, batch, of_job, service

TASKS = 200
NODES = {"nodes": 5, "cpu_milli": 16_000, "memory_mib": 32_768}
Placement = tuple[str, int, str]


@dataclass
class Recording:
    """A live run: its file, and how many tasks ended how."""

    path: Path
    states: dict[str, int]


def drive(c: ThreadedCluster) -> None:
    """200 tasks: services of several sizes, batch tasks, failures, stops, an actor restart.

    Each step waits until the cluster is at rest, so that the next one finds it the same at any
    speed: what is compared is decisions, not races.
    """
    c.join()
    sizes = [(100, 128), (250, 512), (500, 256), (700, 1024)]
    for i, (cpu, memory) in enumerate(sizes):
        c.submit(service(instances=25, cpu_milli=cpu, memory_mib=memory), name=f"web-{i}")
        c.wait_states(f"web-{i}", *["running"] * 25)
    c.submit(batch(instances=60, seconds=0.01), name="report")
    c.wait_states("report", *["completed"] * 60)
    for i in (1, 2):
        c.stop(f"web-{i}/web/{7 * i}")
    c.stop("web-0")
    c.wait_states("web-0", *["stopped"] * 25)
    failing = batch(
        seconds=0.01,
        exit_code=3,
        instances=20,
        restart=RestartPolicy("on-failure", 1, 100.0, 0.01),
        reschedule=ReschedulePolicy(0),
    )
    c.submit(failing, name="failing")
    c.wait_states("failing", *["failed"] * 20)
    c.world.stop_actor(SCHEDULER)
    c.start_scheduler()
    c.submit(service(instances=20, cpu_milli=300), name="after")
    c.wait_states("after", *["running"] * 20)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    path = tmp_path_factory.mktemp("recording") / "run.jsonl"
    recorder = Recorder(path)
    c = ThreadedCluster(recorder=recorder, **NODES)
    try:
        drive(c)
        states: dict[str, int] = {}
        for task in c.look().tasks:
            states[task.state] = states.get(task.state, 0) + 1
    finally:
        c.close()
        recorder.close()
    return Recording(path, states)


def placements(handled: Iterator[tuple[str, list[Any]]]) -> list[Placement]:
    """(task, attempt, node) of every placement, in the order in which they were saved."""
    placed: dict[Placement, None] = {}
    for name, effects in handled:
        for effect in effects if name == MANAGER else ():
            if isinstance(effect, Save):
                for record in effect.records:
                    if isinstance(record, Task) and record.node is not None and record.attempt:
                        placed.setdefault((record.id, record.attempt, record.node))
    return list(placed)


def test_recording_holds_what_it_promises(recording: Recording) -> None:
    assert sum(recording.states.values()) >= TASKS
    assert recording.states[State.FAILED] == 20
    assert recording.states[State.STOPPED] == 27
    births = [e for e in read(recording.path) if not isinstance(e, Handled)]
    assert sum(b.core == SCHEDULER for b in births) == 2


def test_replay_into_fresh_cores_has_identical_effects(recording: Recording) -> None:
    assert list(replay(recording.path, revive)) == []


def test_replay_notices_a_core_that_decides_otherwise(recording: Recording) -> None:
    def other(name: str, birth: dict[str, Any]) -> Any:
        return revive(name, {"policy": "first-fit"} if name == SCHEDULER else birth)

    assert list(replay(recording.path, other))


def test_simulated_world_places_the_same_tasks_in_the_same_order(recording: Recording) -> None:
    lines = [e for e in read(recording.path) if isinstance(e, Handled)]
    live = placements((line.core, line.effects) for line in lines)
    arrivals = [
        line for line in lines if line.core == MANAGER and isinstance(line.message, Submit | Stop)
    ]
    c = SimulatedCluster(**NODES)
    seen: list[tuple[str, list[Any]]] = []
    c.world.observe(lambda name, message, now, effects: seen.append((name, effects)))
    try:
        c.join()
        start = arrivals[0].now - c.world.now()
        for line in arrivals:
            message = replace(line.message, reply_to="")
            c.world.send(MANAGER, message, max(0.0, line.now - start - c.world.now()))
        c.world.run(until=arrivals[-1].now - start + 5)
        assert all(t.state is State.RUNNING for t in of_job(c.look(), "after"))
    finally:
        c.close()
    assert placements(iter(seen)) == live
    assert len(live) >= TASKS
