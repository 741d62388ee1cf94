"""The file that `cube snapshot` writes: whole, without secrets, and told apart from others."""

import json
from dataclasses import fields

import pytest

from cube.messages import Fact, NodeInfo, NodeRow, Phase, Snapshot
from cube.snapshot import SnapshotError, State, Times, measured, read, write
from cube.spec import Constraint, HealthCheck, JobSpec, PortCheck, TaskSpec
from cube.task import Event, Job, JobVersion, Node, NodeState, Task
from cube.task import State as TaskState

SECRET = "hunter2"
OLD = TaskSpec("web", "shop", environment=(("MODE", SECRET), ("DB_PASSWORD", SECRET)))
NEW = TaskSpec(
    "web",
    "shop",
    environment=(("MODE", f"not {SECRET}"), ("DB_PASSWORD", SECRET)),
    command=("serve", f"--token={SECRET}"),
    entrypoint=(SECRET,),
    labels=(("traefik.auth", SECRET),),
    log_options=(("splunk-token", SECRET),),
    healthcheck=HealthCheck(("CMD", "curl", "-u", SECRET)),
    check=PortCheck(80, f"/ready?key={SECRET}"),
    constraints=(
        Constraint("node.labels.disk", "==", "ssd"),
        Constraint("node.labels.api-key", "==", SECRET),
    ),
)
LABELS = (("disk", "ssd"), ("api-key", SECRET))


def a_state(*specs: TaskSpec) -> State:
    newest = specs[-1]
    tasks = tuple(
        Task(
            f"shop/web/{n}",
            7,
            "shop",
            "web",
            str(n),
            1,
            spec,
            TaskState.RUNNING,
            node="node-1",
            reason=f"cannot pull https://me:{SECRET}@registry/x",
        )
        for n, spec in enumerate(specs, 1)
    )
    earlier = (JobVersion(1, JobSpec("shop", specs[:1])),)
    halted = f"http://me:{SECRET}@registry/ said no"
    job = Job("shop", JobSpec("shop", (newest,)), 2, 9, 9, halted=halted, earlier=earlier)
    node = Node("node-1", NodeState.ALIVE, 1.0, 2.0, 0, "docker", "dc1", LABELS)
    row = NodeRow(0, NodeInfo("node-1", 4000, 8192, 100, labels=LABELS, gpus=("A100",)), True)
    strange = (("node-1", Fact("old/x/1@3", 1, 0, Phase.RUNNING, spec=NEW)),)
    snapshot = Snapshot("c1", 3, 9, 5.5, "epvm(base=2.0)", (job,), tasks, (node,), (row,))
    return State(
        Snapshot(*(getattr(snapshot, f) for f in snapshot.__slots__[:9]), (("v", "n"),), strange),
        {"shop/web": Times(1.5, None)},
    )


def written(state: State) -> str:
    return json.dumps(write(state))


def test_nothing_that_may_be_secret_is_in_it():
    text = written(a_state(OLD, NEW))
    assert SECRET not in text
    assert "DB_PASSWORD" in text  # names may be seen


def test_everything_that_decisions_look_at_comes_back():
    state = a_state(OLD, NEW)
    back = read(written(state))
    assert back.times == state.times
    before, after = state.snapshot, back.snapshot
    assert (after.cluster, after.policy, after.volumes) == ("c1", "epvm(base=2.0)", (("v", "n"),))
    assert after.rows[0].info.gpus == ("A100",)
    assert [t.node for t in after.tasks] == [t.node for t in before.tasks]
    assert after.unknown[0][1].uid == "old/x/1@3"
    assert after.jobs[0].earlier[0].version == 1
    assert after.tasks[1].spec.has_health


def test_what_differed_differs_still_and_what_was_equal_is_equal():
    snapshot = read(written(a_state(OLD, NEW, NEW))).snapshot
    one, two, three = (task.spec for task in snapshot.tasks)
    assert not one.same_container(two)  # the roll-out has yet to replace it
    assert two == three == snapshot.jobs[0].spec.services[0]
    assert dict(one.environment)["MODE"] == dict(one.environment)["DB_PASSWORD"]
    hidden = two.constraints[1].value
    assert hidden != SECRET
    assert dict(snapshot.rows[0].info.labels) == {"disk": "ssd", "api-key": hidden}
    assert two.constraints[0].value == "ssd"


# What placement, the protocol or people look at, and what no secret belongs into.
SHOWN = {
    "name", "image", "kind", "instances", "working_dir", "user", "ports", "mounts", "stop_signal",
    "stop_grace_seconds", "pull_policy", "init", "ulimits", "cap_add", "cap_drop", "devices",
    "privileged", "shm_size_bytes", "extra_hosts", "log_driver", "depends_on", "cpu_milli",
    "memory_mib", "disk_mib", "gpu", "cpu_limit_milli", "memory_limit_mib", "max_per_node",
    "spread", "on_disconnect", "restart", "reschedule",
}  # fmt: skip


def test_of_every_field_of_a_spec_it_is_known_whether_it_may_be_seen():
    """Whoever adds one has to say so here, or in `cube.snapshot.hiding`."""
    (task,) = read(written(a_state(NEW))).snapshot.tasks
    names = {field.name for field in fields(TaskSpec)}
    hidden = {name for name in names if getattr(task.spec, name) != getattr(NEW, name)}
    assert hidden == names - SHOWN


def test_a_health_check_that_is_turned_off_stays_so():
    off = TaskSpec("web", "shop", healthcheck=HealthCheck(("NONE",)))
    (task,) = read(written(a_state(off))).snapshot.tasks
    assert not task.spec.has_health


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "no snapshot"),
        ("[]", "no snapshot; make one with cube snapshot"),
        ('{"kind": "cube-snapshot", "version": 2, "cube": "9.9"}', "made by Cube 9.9, use that"),
        ('{"kind": "cube-snapshot", "version": 1, "state": {"$": "Snapshot"}}', "lacks cluster"),
        ('{"kind": "cube-snapshot", "version": 1, "state": 3}', "holds no state"),
        ('{"kind": "cube-snapshot", "version": 1, "times": {"a/b": {"x": 1}}}', "damaged"),
    ],
)
def test_anything_else_is_refused_with_a_reason(text, told):
    with pytest.raises(SnapshotError, match=told):
        read(text)


def test_times_are_medians_of_what_the_history_shows():
    def happened(at: float, kind: str, task: str) -> Event:
        return Event(int(at * 10), at, f"task.{kind}", "", "shop", task)

    events = [
        happened(0.0, "running", "shop/db/1"),  # its beginning was not seen
        happened(1.0, "placed", "shop/web/1"),
        happened(1.0, "placed", "shop/web/2"),
        happened(2.0, "running", "shop/web/1"),
        happened(4.0, "running", "shop/web/2"),
        happened(5.0, "placed", "shop/web/3"),
        happened(10.0, "running", "shop/web/3"),
        happened(11.0, "replacing", "shop/web/1"),
        happened(11.5, "stopped", "shop/web/1"),
        happened(12.0, "replacing", "shop/web/2"),  # and its end was not
    ]
    assert measured(events) == {"shop/web": Times(3.0, 0.5)}
