"""The fault simulator: it finds nothing here, finds what is planted, and repeats itself exactly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cube.actor import CoreActor
from cube.fleet.ports import HostPorts
from cube.manager import facts
from cube.manager.drain import Draining
from cube.marks import MARKS
from cube.messages import Effect, List, Send
from cube.store import MemoryStore
from cube.task import NodeMark, Volume
from cube.worker import Worker
from cube.worker.lease import Lease
from sim.__main__ import main
from sim.errors import InputError
from sim.faults import campaign, named, read, run_seed
from sim.faults.campaign import ENOUGH_SEEDS, Campaign, run_all, shrink
from sim.faults.engine import FaultyEngine
from sim.faults.kinds import KINDS
from sim.faults.ordeal import Outcome
from sim.faults.plan import draw_plan
from sim.faults.scenario import FaultScenario, parse
from sim.faults.world import FaultyWorld
from sim.network import Network, Weather
from sim.source import ROOTS
from tests.simulation.test_sim_run import _features

REGRESSIONS = Path(__file__).with_name("regressions")
SEEDS = tomllib.loads((REGRESSIONS / "seeds.toml").read_text())["seeds"]
QUICK = ["crashes", "engines", "network", "operators", "scaled-reports", "stores"]


def kept(scenario: str | Path, seed: int, until: float | None = None) -> None:
    outcome = run_seed(read(scenario), seed, until=until)
    again = f"python -m sim replay --scenario {scenario} --seed {seed}"
    assert outcome.broken == "", "\n".join([*outcome.story, outcome.broken, again])


@pytest.mark.parametrize("scenario", QUICK)
@pytest.mark.parametrize("seed", range(101, 104))
def test_every_promise_is_kept(scenario: str, seed: int) -> None:
    kept(scenario, seed)


@pytest.mark.parametrize("entry", SEEDS, ids=lambda e: f"{e['scenario']}-{e['seed']}")
def test_seed_that_once_failed_passes(entry: dict[str, Any]) -> None:
    kept(REGRESSIONS / f"{entry['scenario']}.toml", entry["seed"], entry.get("until"))


def test_checkers_do_not_change_what_happens() -> None:
    looked, not_looked = (run_seed(read("crashes"), 3, checked=c) for c in (True, False))
    assert looked.checks > 1000
    assert not_looked.checks == 0
    assert looked.trace_hash == not_looked.trace_hash


HASH = "from sim.faults import read, run_seed; print(run_seed(read('stores'), 5).trace_hash)"


def test_same_seed_same_trace_in_any_process() -> None:
    expected = run_seed(read("stores"), 5).trace_hash
    variants = [{"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2"}]
    if _features():
        variants.append({"NPY_DISABLE_CPU_FEATURES": _features()})
    for variant in variants:
        out = subprocess.run(
            [sys.executable, "-c", HASH],
            env={**os.environ, **variant},
            capture_output=True,
            text=True,
            check=True,
        )
        assert out.stdout.strip() == expected, variant


def test_same_traces_with_one_process_and_with_two() -> None:
    scenarios = [read("crashes").but(seconds=60.0), read("network").but(seconds=60.0)]
    one, two = (
        {(o.scenario, o.seed): o.trace_hash for o in run_all(scenarios, (1, 2), processes)}
        for processes in (1, 2)
    )
    assert len(set(one.values())) == 4
    assert one == two


def test_other_seeds_have_other_traces() -> None:
    assert len({run_seed(read("network"), seed, until=60.0).trace_hash for seed in (1, 2, 3)}) == 3


def test_leaving_a_fault_out_moves_no_other() -> None:
    scenario = read("crashes")
    rates = {kind: rate for kind, rate in scenario.rates.items() if kind != "worker-crash"}
    fewer = scenario.but(rates=rates)
    rest = [f for f in draw_plan(scenario, 1) if f.kind != "worker-crash"]
    assert rest == draw_plan(fewer, 1)


# --- planted bugs: a green run means something --------------------------------------------
# Those in the cores are planted by `tests.mutants`; these are in what the cores stand on, or speak
# for one checker.


def first_broken(scenario: str, seeds: range) -> str:
    for seed in seeds:
        broken = run_seed(read(scenario), seed).broken
        if broken:
            return broken
    return ""


def without(kind: type) -> Callable[[MemoryStore, object], None]:
    put = MemoryStore._put
    return lambda self, record: None if isinstance(record, kind) else put(self, record)


def pile_up(self: CoreActor, effects: list[Send]) -> None:
    self._unsent.update({object(): effect for effect in effects})


PLANTED = [
    ("a late start", Worker, "_declines", lambda *_: False, "crashes", "the lease holds"),
    ("sends before saves", CoreActor, "_hold", CoreActor._send, "stores", "saved first"),
    ("sends that pile up", CoreActor, "_hold", pile_up, "stores", "tables are bounded"),
    (
        "a volume never saved",
        MemoryStore,
        "_put",
        without(Volume),
        "network",
        "data stays",
    ),
    (
        "a drain never saved",
        MemoryStore,
        "_put",
        without(NodeMark),
        "crashes",
        "word on nodes stays",
    ),
    ("an endless drain", Draining, "step", lambda self: None, "crashes", "drains end"),
    ("containers that stay", FaultyEngine, "_discard", lambda *_: [], "network", "settled"),
]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant[0])
def test_planted_bug_is_noticed(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, owner, name, bug, scenario, promise = plant
    monkeypatch.setattr(owner, name, bug)
    assert first_broken(scenario, range(1, 5)).startswith(promise)


def test_port_that_is_given_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HostPorts, "free", lambda self, row, ports: True)
    monkeypatch.setattr(HostPorts, "blocked", lambda self, port: [])
    assert "hold port" in first_broken("crashes", range(1, 5))


def test_word_of_an_operator_excuses_no_more_than_a_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = FaultScenario.model_validate(
        {
            "nodes": 4,
            "seconds": 200.0,
            "work": {"jobs": 4, "sorts": ["fenced"]},
            "rates": {"partition": 120.0, "user-declares-lost": 200.0},
        }
    )
    fenced = run_seed(scenario, 1)
    assert fenced.broken == ""
    assert fenced.unfenced_seconds > 0
    monkeypatch.setattr(Lease, "end", lambda self, held: [])
    assert "still runs on" in run_seed(scenario, 1).broken


def test_a_failing_run_is_cut_down_to_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "_once_known", lambda *told: True)
    scenario = FaultScenario.model_validate(
        {
            "nodes": 3,
            "seconds": 120.0,
            "work": {"jobs": 3},
            "rates": {"store-lost": 60.0, "slow-node": 120.0, "user-submit": 60.0},
        }
    )
    outcome = next(o for s in range(1, 20) if (o := run_seed(scenario, s)).broken)
    fewest = shrink(scenario, outcome)
    assert 1 <= len(fewest) < len(outcome.plan)
    assert any(fault.startswith("store-lost") for fault in fewest)
    assert run_seed(scenario, outcome.seed, only=fewest).broken.startswith("a forgetful")


# --- scenarios and commands ---------------------------------------------------------------


class Asks:
    """A core that asks its engine whenever it is told to, and remembers what it heard."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def receive(self, message: Any, now: float) -> list[Effect]:
        self.heard.append(str(message))
        return [Send("engine/n", List())] if message == "ask" else []


class Answers:
    """Its engine."""

    def receive(self, message: Any, now: float) -> list[Effect]:
        return [Send("worker/n", "answer")] if message == List() else []


def test_machine_that_goes_on_hears_first_what_had_arrived_first() -> None:
    """Engines tell things in order; an answer must not overtake what was told before it."""
    world, asks = FaultyWorld(Network(1, Weather()), lambda machine: (1.0, 0.0)), Asks()
    world.start_core("worker/n", lambda life: asks)
    world.start_core("engine/n", lambda life: Answers())
    world.run(until=1.0)
    asks.heard.clear()
    for actor in ("worker/n", "engine/n"):
        world.freeze(actor)
    for message in ("ask", "told before"):
        world.send("worker/n", message)
    world.run(until=2.0)
    for actor in ("worker/n", "engine/n"):
        world.thaw(actor)
    world.run(until=3.0)
    world.stop()
    assert asks.heard == ["ask", "told before", "answer"]


def test_every_kind_of_fault_strikes_somewhere() -> None:
    assert {kind for name in named() for kind in read(name).rates} == set(KINDS)
    assert all(kind.about for kind in KINDS.values())


def test_typo_in_a_scenario_is_told_with_its_line() -> None:
    with pytest.raises(InputError, match=r"mine\.toml:2: .*Did you mean 'worker-crash'"):
        parse("[rates]\nworker-crush = 1.0\n", "mine.toml")
    with pytest.raises(InputError, match=r"mine\.toml:1: unknown key 'node'.*'nodes'"):
        parse("node = 3\n", "mine.toml")


def test_faults_command_sums_up_and_writes_a_file(tmp_path: Path) -> None:
    out = tmp_path / "faults.json"
    args = ["faults", "--scenario", "network", "--seeds", "1..2", "--out", str(out)]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    assert "2 of 2: 0 broken" in result.output
    assert '"runs": 2' in out.read_text()


def test_ctrl_c_keeps_the_sums_of_what_was_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(scenario: FaultScenario, seed: int) -> Outcome:
        if seed == 2:
            raise KeyboardInterrupt
        return run_seed(scenario, seed)

    monkeypatch.setattr(campaign, "run_seed", cut_off)
    out = tmp_path / "faults.json"
    args = ["faults", "--scenario", "network", "--seeds", "1..9", "--out", str(out)]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 130, result.output
    assert "1 of 9: 0 broken" in result.output
    sums = json.loads(out.read_text())
    assert (sums["asked"], sums["runs"]) == (9, 1)


def test_a_campaign_goes_on_where_it_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, kept = tmp_path / "faults.json", tmp_path / "faults.jsonl"

    def sums(*seeds: str, **expected: int) -> dict[str, Any]:
        args = ["faults", "--scenario", "network", "--seeds", *seeds, "--out", str(out)]
        result = CliRunner().invoke(main, [*args, "--keep", str(kept)])
        assert result.exit_code == 0, result.output
        told = json.loads(out.read_text())
        assert {key: told[key] for key in expected} == expected
        timed = ("taken_over", "wall_seconds", "times_real_time")
        return {key: told[key] for key in told if key not in timed}

    sums("1..2", runs=2, taken_over=0)
    with kept.open("ab") as file:
        file.write(b'{"scenario": "network", "seed": 3, "bro')  # killed half way
    whole = sums("1..3", runs=3, taken_over=2)
    assert sums("1..3", runs=3, taken_over=3) == whole
    assert sums("3..3", runs=1, taken_over=1)["seeds"] == 1
    monkeypatch.setattr("sim.faults.kept.digest_of", lambda module: "of changed code")
    sums("1..2", runs=2, taken_over=0)


def test_runs_that_are_kept_count_until_code_changes_that_decides_them(tmp_path: Path) -> None:
    for root in ROOTS:
        shutil.copytree(root, tmp_path / root.name, ignore=shutil.ignore_patterns("__pycache__"))

    def digest() -> str:
        show = "from sim.source import digest_of; print(digest_of('sim.faults.ordeal'))"
        command = [sys.executable, "-c", show]
        told = subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.PIPE)
        return told.stdout.decode()

    def change(file: str) -> str:
        with (tmp_path / file).open("a") as source:
            source.write("# changed\n")
        return digest()

    first = digest()
    assert change("cube/cli/tables.py") == change("sim/faults/cli.py") == first
    assert len({first, change("cube/worker/lease.py"), change("sim/faults/plan.py")}) == 3


def test_failure_is_told_with_its_story_and_how_to_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "_kill", lambda self, held: None)
    result = CliRunner().invoke(main, ["faults", "--scenario", "network", "--seeds", "1"])
    assert result.exit_code == 1
    assert "again: python -m sim replay --scenario network --seed 1" in result.output


def test_replay_tells_the_story_of_a_node() -> None:
    args = ["replay", "--scenario", "network", "--seed", "1", "--until", "30", "--story", "node-1"]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    assert "whole Report of node-1" in result.output
    assert "trace hash" in result.output


def test_seeds_that_make_no_sense_are_refused() -> None:
    for seeds in ("x", "5..1", "1.."):
        result = CliRunner().invoke(main, ["faults", "--seeds", seeds])
        assert result.exit_code == 2, result.output
        assert "names no seeds" in result.output


def test_mark_that_is_hardly_ever_hit_fails_a_long_campaign() -> None:
    campaign = Campaign()
    for seed in range(1, ENOUGH_SEEDS + 1):
        marks = Counter(MARKS if seed <= 9 else set(MARKS) - {"node-lost"})
        campaign.add(Outcome("network", seed, marks=marks))
        campaign.add(Outcome("stores", seed, marks=marks))  # a seed counts once
    assert campaign.unmarked == ["node-lost"]
    assert campaign.failed
    campaign.add(Outcome("stores", ENOUGH_SEEDS, marks=Counter(["node-lost"])))
    assert not campaign.failed
