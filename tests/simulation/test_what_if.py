"""What-if: the predicted moves are those that then happen, and without a change nothing moves."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from cube.messages import (
    DeclareLost,
    Fact,
    LabelNode,
    NodeInfo,
    Phase,
    Snapshot,
    engine_name,
    worker_name,
)
from cube.policies import policy
from cube.snapshot import State, Times, read, write
from cube.spec import (
    Constraint,
    Dependency,
    GpuNeed,
    HealthCheck,
    Kind,
    Mount,
    Port,
    ReschedulePolicy,
    RestartPolicy,
    Spread,
    TaskSpec,
)
from cube.task import MachineUse, NodeState
from cube.task import State as TaskState
from sim.__main__ import main
from sim.errors import InputError, PolicyFailed
from sim.whatif import Changes, Outcome, what_if
from sim.whatif.changes import NewNodes, Scaling
from sim.whatif.outcome import Fates
from tests.clusters import SmallCluster, batch, cluster, service


@policy
def broken(fleet, task, rows):
    raise RuntimeError("no idea")


Moves = list[tuple[str, str | None, str | None]]
REST_SECONDS = 12.0  # for whatever goes on to end: starts, stops and looks at roll-outs


def saved(snapshot: Snapshot, **times: Times) -> State:
    """As it would come back from the file."""
    services = {service.replace("_", "/"): seen for service, seen in times.items()}
    return read(json.dumps(write(State(snapshot, services))))


def moved(outcome: Outcome) -> Moves:
    return [(p.task, p.before, p.after) for p in outcome.fates.moves]


def really_moved(before: Snapshot, after: Snapshot) -> Moves:
    was = {t.id: t.node for t in before.tasks if t.state.placed}
    placed = [t for t in after.tasks if t.state.placed and t.id in was]
    return [(t.id, was[t.id], t.node) for t in placed if t.node != was[t.id]]


def is_idle(outcome: Outcome) -> bool:
    new = any(waiting.new for waiting in outcome.waiting)
    return outcome.settled and outcome.fates == Fates() and not new


def a_service(dice: random.Random, number: int, times: dict[str, Times], job: str) -> TaskSpec:
    """Any service: with a volume, a port, a rule, dependencies, or none of them."""
    start, stop = round(dice.uniform(0.1, 4), 2), round(dice.uniform(0, 2), 2)
    times[f"{job}_s{number}"] = Times(start, stop)
    fields: dict[str, Any] = {
        "instances": dice.randint(1, 4),
        "cpu_milli": dice.choice([100, 250, 400]),
        "memory_mib": dice.choice([64, 128, 300]),
        "labels": (("cube.sim.start", str(start)), ("cube.sim.stop", str(stop))),
    }
    match dice.randrange(9):
        case 0:
            fields |= {"ports": (Port(80, 8000 + number),), "instances": 2}
        case 1 | 2:
            fields |= {"mounts": (Mount("volume", "data", "/data"),), "instances": 1}
        case 3:
            fields |= {"kind": Kind.GLOBAL}
        case 4:
            fields |= {"spread": Spread("require")}
        case 5:
            fields |= {"constraints": (Constraint("node.labels.disk", "==", "ssd"),)}
        case 6:
            fields |= {"gpu": GpuNeed(1, dice.choice([500, 1000])), "instances": 2}
    if number and dice.random() < 0.4:
        fields["depends_on"] = (Dependency("s0"),)
    return service(f"s{number}", **fields)


def fill(made: SmallCluster, dice: random.Random) -> State:
    """Run any jobs on it, let it come to rest, and take its state."""
    times: dict[str, Times] = {}
    for node in ("node-1", "node-3"):
        made.send(lambda r, edge, n=node: LabelNode(r, n, edge, (("disk", "ssd"),)))
    for job in ("a", "b", "c"):
        made.submit(*(a_service(dice, n, times, job) for n in range(dice.randint(1, 3))), name=job)
    together = [service(f"t{n}", cpu_milli=150, instances=n + 1) for n in range(dice.randint(1, 3))]
    made.submit(*together, name="d", together=True)
    made.pass_time(REST_SECONDS)
    if dice.random() < 0.3:
        made.drain("node-2")
        made.pass_time(4 * REST_SECONDS)
    if dice.random() < 0.3:  # in the middle of something
        made.submit(service("s0", cpu_milli=300), name="late")
    return saved(made.look(), **times)


def a_cluster(kind: str, dice: random.Random) -> Any:
    nodes, gpus = dice.randint(3, 6), ("T4", "T4")
    return cluster(kind, nodes=nodes, cpu_milli=4000, memory_mib=4096, gpus=gpus)


@pytest.mark.parametrize("seed", range(12))
def test_in_any_cluster_nothing_moves_by_itself_and_a_drain_does_what_was_said(seed):
    dice = random.Random(seed)
    with a_cluster("sim", dice) as made:
        state = fill(made, dice)
        assert is_idle(what_if(state, Changes())) or "late" in str(state.snapshot.jobs)
        said = what_if(state, Changes(drain=("node-1",)))
        made.drain("node-1")
        made.pass_time(10 * REST_SECONDS)
        after = made.look()
    assert sorted(moved(said)) == sorted(really_moved(state.snapshot, after))
    waiting = sorted(t.id for t in after.tasks if t.state == "pending")
    assert [w.task for w in said.waiting] == waiting


@pytest.mark.parametrize("seed", [6, 13, 26, 33, 37])
def test_how_long_tasks_take_does_not_decide_where_a_drain_moves_them(seed):
    """The snapshot knows none of their times; these seeds once told them apart."""
    dice = random.Random(seed)
    with a_cluster("sim", dice) as made:
        state = saved(fill(made, dice).snapshot)
        said = what_if(state, Changes(drain=("node-1",)))
        made.drain("node-1")
        made.pass_time(10 * REST_SECONDS)
        after = made.look()
    assert len(said.fates.moves) >= 2
    assert sorted(moved(said)) == sorted(really_moved(state.snapshot, after))


@pytest.mark.parametrize("seed", range(6))
def test_a_machine_that_dies_leads_to_what_was_said(seed):
    dice = random.Random(100 + seed)
    with a_cluster("sim", dice) as made:
        state = fill(made, dice)
        said = what_if(state, Changes(fail=("node-1",)))
        for name in (engine_name("node-1"), worker_name("node-1")):
            made.world.stop_actor(name)
        made.pass_time(10 * REST_SECONDS)
        after = made.look()
    assert sorted(moved(said)) == sorted(really_moved(state.snapshot, after))
    assert {n.node: n.state_after for n in said.nodes}["node-1"].startswith("lost")
    assert all(p.down_seconds is not None and p.down_seconds >= 12 for p in said.fates.moves)


def test_on_threads_a_drain_moves_what_was_said():
    with cluster("threads", nodes=4, cpu_milli=4000, memory_mib=4096) as made:
        made.submit(service(instances=6, cpu_milli=300), service("api", cpu_milli=500))
        made.submit(service("db", cpu_milli=900), name="back")
        made.wait_states("shop", *["running"] * 7)
        before = made.wait(lambda s: all(t.state == "running" for t in s.tasks))
        busiest = max(before.rows, key=lambda row: row.tasks).info.name
        said = what_if(saved(before), Changes(drain=(busiest,)))
        made.drain(busiest)
        after = made.wait(
            lambda s: all(t.state == "running" and t.node != busiest for t in s.tasks), "the drain"
        )
    assert len(said.fates.moves) >= 2
    assert sorted(moved(said)) == sorted(really_moved(before, after))


def test_on_threads_a_lost_node_moves_what_was_said():
    with cluster("threads", nodes=4, cpu_milli=4000, memory_mib=4096) as made:
        made.submit(service(instances=6, cpu_milli=300), service("api", cpu_milli=500))
        made.wait_states("shop", *["running"] * 7)
        before = made.look()
        said = what_if(saved(before), Changes(fail=("node-1",)))
        for name in (worker_name("node-1"), engine_name("node-1")):
            made.world.stop_actor(name)
        made.wait(lambda s: s.nodes[0].state is NodeState.SUSPECT, "silence")
        made.send(lambda request, edge: DeclareLost(request, "node-1", edge))
        after = made.wait(
            lambda s: all(t.state == "running" and t.node != "node-1" for t in s.tasks), "its tasks"
        )
    assert len(said.fates.moves) == 2
    assert sorted(moved(said)) == sorted(really_moved(before, after))


@pytest.fixture(scope="module")
def shop() -> State:
    """Three nodes; `web` runs three times, `db` has its data on node-1, `api` needs it."""
    with cluster("sim", nodes=3, cpu_milli=1000) as made:
        db = service("db", mounts=(Mount("volume", "data", "/data"),))
        made.submit(db, service("api", depends_on=(Dependency("db"),)), service(instances=3))
        made.wait_states("shop", *["running"] * 5)
        made.pass_time(5)
        state = saved(made.look(), shop_web=Times(3.0, 1.0))
    assert {t.id: t.node for t in state.snapshot.tasks}["shop/db/1"] == "node-1"
    return state


def test_a_question_changes_nothing_and_is_answered_alike_every_time(shop):
    changes = Changes(drain=("node-2",), scale=(Scaling("shop", "web", 5),))
    first = what_if(shop, changes)
    assert first == what_if(shop, changes)
    assert not is_idle(first)


def test_the_answer_is_the_same_in_any_process(shop, tmp_path):
    file = tmp_path / "state.json"
    file.write_text(json.dumps(write(shop)))
    command = [sys.executable, "-m", "sim", "what-if", str(file), "--fail", "node-2", "-o", "json"]
    answers = [
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, stdout=-1, check=False)
        for seed in ("1", "2")
    ]
    assert answers[0].stdout == answers[1].stdout
    assert json.loads(answers[0].stdout)["moves"] != []


def test_a_volume_holds_up_a_drain_and_a_deadline_ends_it(shop):
    held = what_if(shop, Changes(drain=("node-1",)))
    assert held.exit_code == 3
    assert "blocked by volume shop_data" in dict(held.blocked)["node-1"]
    ended = what_if(shop, Changes(drain=("node-1",), deadline_seconds=60.0))
    assert not ended.blocked
    (waiting,) = ended.waiting
    assert (waiting.task, waiting.before, waiting.new) == ("shop/db/1", "node-1", True)
    assert waiting.reason == "volume shop_data is on node-1, which is draining"
    assert 60 <= ended.settle_seconds < 70


def test_it_says_when_each_task_is_up_and_how_long_it_was_down(shop):
    (place,) = what_if(shop, Changes(drain=("node-2",))).fates.moves[-1:]
    assert place.task.startswith("shop/web/")
    assert 4.0 <= place.down_seconds < 4.1  # as measured: a second to stop, three to start
    assert place.seconds == place.down_seconds


def test_new_nodes_take_what_fits_nowhere(shop):
    wanted = (Scaling("shop", "web", 40),)
    crowded = what_if(shop, Changes(scale=wanted))
    assert crowded.exit_code == 3
    assert "the best of 3 nodes" in crowded.waiting[0].reason
    roomy = what_if(shop, Changes(scale=wanted, add=(NewNodes.parse("2:cpu=8,memory=8G"),)))
    assert roomy.exit_code == 0
    assert len(roomy.fates.started) == 37
    new = {n.node: n for n in roomy.nodes}["new-2"]
    assert (new.before, new.capacity.cpu_milli, new.capacity.memory_mib) == (None, 8000, 8192)
    assert new.capacity.disk_mib == 1024  # as the others have


def test_scaling_down_ends_tasks(shop):
    outcome = what_if(shop, Changes(scale=(Scaling("shop", "web", 1),)))
    assert [task for task, _ in outcome.fates.ended] == ["shop/web/2", "shop/web/3"]
    assert (outcome.exit_code, outcome.fates.moves) == (0, [])


def test_another_policy_decides_where_tasks_go(shop):
    def first_new(policy: str) -> str:
        changes = Changes(scale=(Scaling("shop", "web", 4),), policy=policy)
        return what_if(shop, changes).fates.started[0].after

    assert is_idle(what_if(shop, Changes(policy="first-fit")))  # it moves nothing by itself
    assert {first_new("first-fit"), first_new("worst-fit")} == {"node-1", "node-3"}


def test_nodes_are_what_they_were_lost_silent_removed_or_draining(shop):
    """Those that no longer report keep their rows, and nothing is placed on them."""
    one, two, three = shop.snapshot.nodes
    info = NodeInfo("gone", 1000, 1000, 1000)
    gone = replace(shop.snapshot.rows[0], row=3, info=info, open=False, cpu_used_milli=0, tasks=0)
    empty = replace(gone, row=4, info=replace(info, name="node-4"))
    lost = replace(three, name="node-4", state=NodeState.LOST, row=4)
    rows = (*shop.snapshot.rows, gone, empty)
    snapshot = replace(
        shop.snapshot, rows=rows, nodes=(one, replace(two, draining=True), three, lost)
    )
    outcome = what_if(State(snapshot), Changes())
    states = {n.node: n.state_after for n in outcome.nodes}
    assert states == {
        "node-1": "alive",
        "node-2": "alive, draining",
        "node-3": "alive",
        "node-4": "lost",
    }
    assert {place.after for place in outcome.fates.moves} <= {"node-1", "node-3"}
    silent = replace(shop.snapshot, nodes=(one, replace(two, state=NodeState.SUSPECT), three))
    outcome = what_if(State(silent), Changes())
    assert {n.node: n.state_after for n in outcome.nodes}["node-2"] == "lost"
    assert {place.before for place in outcome.fates.moves} == {"node-2"}


def test_a_full_disk_and_an_engine_that_does_not_answer_take_no_tasks(shop):
    one, two, three = shop.snapshot.nodes
    full = replace(two, machine=MachineUse(10, 4000, 10, 8192, 95, 100))
    mute = replace(three, engine_error="it hangs")
    snapshot = replace(shop.snapshot, nodes=(one, full, mute))
    outcome = what_if(State(snapshot), Changes(scale=(Scaling("shop", "web", 6),)))
    assert {place.after for place in outcome.fates.started} == {"node-1"}
    assert (outcome.fates.moves, outcome.fates.restarts) == ([], [])


def test_what_was_going_on_goes_on():
    """A restart that waits, a back-off, and a roll-out half way."""
    failing = batch("broken", exit_code=1, restart=RestartPolicy("on-failure", 3))
    lost = batch("elsewhere", exit_code=1, reschedule=ReschedulePolicy(3, 20.0))
    with cluster("sim") as made:
        made.pass_time(20)
        made.submit(service(instances=3), name="shop")
        made.submit(failing, lost, name="bad")
        made.wait_states("shop", *["running"] * 3)
        made.submit(service(instances=3, environment=(("V", "2"),)), name="shop")
        made.wait(lambda s: sum(t.version == 2 for t in s.tasks if t.job == "shop") == 1)
        made.wait(lambda s: any(t.retry_at for t in s.tasks), "a failure")
        state = saved(made.look())
    assert {t.id: t.retry_at is None for t in state.snapshot.tasks}["bad/broken/1"] is False
    assert {t.id: str(t.state) for t in state.snapshot.tasks}["bad/elsewhere/1"] == "pending"
    outcome = what_if(state, Changes())
    again = {p.task for p in (*outcome.fates.restarts, *outcome.fates.moves)}
    assert {"bad/broken/1", "shop/web/2", "shop/web/3"} <= again
    assert [p.task for p in outcome.fates.started] == ["bad/elsewhere/1"]
    assert (outcome.settled, outcome.exit_code) == (True, 0)
    assert outcome.settle_seconds >= 19


def test_a_cluster_that_has_only_just_begun_is_no_other():
    """What is due at 0 is due at once, whatever the clock shows."""
    with cluster("sim") as made:
        made.submit(service(instances=3))
        made.wait_states("shop", *["running"] * 3)
        made.submit(service(instances=3, user="nobody"))
        made.wait(lambda s: any(t.version == 2 for t in s.tasks))
        outcome = what_if(saved(made.look()), Changes())
    assert len(outcome.fates.restarts) + len(outcome.fates.moves) >= 2


def test_what_nobody_knows_holds_its_room(shop):
    strange = Fact("old/x/1@3", 1, 0, Phase.RUNNING, handle="ab", size=(700, 100, 0))
    snapshot = replace(shop.snapshot, unknown=(("node-3", strange),))
    outcome = what_if(State(snapshot), Changes(drain=("node-2",)))
    assert "recovery: 1 containers" in outcome.note
    node = {n.node: n for n in outcome.nodes}["node-3"]
    held = sum(t.spec.cpu_milli for t in shop.snapshot.tasks if t.node == "node-3")
    came = sum(p.after == "node-3" for p in outcome.fates.moves)
    assert node.after.cpu_milli == held + 100 * came + 700


def test_most_nodes_silent_moves_nothing(shop):
    outcome = what_if(shop, Changes(fail=("node-2", "node-3")))
    assert outcome.fates.moves == []
    assert "may be cut off" in outcome.note


@pytest.fixture
def checked() -> State:
    """One task with a health check, of two instances that are wanted; the other waits for it."""
    check = HealthCheck(("CMD", "true"), interval_seconds=20.0)
    with cluster("sim", nodes=2) as made:
        made.pass_time(20)
        made.submit(
            service(healthcheck=check), service("next", depends_on=(Dependency("web", "healthy"),))
        )
        made.wait_states("shop", "running", "running")
        return saved(made.look())


def test_health_checks_are_waited_for(checked):
    web, after = sorted(checked.snapshot.tasks, key=lambda t: t.id, reverse=True)
    assert web.healthy
    assert is_idle(what_if(checked, Changes()))
    outcome = what_if(checked, Changes(drain=(web.node or "",)))
    assert {place.task for place in outcome.fates.moves} >= {web.id}
    fresh = replace(web, healthy=None)  # it has only just started
    waiting = replace(after, state=TaskState.PENDING, node=None, attempt=0, phase=-1)
    snapshot = replace(checked.snapshot, tasks=(fresh, waiting))
    outcome = what_if(State(snapshot), Changes())
    (started,) = outcome.fates.started
    assert (started.task, outcome.settled) == ("shop/next/1", True)
    assert 8 <= started.seconds <= 21  # its check has begun before, with the restart


def test_what_is_found_sick_is_restarted(checked):
    tasks = tuple(
        replace(t, healthy=False) if t.service == "web" else t for t in checked.snapshot.tasks
    )
    outcome = what_if(State(replace(checked.snapshot, tasks=tasks)), Changes())
    assert [place.task for place in outcome.fates.restarts] == ["shop/web/1"]
    assert outcome.settle_seconds > 20  # its delay, its start, and then its check


def test_what_makes_no_sense_is_refused_with_a_reason(shop):
    for changes, told in (
        (Changes(drain=("node-9",)), "no node node-9. Known are: node-1, node-2, node-3"),
        (Changes(fail=("node-9",)), "no node node-9"),
        (Changes(scale=(Scaling("shop", "nope", 2),)), "shop has no service nope"),
        (Changes(policy="worst"), "no policy"),
    ):
        with pytest.raises(InputError, match=told):
            what_if(shop, changes)
    for text in ("0", "x", "2:cpu", "2:cpu=much", "2:wheels=4"):
        with pytest.raises(InputError):
            NewNodes.parse(text)
    with pytest.raises(InputError, match="JOB/SERVICE=N"):
        Scaling.parse("shop=3")


def test_a_policy_that_fails_is_told_and_not_taken_for_want_of_room(shop):
    changes = Changes(scale=(Scaling("shop", "web", 4),), policy=f"{__name__}:broken")
    with pytest.raises(PolicyFailed, match="no idea"):
        what_if(shop, changes)


def test_the_command_prints_a_table_or_json_and_ends_with_the_outcome(shop, tmp_path):
    file = tmp_path / "state.json"
    file.write_text(json.dumps(write(shop)))

    def run(*options: str) -> Any:
        return CliRunner().invoke(main, ["what-if", str(file), *options])

    table = run("--drain", "node-1")
    assert table.exit_code == 3
    assert "would not be empty:\n  node-1: draining, 1 task left; blocked by volume" in table.output
    assert "alive → alive, draining" in table.output
    found = json.loads(run("--scale", "shop/web=4", "-o", "json").output)
    assert (found["exit_code"], found["settled"], len(found["started"])) == (0, True, 1)
    assert "nothing would change" in run().output
    assert run("--deadline", "5s").exit_code == 2
    assert run("--drain", "node-2", "--limit", "1s").exit_code == 4
    file.write_text("{}")
    refused = run()
    assert refused.exit_code == 2
    assert "this is no snapshot. Make one with cube snapshot." in refused.output
