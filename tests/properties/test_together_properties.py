"""Jobs that are kept together: on one node, whatever happens, and never where they do not fit."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from cube.fleet import Fleet
from cube.messages import Drain, NodeInfo, NodeRow, Question, Restart, Stop
from cube.placement import Placer
from cube.policies import make_policy
from cube.spec import Demand, GpuNeed, JobSpec, Mount, TaskSpec
from tests.managers import Pair

POLICIES = ("epvm", "round-robin", "best-fit", "fgd", "first-fit", "epvm-paper")
SHOP = JobSpec("shop", (), together=True)
parts = st.builds(
    lambda cpu, port, gpu: Demand(100 * cpu, 100, ports=port, gpu=gpu, together=True),
    st.integers(1, 9),
    st.sampled_from([(), (), ((80, "tcp"),), ((443, "tcp"),)]),
    st.sampled_from([None, None, GpuNeed(1), GpuNeed(2)]),
)
rows = st.builds(
    lambda cpu, gpus, is_open, ports: NodeRow(
        0, NodeInfo("?", 500 * cpu, 1000, 1000, gpus=gpus), is_open, ports=ports
    ),
    st.integers(1, 8),
    st.sampled_from([(), ("T4",), ("T4", "T4", "A10")]),
    st.sampled_from([True, True, False]),
    st.sampled_from([(), (), ((80, "tcp"),)]),
)


def fleet_of(made: list[NodeRow]) -> Fleet:
    fleet = Fleet()
    for number, row in enumerate(made):
        fleet.set_row(replace(row, row=number, info=replace(row.info, name=f"node-{number}")))
    return fleet


@given(st.lists(rows, min_size=1, max_size=6), st.lists(parts, min_size=1, max_size=5),
       st.sampled_from(POLICIES), st.integers(0, 3))  # fmt: skip
def test_a_whole_goes_to_one_row_that_has_room_for_all_of_it(made, needs, policy, others):
    needs = [  # what publishes one port twice is refused beforehand
        replace(n, ports=() if any(n.ports == m.ports for m in needs[:i]) else n.ports)
        for i, n in enumerate(needs)
    ]
    fleet = fleet_of(made)
    whole = Demand.of_whole(SHOP, needs)
    before = [fleet.fits(row, whole) for row in range(len(made))]
    uids = tuple(f"shop/web/{n}@1" for n in range(len(needs)))
    small = Question(Demand(100, 100), tuple(f"other/web/{n}@1" for n in range(others)))
    order = (0, *[1] * others, *[0] * (len(needs) - 1))
    placer = Placer(fleet, make_policy(policy))
    decisions = placer.place((Question(whole, uids, whole=True), small), order)
    mine = [d for d in decisions if d.uid in uids]
    assert [d.uid for d in mine] == list(uids)
    assert {d.whole for d in mine} == {True}
    (row,) = {d.row for d in mine}
    assert before[row] if row is not None else not any(before)
    if row is not None:  # one after the other, each of them finds its room there
        again = fleet_of(made)
        for need in needs:
            gpus = tuple(again.devices.fitting(row, need.gpu))[: need.gpu.count] if need.gpu else ()
            assert again.fits(row, need, gpus)
            again.take(row, need, gpus)
    for row in range(len(made)):
        assert all(
            used <= most for used, most in zip(fleet.used_of(row), _size(fleet, row), strict=True)
        )


def _size(fleet: Fleet, row: int) -> tuple[int, int, int]:
    info = fleet.info(row)
    return info.cpu_milli, info.memory_mib, info.disk_mib


specs = st.lists(
    st.builds(
        lambda cpu, instances, data: (100 * cpu, 1 if data else instances, data),
        st.integers(1, 12), st.integers(1, 3), st.sampled_from([False, False, False, True]),
    ),
    min_size=1, max_size=3,
)  # fmt: skip
steps = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.sampled_from(["shop", "blog"]), specs),
        st.tuples(st.just("plain"), st.integers(1, 9), st.none()),
        st.tuples(st.just("scale"), st.integers(0, 4), st.none()),
        st.tuples(st.just("live"), st.integers(1, 4), st.none()),
        st.tuples(st.just("lose"), st.integers(1, 4), st.none()),
        st.tuples(st.just("drain"), st.integers(1, 4), st.sampled_from([None, 1.0])),
        st.tuples(st.just("restart"), st.sampled_from(["shop", "blog"]), st.none()),
        st.tuples(st.just("stop"), st.sampled_from(["shop", "blog", "plain"]), st.none()),
    ),
    max_size=14,
)


def job_of(made: list[tuple[int, int, bool]]) -> list[TaskSpec]:
    return [
        TaskSpec(
            "web" if not number else f"s{number}", "image", instances=instances, cpu_milli=cpu,
            memory_mib=100, mounts=(Mount("volume", f"data{number}", "/d"),) if data else (),
        )
        for number, (cpu, instances, data) in enumerate(made)
    ]  # fmt: skip


def do(d: Pair, step: tuple) -> None:
    kind, what, more = step
    d.now += 1
    match kind:
        case "submit":
            d.run(*job_of(more), name=what)
        case "plain":
            d.run(TaskSpec("web", "i", cpu_milli=100 * what, memory_mib=100), name="plain",
                  together=False)  # fmt: skip
        case "scale":
            d.scale(what)
        case "live":
            for _ in range(what):
                d.live()
        case "lose":
            for _ in range(20):
                d.live(f"node-{what}")
        case "drain":
            d.tell(Drain(f"d{d.now}", f"node-{what}", "e/1", deadline_seconds=more))
        case "restart":
            d.tell(Restart(f"r{d.now}", what, "e/1"))
        case "stop":
            d.tell(Stop(f"s{d.now}", what, "e/1"))
    together(d)


def together(d: Pair) -> None:
    """Apart from what is still on its way from draining nodes, each job is on one node."""
    seen = d.look()
    draining = {node.name for node in seen.nodes if node.draining}
    for job in seen.jobs:
        if job.spec.together:
            nodes = {t.node for t in seen.tasks if t.job == job.name and t.state.placed}
            assert len(nodes - draining) <= 1, (job.name, nodes)
    for row in seen.rows:
        assert row.cpu_used_milli <= row.info.cpu_milli


@settings(max_examples=60, deadline=None)
@given(steps, st.sampled_from(["epvm", "round-robin"]))
def test_a_job_is_on_one_node_whatever_happens(made, policy):
    d = Pair(nodes=4, policy=policy)
    for step in made:
        do(d, step)
    for _ in range(40):
        d.live()
        together(d)
    fits_nowhere(d)


def fits_nowhere(d: Pair) -> None:
    """In the end, what waits waits for good reason: there is no room for it."""
    seen = d.look()
    draining = {node.name for node in seen.nodes if node.draining}
    for job in seen.jobs:
        tasks = [t for t in seen.tasks if t.job == job.name and not t.state.final]
        waits = [t for t in tasks if t.state.value == "pending"]
        if not waits or not job.spec.together:
            continue
        data = {node for name, node in seen.volumes if name.startswith(f"{job.name}_")}
        homes = data or {t.node for t in tasks if t.state.placed and t.node not in draining}
        if homes:
            needs = [t.spec.cpu_milli for t in waits]
        else:
            needs = [sum(t.spec.cpu_milli for t in tasks)]
        for row in seen.rows:
            if row.open and (not homes or row.info.name in homes):
                assert row.info.cpu_milli - row.cpu_used_milli < min(needs), (job.name, row)
