"""Whether anything notices a mutant: a process of its own, in which the killers are tried.

Libraries are imported once; each mutant gets a fork of that process, imports the changed cores
and tries its killers, cheapest first, until one fails. One that neither passes nor fails in time
has failed: a mutant that runs for ever is noticed.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

import hypothesis.strategies  # noqa: F401 - what follows is imported for the forks to have
import joblib.parallel  # noqa: F401
import numpy as np  # noqa: F401
import pydantic  # noqa: F401
import pykka  # noqa: F401
import pytest
import simpy  # noqa: F401
import yaml  # noqa: F401

from tests.mutants.source import import_from

STEP_SECONDS = 8.0  # of processor time, for one test or one seed; none needs a quarter of it
WALL_SECONDS = 120  # for all killers together: a killer may also wait for ever
MEMORY_BYTES = 4 * 2**30
ENDLESS = "does not end"


@dataclass(frozen=True, slots=True)
class Seeds:
    """Runs of the fault simulator, the first of which that breaks a promise counts."""

    scenario: str
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Suite:
    """Tests as pytest is told of them; `only` is its -k."""

    paths: tuple[str, ...]
    only: str = ""


Killer = Seeds | Suite


@dataclass(frozen=True, slots=True)
class Case:
    """A mutant as sources by module, and who may notice it."""

    key: str
    sources: Mapping[str, str]
    killers: tuple[Killer, ...]

    @property
    def digest(self) -> str:
        """Of the changed sources: a verdict holds while they are the same."""
        return sha256(repr(sorted(self.sources.items())).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant. `by` empty: nobody noticed it."""

    key: str
    digest: str  # of its case
    by: str
    seconds: float  # of processor time

    @property
    def caught(self) -> bool:
        """Did anybody notice it?"""
        return bool(self.by)


def judge(cases: Iterable[Case], processes: int = 1) -> Iterator[Verdict]:
    """A verdict for each case, as they come."""
    waiting, running = iter(cases), {}
    while True:
        while len(running) < processes and (case := next(waiting, None)) is not None:
            pid, pipe = _fork(case)
            running[pid] = case, pipe
        if not running:
            return
        pid, status, usage = os.wait4(-1, 0)
        case, pipe = running.pop(pid)
        with os.fdopen(pipe) as told:
            by = told.read()
        if os.WIFSIGNALED(status):
            by = by or ENDLESS
        seconds = round(usage.ru_utime + usage.ru_stime, 2)
        yield Verdict(case.key, case.digest, by.strip(), seconds)


def complaint(killers: Iterable[Killer]) -> str:
    """What these say of the cores as they are: if it is not empty, no verdict means anything."""
    (verdict,) = judge([Case("", {}, tuple(dict.fromkeys(killers)))])
    return verdict.by


def _fork(case: Case) -> tuple[int, int]:
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    os.close(read)
    tell = _teller(write)
    try:
        _limit(tell)
        tell(_first(case))
    except BaseException as error:
        tell(f"{type(error).__name__}: {error}")
    os._exit(0)


def _teller(pipe: int) -> Callable[[str], None]:
    def tell(by: str) -> None:
        os.write(pipe, by[:1000].encode())
        os.close(pipe)
        os._exit(0)

    return tell


def _limit(tell: Callable[[str], None]) -> None:
    """Be silent, and end in time."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.alarm(WALL_SECONDS)
    signal.signal(signal.SIGPROF, lambda number, frame: tell(ENDLESS))


def _next_step() -> None:
    """One more killer is tried: it has its own time."""
    signal.setitimer(signal.ITIMER_PROF, STEP_SECONDS)


def _first(case: Case) -> str:
    """What the first killer says that notices the mutant; empty if none does."""
    import_from(case.sources)
    for killer in case.killers:
        _next_step()
        by = _in_suite(killer) if isinstance(killer, Suite) else _in_seeds(killer)
        if by:
            return by
    return ""


def _in_suite(suite: Suite) -> str:
    noticed = _Noticed()
    keyword = ["-k", suite.only] if suite.only else []
    plain = ["-x", "--assert=plain", "-p", "no:cov", "-p", "no:benchmark"]
    status = pytest.main([*plain, *keyword, *suite.paths], plugins=[noticed])
    return noticed.by or ("" if status == pytest.ExitCode.OK else f"pytest says {status!r}")


class _Noticed:
    """A plugin of pytest that remembers the first test that fails."""

    by = ""

    def pytest_runtest_setup(self) -> None:
        _next_step()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.by:
            self.by = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.by:
            self.by = f"{report.nodeid} cannot be imported"


def _in_seeds(seeds: Seeds) -> str:
    from sim.faults import read, run_seed

    scenario = read(seeds.scenario)
    for seed in seeds.seeds:
        _next_step()
        try:
            broken = run_seed(scenario, seed).broken
        except Exception as error:
            broken = f"{type(error).__name__}: {error}"
        if broken:
            return f"{seeds.scenario} {seed}: {broken}"
    return ""
