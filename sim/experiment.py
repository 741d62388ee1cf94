"""Runs and comparisons: from a scenario to results, in this process or in several.

The seed is the unit of replication. Every policy meets the same tasks for a seed, and a digest
checks it. Where results go is said by the caller; nothing is printed.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from cube.policies import Policy, PolicyError, make_policy
from sim import files
from sim.comparison import Comparison
from sim.errors import InputError, SimulationError, did_you_mean
from sim.fingerprint import user_modules
from sim.metrics import Measure, check_keys, make_measure
from sim.piece import Piece
from sim.results import RunResult
from sim.scenario import Scenario
from sim.simulation import Progress
from sim.workers import work_all

AnyPolicy = Any  # text, a Policy, or a function decorated with `sim.policy`
AnyMetric = Any  # text, or a function, decorated with `sim.metric` or not


def policy_of(wanted: AnyPolicy) -> Policy:
    """A policy with no history, so that runs do not meet each other's state.

    Raises:
        InputError: there is none of that name, or its parameters are wrong.
    """
    try:
        return copy.deepcopy(make_policy(wanted))
    except PolicyError as error:
        raise InputError(str(error)) from None


def measures_of(scenario: Scenario, wanted: Iterable[AnyMetric]) -> tuple[Measure, ...]:
    """The user's own metrics: those of the scenario and those that are handed in.

    Raises:
        InputError: there is no such metric, or its key is taken.
    """
    found = {measure.name: measure for measure in map(make_measure, (*scenario.metrics, *wanted))}
    check_keys(list(found.values()))
    return tuple(found.values())


def run(
    scenario: Scenario,
    policy: AnyPolicy = None,
    *,
    metrics: Iterable[AnyMetric] = (),
    out: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Simulate the scenario's first policy (or `policy`) with its first seed.

    Raises:
        InputError: the policy, a metric, the workload or the folder makes no sense.
        PolicyFailed: the policy raised or gave nonsense.
    """
    wanted = policy_of(scenario.policies[0] if policy is None else policy)
    measures = measures_of(scenario, metrics)
    with _folder(out, force):
        piece = Piece(_naming(scenario, measures), wanted, scenario.seeds[0], measures)
        result = piece.whole(progress)
        if out is not None:
            files.write_run(result, out)
    return result


def _naming(scenario: Scenario, measures: Iterable[Measure]) -> Scenario:
    """The scenario with the names of all metrics, so that it replays with them."""
    named: Scenario = scenario.but(metrics=tuple(measure.name for measure in measures))
    return named


def compare(
    scenario: Scenario,
    policies: Sequence[AnyPolicy] = (),
    *,
    metrics: Iterable[AnyMetric] = (),
    processes: int = 1,
    out: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Simulate every policy with every seed; the baseline is the scenario's, or the last policy.

    `progress` is told the number of final tasks over all runs. At Ctrl-C what is finished is kept,
    written, and returned with `interrupted` set.

    Raises:
        InputError: the policies, the baseline, a metric, the workload or the folder make no sense.
        PolicyFailed: a policy raised or gave nonsense.
    """
    wanted = [policy_of(policy) for policy in policies or scenario.policies]
    measures = measures_of(scenario, metrics)
    scenario = _naming(with_policies(scenario, wanted), measures)
    finished: list[RunResult] = []
    interrupted = False
    with _folder(out, force):
        pieces = _pieces(scenario, wanted, measures, out)
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


def _pieces(
    scenario: Scenario, policies: list[Policy], measures: tuple[Measure, ...], out: Path | None
) -> list[Piece]:
    """Every run, seed by seed, so that pairs are complete early."""
    names = files.slugs(scenario.policies)

    def folder(policy: Policy, seed: int) -> Path | None:
        return None if out is None else out / "runs" / names[str(policy)] / f"seed-{seed}"

    return [
        Piece(scenario, policy, seed, measures, folder(policy, seed))
        for seed in scenario.seeds
        for policy in policies
    ]


def with_policies(scenario: Scenario, policies: Iterable[Policy]) -> Scenario:
    """The scenario with these policies and their baseline: the last, unless it names one.

    Raises:
        InputError: a policy or a seed is there twice, or the baseline is none of the policies.
    """
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
    pieces: list[Piece], processes: int, progress: Progress | None
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
    policies = {str(piece.policy): piece.policy for piece in pieces}
    with closing(work_all([piece.work for piece in pieces], processes=processes,
                          modules=modules_of(pieces))) as results:  # fmt: skip
        for result in results:
            done += result.counts["tasks"]
            tell(done)
            yield result.by(policies[result.policy])


def modules_of(pieces: Iterable[Piece]) -> list[Any]:
    """The users' modules that the pieces need."""
    code = {piece.policy.code: None for piece in pieces}
    functions = {measure.function: None for piece in pieces for measure in piece.measures}
    return user_modules([*code, *functions])


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
