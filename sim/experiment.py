"""Runs and comparisons: from a scenario to results, in this process or in several.

The seed is the unit of replication. Every policy meets the same tasks for a seed, and a digest
checks it. Where results go is said by the caller; nothing is printed.
"""

from __future__ import annotations

import copy
import signal
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib

from cube.policies import Policy, PolicyError, make_policy
from sim import files
from sim.arrivals import MICROS
from sim.errors import InputError, SimulationError, did_you_mean
from sim.metrics import counts, curves, measure, waits, window
from sim.results import Comparison, RunResult
from sim.scenario import Scenario
from sim.simulation import Progress, Simulation

AnyPolicy = Any  # text, a Policy, or a function decorated with `sim.policy`


def policy_of(wanted: AnyPolicy) -> Policy:
    """A policy with no history, so that runs do not meet each other's state.

    Raises:
        InputError: there is none of that name, or its parameters are wrong.
    """
    try:
        return copy.deepcopy(make_policy(wanted))
    except PolicyError as error:
        raise InputError(str(error)) from None


def run(
    scenario: Scenario,
    policy: AnyPolicy = None,
    *,
    out: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Simulate the scenario's first policy (or `policy`) with its first seed.

    Raises:
        InputError: the policy, the workload or the folder makes no sense.
        PolicyFailed: the policy raised or gave nonsense.
    """
    wanted = policy_of(scenario.policies[0] if policy is None else policy)
    with _folder(out, force):
        result = _simulate(scenario, wanted, scenario.seeds[0], progress)
        if out is not None:
            files.write_run(result, out)
    return result


def _simulate(
    scenario: Scenario, policy: Policy, seed: int, progress: Progress | None
) -> RunResult:
    alone = scenario.but(policies=(str(policy),), seeds=(seed,), baseline="")
    workload = scenario.workload
    arrivals = workload.draw(scenario.cluster, seed)
    simulation = Simulation(alone, policy, arrivals, seed, progress)
    began = time.perf_counter()
    seen = simulation.run()
    wall_seconds = time.perf_counter() - began
    messages = simulation.messages
    first, last = window(seen, scenario.warm_up)
    return RunResult(
        scenario=alone,
        metrics=measure(seen, scenario.warm_up, sum(messages.values())),
        counts=counts(seen),
        placements=simulation.recorder.placements,
        messages=messages,
        trace_hash=simulation.trace_hash(),
        workload_digest=arrivals.digest,
        virtual_seconds=seen.end_micros / MICROS,
        wall_seconds=wall_seconds,
        window_seconds=(first / MICROS, last / MICROS),
        scarcest=workload.rate(scenario.cluster)[1],
        curves=curves(seen),
        wait_seconds=waits(seen)[arrivals.at_micros >= first],
        observation=seen,
    )


@dataclass(frozen=True)
class _Piece:
    """One run of a comparison; goes to another process whole."""

    scenario: Scenario
    policy: Policy
    seed: int
    out: Path | None

    def work(self, progress: Progress | None = None) -> RunResult:
        result = _simulate(self.scenario, copy.deepcopy(self.policy), self.seed, progress)
        if self.out is not None:
            files.write_run(result, self.out)
        return result.without_observation()


def _work_alone(piece: _Piece) -> RunResult:
    """In a process of its own: Ctrl-C is for the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return piece.work()


def compare(
    scenario: Scenario,
    policies: Sequence[AnyPolicy] = (),
    *,
    processes: int = 1,
    out: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Simulate every policy with every seed; the baseline is the scenario's, or the last policy.

    `progress` is told the number of final tasks over all runs. At Ctrl-C what is finished is kept,
    written, and returned with `interrupted` set.

    Raises:
        InputError: the policies, the baseline, the workload or the folder make no sense.
        PolicyFailed: a policy raised or gave nonsense.
    """
    wanted = [policy_of(policy) for policy in policies or scenario.policies]
    scenario = _named(scenario, wanted)
    finished: list[RunResult] = []
    interrupted = False
    with _folder(out, force):
        pieces = _pieces(scenario, wanted, out)
        try:
            with closing(_results(pieces, processes, progress)) as results:
                finished.extend(results)
        except KeyboardInterrupt:
            interrupted = True
        _check_paired(finished)
        result = Comparison(scenario, scenario.baseline, tuple(finished), interrupted)
        if out is not None and finished:
            files.write_comparison(result, out)
    return result


def _pieces(scenario: Scenario, policies: list[Policy], out: Path | None) -> list[_Piece]:
    """Every run, seed by seed, so that pairs are complete early."""
    names = files.slugs(scenario.policies)

    def folder(policy: Policy, seed: int) -> Path | None:
        return None if out is None else out / "runs" / names[str(policy)] / f"seed-{seed}"

    return [
        _Piece(scenario, policy, seed, folder(policy, seed))
        for seed in scenario.seeds
        for policy in policies
    ]


def _named(scenario: Scenario, policies: Iterable[Policy]) -> Scenario:
    texts = tuple(str(policy) for policy in policies)
    for i, text in enumerate(texts):
        if text in texts[:i]:
            raise InputError(f"the policy '{text}' is there twice", "Name each policy once.")
    if len(set(scenario.seeds)) < len(scenario.seeds):
        raise InputError("a seed is there twice", "Name each seed once.")
    baseline = str(policy_of(scenario.baseline)) if scenario.baseline else texts[-1]
    if baseline not in texts:
        remedy = did_you_mean(baseline, texts)
        raise InputError(f"the baseline '{baseline}' is none of the policies", remedy)
    changed: Scenario = scenario.but(policies=texts, baseline=baseline)
    return changed


def _results(
    pieces: list[_Piece], processes: int, progress: Progress | None
) -> Generator[RunResult, None, None]:
    """Results as they come."""
    tell: Progress = progress or (lambda final: None)
    done = 0
    if processes == 1:
        for piece in pieces:
            yield piece.work(_offset(tell, done))
            done += piece.scenario.workload.tasks
            tell(done)
        return
    with joblib.parallel_config(backend="loky", n_jobs=processes, inner_max_num_threads=1):
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
        for result in parallel(joblib.delayed(_work_alone)(piece) for piece in pieces):
            done += result.counts["tasks"]
            tell(done)
            yield result


def _offset(tell: Progress, before: int) -> Progress:
    return lambda final: tell(before + final)


def _check_paired(runs: Iterable[RunResult]) -> None:
    """Every policy met the same tasks."""
    digests: dict[int, str] = {}
    for result in runs:
        expected = digests.setdefault(result.seed, result.workload_digest)
        if result.workload_digest != expected:
            raise SimulationError(f"seed {result.seed} gave two policies different tasks")


@contextmanager
def _folder(out: Path | None, force: bool) -> Iterator[None]:
    """Claim the folder at once, not after half an hour; leave none that is empty."""
    if out is None:
        yield
        return
    files.claim(out, force)
    try:
        yield
    finally:
        files.tidy(out)
