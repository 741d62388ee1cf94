"""GPUs all the way: counted by device, chosen when placed, told to the engine, given back."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docker.api.client import APIClient

from cube import codec
from cube.cli.hosting import read_gpus as read_gpus_option
from cube.compose import SpecError, read_job
from cube.engine import capacity, spec_hash
from cube.engine.docker.names import gpus_of, labels_of
from cube.engine.docker.spec import create_arguments
from cube.fleet import Fleet
from cube.messages import Fact, NodeInfo, NodeRow, Phase, Place, Placed, Question, Run, RunKey
from cube.placement import Placer, why_pending
from cube.policies import Policy, make_policy
from cube.spec import Demand, GpuNeed, TaskSpec
from cube.task import Decision, State
from tests.managers import WEB, Driver, assigns, running
from tests.workers import SPEC, UID, WANTED, assign, reports, started

TRAIN = replace(WEB, gpu=GpuNeed(2))


def node(name: str, *models: str) -> NodeInfo:
    return NodeInfo(name, 64_000, 262_144, 0, gpus=models)


def fleet_of(*infos: NodeInfo) -> Fleet:
    fleet = Fleet()
    for row, info in enumerate(infos):
        fleet.set_row(NodeRow(row, info, True))
    return fleet


def whole(count: int, *models: str) -> Demand:
    return Demand(1000, 1000, gpu=GpuNeed(count, models=models))


def share(milli: int, *models: str) -> Demand:
    return Demand(1000, 1000, gpu=GpuNeed(1, milli, models))


# --- the fleet -----------------------------------------------------------------------------


def test_each_device_is_counted_by_itself() -> None:
    fleet = fleet_of(node("a", "T4", "T4", "T4"))
    fleet.take(0, whole(1), (1,))
    fleet.take(0, share(300), (2,))
    assert fleet.devices.free_of(0) == [1000, 0, 700]
    assert fleet.node_row(0).gpu_used_milli == (0, 1000, 300)
    assert fleet.gpu_free_milli.tolist() == [1700]
    assert fleet.gpu_used_milli.tolist() == [1300]
    assert fleet.fits(0, share(700))
    assert fleet.fits(0, share(700), (2,))
    assert not fleet.fits(0, share(701), (2,))
    assert not fleet.fits(0, whole(2))
    fleet.give(0, share(300), (2,))
    assert fleet.fits(0, whole(2))
    fleet.give(0, whole(1), (1,))
    assert fleet.node_row(0) == NodeRow(0, node("a", "T4", "T4", "T4"), True)


def test_a_copy_of_a_row_is_equal() -> None:
    fleet, copy = fleet_of(node("a", "T4", "T4")), fleet_of(node("a", "T4", "T4"))
    fleet.take(0, share(250), (0,))
    copy.set_row(fleet.node_row(0))
    assert copy.node_row(0) == fleet.node_row(0)
    assert copy.gpu_free_milli.tolist() == [1750]
    before = copy.revision
    copy.set_row(fleet.node_row(0))
    assert copy.revision == before


def test_giving_back_a_gpu_that_was_not_taken_is_a_bug() -> None:
    fleet = fleet_of(node("a", "T4", "T4"))
    fleet.take(0, whole(1), (0,))
    with pytest.raises(AssertionError, match="was given back more of GPUs"):
        fleet.give(0, whole(1), (1,))


def test_what_a_task_holds_stays_held_when_its_node_changes() -> None:
    fleet = fleet_of(node("a", "T4", "T4"))
    fleet.take(0, whole(1), (1,))
    fleet.set_row(replace(fleet.node_row(0), info=node("a", "T4")))
    assert not fleet.fits(0, whole(2))
    assert fleet.node_row(0).gpu_used_milli == (0, 1000)
    fleet.set_row(replace(fleet.node_row(0), info=node("a", "T4", "T4", "T4")))
    assert fleet.devices.free_of(0) == [1000, 0, 1000]
    fleet.give(0, whole(1), (1,))
    assert fleet.gpu_free_milli.tolist() == [3000]


def test_the_devices_of_others_are_nobodys_here() -> None:
    fleet = fleet_of(node("a", "", "T4"))
    assert fleet.gpu_milli.tolist() == [1000]
    assert fleet.devices.tightest(0, GpuNeed(1)) == (1,)
    assert not fleet.fits(0, whole(2))


def test_how_many_more_tasks_fit() -> None:
    fleet = fleet_of(node("a", "T4", "T4", "A10"))
    fleet.take(0, share(500), (0,))
    assert fleet.devices.places(0, GpuNeed(1, 300)) == 1 + 3 + 3
    assert fleet.devices.places(0, GpuNeed(1, 300, ("A10",))) == 3
    assert fleet.devices.places(0, GpuNeed(2)) == 1
    assert fleet.devices.places(0, GpuNeed(3)) == 0


# --- placement -----------------------------------------------------------------------------


def placed(placer: Placer, *demands: Demand) -> list[tuple[int | None, tuple[int, ...]]]:
    questions = tuple(Question(d, (f"t{i}",)) for i, d in enumerate(demands))
    decisions = placer.place(questions, tuple(range(len(demands))))
    return [(d.row, d.gpus) for d in decisions]


def test_a_share_goes_to_the_tightest_device_and_whole_ones_to_free_devices() -> None:
    placer = Placer(fleet_of(node("a", "T4", "T4", "T4")), make_policy("epvm"))
    assert placed(placer, share(600), share(500), share(300), whole(1), whole(1)) == [
        (0, (0,)), (0, (1,)), (0, (0,)), (0, (2,)), (None, ()),
    ]  # fmt: skip


def test_a_model_is_asked_for_by_name() -> None:
    placer = Placer(fleet_of(node("a", "T4"), node("b", "A10", "V100")), make_policy("first-fit"))
    asked = (whole(1, "V100"), whole(1, "V100", "T4"), whole(1, "H100"))
    assert placed(placer, *asked) == [(1, (1,)), (0, (0,)), (None, ())]


class LastDevice(Policy):
    """Takes the highest numbers, whether they fit or not."""

    def score(self, fleet: Fleet, demand: Demand, rows: np.ndarray) -> np.ndarray:
        return np.zeros(len(rows))

    def gpus(self, fleet: Fleet, row: int, demand: Demand) -> tuple[int, ...]:
        return (1,)


def test_a_policy_may_choose_the_device_but_not_one_that_is_full() -> None:
    placer = Placer(fleet_of(node("a", "T4", "T4")), LastDevice())
    assert placed(placer, share(600)) == [(0, (1,))]
    (decision,) = placer.place((Question(share(600), ("t",)),), (0,))
    assert decision.row is None
    assert "chose GPUs (1,) of a" in decision.error
    assert placer.fleet.devices.free_of(0) == [1000, 400]


@pytest.mark.parametrize(
    ("demand", "text"),
    [
        (whole(2), "needs 2 GPUs; the best of 2 nodes, b, has 1 free; "
                   "1 node has fewer than 2 GPUs"),
        (share(700), "needs 0.7 of a GPU; the best of 2 nodes, a, has 0.4 of a GPU free; "
                     "1 node has no GPU"),
        (whole(1, "H100", "H200"), "3 nodes have no GPU of model H100 or H200"),
        (whole(3, "T4"), "3 nodes have fewer than 3 GPUs of model T4"),
    ],
)  # fmt: skip
def test_why_it_waits(demand: Demand, text: str) -> None:
    fleet = fleet_of(node("a", "T4", "T4"), node("b", "T4", "T4"), node("c"))
    fleet.take(0, share(600), (0,))
    fleet.take(0, whole(1), (1,))
    fleet.take(1, whole(1), (0,))
    if demand.gpu_milli < 1000:
        fleet.take(1, share(800), (1,))
    decision = Placer(fleet, make_policy("epvm")).decide(demand)
    assert why_pending(decision) == text


def test_one_whole_gpu_is_told_in_whole_ones() -> None:
    fleet = fleet_of(node("a", "T4"))
    fleet.take(0, share(300), (0,))
    decision = Placer(fleet, make_policy("epvm")).decide(whole(1))
    assert why_pending(decision) == "needs 1 GPU; a has 0 free"


def test_tasks_with_gpus_of_one_service_see_each_other() -> None:
    fleet = fleet_of(node("a", "T4", "T4"), node("b", "T4", "T4"))
    demand = replace(whole(1), service="j/s", max_per_node=1)
    decisions = Placer(fleet, make_policy("first-fit")).place(
        (Question(demand, ("x", "y", "z")),), (0, 0, 0)
    )
    assert [d.row for d in decisions] == [0, 1, None]


def test_epvm_counts_gpus_where_they_are_needed() -> None:
    fleet = fleet_of(node("a", *["T4"] * 4), node("b", *["T4"] * 4))
    fleet.take(0, whole(2), (0, 1))
    rows = np.arange(2)
    cpu_and_memory = make_policy("epvm(base=2)").score(fleet, Demand(1000, 1000), rows)
    with_gpu = make_policy("epvm(base=2)").score(fleet, whole(1), rows)
    extra = with_gpu - cpu_and_memory
    assert extra == pytest.approx([2**0.75 - 2**0.5, 2**0.25 - 1])
    assert Placer(fleet, make_policy("best-fit")).decide(whole(1)).node == "a"


# --- the manager ---------------------------------------------------------------------------


def gpu_driver() -> Driver:
    d = Driver(nodes=0)
    for name in ("node-1", "node-2", "node-3"):
        d.report(name, info=INFOS[name])
    return d


INFOS = {f"node-{i}": NodeInfo(f"node-{i}", 2000, 2000, 1000, gpus=("T4",) * 4) for i in (1, 2, 3)}


def answer(d: Driver, sends: list[Any], gpus: tuple[int, ...]) -> list[Any]:
    """Place the one task that is asked about on node-1, on these devices."""
    (place,) = [e.message for e in sends if isinstance(e.message, Place)]
    (uid,) = place.questions[0].tasks
    decision = Decision(uid, 0, "node-1", gpus=gpus)
    return d.tell(Placed(place.round, (decision,)))


def test_the_chosen_devices_are_assigned_and_survive_a_restart_of_the_manager() -> None:
    d = gpu_driver()
    sends = answer(d, d.submit(TRAIN), (1, 3))
    assert assigns(sends)["node-1"].tasks[0].gpus == (1, 3)
    assert d.look().rows[0].gpu_used_milli == (0, 1000, 0, 1000)
    d.restart()
    d.report("node-1", info=INFOS["node-1"])
    assert d.look().rows[0].gpu_used_milli == (0, 1000, 0, 1000)


def test_devices_that_are_taken_meanwhile_are_refused() -> None:
    d = gpu_driver()
    sends = d.submit(TRAIN)
    stray = Fact("old/web/1@5", 1, 0, Phase.RUNNING, size=(1, 1, 0), gpus=(1,), gpu_milli=200)
    d.report("node-1", stray, info=INFOS["node-1"])
    assert d.look().rows[0].gpu_used_milli == (0, 200)
    answer(d, sends, (1, 3))
    assert d.task().state is State.PENDING
    d.report("node-1", info=INFOS["node-1"])
    assert d.look().rows[0].gpu_used_milli == ()


def test_a_returned_task_has_the_devices_that_it_had() -> None:
    d = gpu_driver()
    answer(d, d.submit(TRAIN), (1, 3))
    task = d.task()
    d.report("node-1", running(task), whole=False)
    for _ in range(20):
        d.report("node-2", info=INFOS["node-2"])
        d.report("node-3", info=INFOS["node-3"])
        d.pass_time(1)
    assert d.task().state is State.PENDING
    assert d.look().rows[0].gpu_used_milli == ()
    d.report("node-1", running(task), info=INFOS["node-1"])
    assert (d.task().state, d.task().node) == (State.RUNNING, "node-1")
    assert d.look().rows[0].gpu_used_milli == (0, 1000, 0, 1000)


def test_a_record_from_before_there_were_gpus_still_opens() -> None:
    d = gpu_driver()
    d.answer(d.submit(WEB), 0)
    body = codec.encode(d.task())
    del body["gpus"], body["spec"]["gpu"], body["decision"]["gpus"]
    assert codec.decode(json.loads(json.dumps(body))) == d.task()


# --- worker and engines --------------------------------------------------------------------


def test_a_worker_tells_its_engine_and_reports_what_is_held() -> None:
    d = started()
    wanted = replace(WANTED, spec=replace(SPEC, gpu=GpuNeed(1, 250)), gpus=(2,))
    effects = d.tell(assign(wanted, tell_whole=True))
    (run,) = [e.message for e in effects if isinstance(e.message, Run)]
    assert run.gpus == (2,)
    (fact,) = reports(effects)[-1].facts
    assert (fact.gpus, fact.gpu_milli) == ((2,), 250)


def test_a_container_gets_the_devices_and_its_labels_tell_them() -> None:
    api = APIClient("unix:///nowhere", version="1.41")
    run = Run(RunKey(UID, 1, 0), 1, replace(SPEC, gpu=GpuNeed(1, 250)), gpus=(2,))
    made = create_arguments(api, "c0ffee", "node-1", run, "boot")
    (request,) = made["host_config"]["DeviceRequests"]
    assert request["Driver"] == "nvidia"
    assert request["DeviceIDs"] == ["2"]
    assert request["Capabilities"] == [["gpu"]]
    assert gpus_of(made["labels"]) == ((2,), 250)
    plain = replace(run, spec=SPEC, gpus=())
    assert "DeviceRequests" not in create_arguments(api, "c", "n", plain, "")["host_config"]
    forged = replace(plain, spec=replace(SPEC, labels=(("cube.gpus", "7"),)))
    assert gpus_of(labels_of("c", "n", forged, "")) == ((), 0)


def test_the_hash_of_a_spec_without_gpus_is_what_it_was_before_there_were_any() -> None:
    assert spec_hash(TaskSpec("web", "image")) == "804dcbe144e20ce0"
    assert spec_hash(TRAIN) != spec_hash(WEB)


def test_gpus_are_read_and_divided_among_the_nodes_of_a_machine() -> None:
    listing = "0, Tesla T4\n1, Tesla T4\n2, NVIDIA A100-SXM4-40GB\n"
    models = capacity.read_gpus(listing)
    assert models == ("Tesla T4", "Tesla T4", "NVIDIA A100-SXM4-40GB")
    info = NodeInfo("n", 0, 0, 0, gpus=models)
    halves = [capacity.Share(i, 2) for i in (0, 1)]
    shares = [capacity.with_capacity(info, 9000, 9000, 9000, half).gpus for half in halves]
    assert shares == [("Tesla T4", "", "NVIDIA A100-SXM4-40GB"), ("", "Tesla T4", "")]
    assert capacity.read_gpus("No devices were found\n") == ()


def test_a_machine_without_the_tool_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert capacity.machine_gpus() == ()
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '0, Tesla T4'\n")
    tool.chmod(0o755)
    assert subprocess.run([tool], capture_output=True, check=False).returncode == 0
    assert capacity.machine_gpus() == ("Tesla T4",)
    tool.write_text("#!/bin/sh\necho '0, Tesla T4'\nexit 9\n")
    assert capacity.machine_gpus() == ()


def test_the_option_declares_models() -> None:
    assert read_gpus_option("2xA100, T4") == ("A100", "A100", "T4")
    assert read_gpus_option("") == ()


# --- job files -----------------------------------------------------------------------------


def read(body: str) -> TaskSpec:
    text = f"name: job\nservices: {{a: {{image: x, {body}}}}}\n"
    return read_job("-", {}, stdin=text).job.services[0]


RESERVED = "deploy: {resources: {reservations: {devices: [{%s}]}}}"


@pytest.mark.parametrize(
    ("body", "need"),
    [
        ("command: a", None),
        (RESERVED % "capabilities: [gpu]", GpuNeed(1)),
        (RESERVED % "driver: nvidia, count: 2, capabilities: [gpu, compute]", GpuNeed(2)),
        ("x-cube: {gpu: {}}", GpuNeed(1)),
        ("x-cube: {gpu: {count: 4, models: [A100, H100]}}", GpuNeed(4, models=("A100", "H100"))),
        ("x-cube: {gpu: {share: 0.25, models: T4}}", GpuNeed(1, 250, ("T4",))),
        (RESERVED % "count: 2, capabilities: [gpu]" + ", x-cube: {gpu: {models: [T4]}}",
         GpuNeed(2, models=("T4",))),
    ],
)  # fmt: skip
def test_gpus_in_a_job_file(body: str, need: GpuNeed | None) -> None:
    assert read(body).gpu == need


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (RESERVED % "count: all, capabilities: [gpu]", "cannot be counted beforehand"),
        (RESERVED % "capabilities: [tpu]", "no reservation that Cube knows"),
        (RESERVED % "count: 1", "capabilities"),
        (RESERVED % "device_ids: ['0'], capabilities: [gpu]", "not supported"),
        (RESERVED % "driver: amd, capabilities: [gpu]", "driver"),
        ("x-cube: {gpu: {share: 1}}", "is not a share of a GPU"),
        ("x-cube: {gpu: {share: 0}}", "is not a share of a GPU"),
        ("x-cube: {gpu: {share: much}}", "is not a share of a GPU"),
        ("x-cube: {gpu: {share: 0.5, count: 2}}", "a share is of one GPU"),
        ("x-cube: {gpu: {count: 0}}", "count"),
        (RESERVED % "capabilities: [gpu]" + ", x-cube: {gpu: {count: 2}}", "twice"),
        ("gpus: all", "x-cube: {gpu: {count: N}}"),
    ],
)
def test_what_is_wrong_about_gpus_is_told(body: str, text: str) -> None:
    with pytest.raises(SpecError) as raised:
        read(body)
    assert text in str(raised.value)
