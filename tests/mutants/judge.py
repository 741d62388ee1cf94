"""Whether anything notices a mutant: its killers are tried in a process of its own.

Everything is imported and all tests are collected once. Each mutant gets a fork of that process,
changes the code there and tries its killers, cheapest first, until one fails. One that neither
passes nor fails in time has failed: a mutant that runs for ever is noticed.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from hashlib import sha256

import pytest

from tests.mutants.source import ROOT, Watch, forget, import_from, path_of, replace_code

STEP_SECONDS = 20.0  # of processor time, for one test or one seed; none needs a quarter of it
WALL_SECONDS = 300  # for all killers together: a killer may also wait for ever
MEMORY_BYTES = 4 * 2**30
ENDLESS = "does not end"
WATCH = Watch()  # one for all courts: what the first has imported is there for the others
ARGUMENTS = ("-x", "--assert=plain", "-p", "no:cov", "-p", "no:benchmark")


@dataclass(frozen=True, slots=True)
class Seeds:
    """Runs of the fault simulator, the first of which that breaks a promise counts."""

    scenario: str
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Suite:
    """Files of tests, or single ones; those with `but` in their names are left out."""

    paths: tuple[str, ...]
    but: str = ""

    def has(self, test: str) -> bool:
        """Is the test of that id among them?"""
        names = any(test.startswith((path + "::", path + "[")) or test == path
                    for path in self.paths)  # fmt: skip
        return names and not (self.but and self.but in test)


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


def judge(cases: Iterable[Case], tell: Callable[[Verdict], None], processes: int = 1) -> None:
    """Tell a verdict for each case, as they come."""
    waiting = list(cases)
    killers = dict.fromkeys(killer for case in waiting for killer in case.killers)
    paths = [path for k in killers if isinstance(k, Suite) for path in k.paths]
    files = dict.fromkeys(path.partition("::")[0] for path in paths)
    with WATCH:
        import sim.faults  # noqa: F401 - and with it all the cores, for the forks to have

        court = _Court(waiting, tell, processes)
        if not files:
            court.sit([])
            return
        with open(os.devnull, "w") as null, redirect_stdout(null):
            status = pytest.main([*ARGUMENTS, "-s", *files], plugins=[court])
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    assert status == pytest.ExitCode.OK, f"pytest says {status!r}"


def complaint(killers: Iterable[Killer]) -> str:
    """What these say of the cores as they are: if it is not empty, no verdict means anything.

    They are asked twice: as things were imported and collected, and with all of it done anew.
    """
    who = tuple(dict.fromkeys(killers))
    anew = {"cube.task": path_of("cube.task").read_text() + "\nSAME = True\n"}
    verdicts: list[Verdict] = []
    judge([Case("as it was", {}, who), Case("anew", anew, who)], verdicts.append)
    return "; ".join(f"{v.key}: {v.by}" for v in verdicts if v.caught)


class _Noticing:
    """A plugin of pytest that remembers the first test that fails."""

    noticed = ""

    def pytest_runtest_setup(self) -> None:
        _next_step()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.noticed:
            self.noticed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.noticed:
            self.noticed = f"{report.nodeid} cannot be imported"


class _Court(_Noticing):
    """A plugin of pytest that judges, in the place of the loop that runs all tests."""

    def __init__(self, cases: list[Case], tell: Callable[[Verdict], None], processes: int) -> None:
        self._cases = cases
        self._tell = tell
        self._processes = processes
        self._items: list[pytest.Item] = []
        self._out = sys.stdout

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        assert not session.testsfailed, "tests cannot be collected"
        with redirect_stdout(self._out):
            self.sit(session.items)
        return True

    def sit(self, items: list[pytest.Item]) -> None:
        """Judge all cases."""
        sys.setprofile(None)  # what runs from here on runs in forks
        self._items = items
        waiting = iter(self._cases)
        running: dict[int, tuple[Case, int]] = {}
        while True:
            while len(running) < self._processes and (case := next(waiting, None)) is not None:
                pid, pipe = self._fork(case)
                running[pid] = case, pipe
            if not running:
                return
            pid, status, usage = os.wait4(-1, 0)
            case, pipe = running.pop(pid)
            with os.fdopen(pipe) as told:
                by = told.read().strip()
            if os.WIFSIGNALED(status):
                by = by or ENDLESS
            seconds = round(usage.ru_utime + usage.ru_stime, 2)
            self._tell(Verdict(case.key, case.digest, by, seconds))

    def _fork(self, case: Case) -> tuple[int, int]:
        read, write = os.pipe()
        pid = os.fork()
        if pid:
            os.close(write)
            return pid, read
        os.close(read)

        def answer(by: str) -> None:
            os.write(write, by[:1000].encode())
            os._exit(0)

        try:
            _limit(answer)
            answer(self._first(case))
        except BaseException as error:
            answer(f"{type(error).__name__}: {error}")
        os._exit(1)

    def _first(self, case: Case) -> str:
        """What the first killer says that notices the mutant; empty if none does."""
        _next_step()
        replaced = [replace_code(m, text, WATCH) for m, text in case.sources.items()]
        afresh = not all(replaced)
        if afresh:
            forget()
            import_from(case.sources)
        for killer in case.killers:
            _next_step()
            if isinstance(killer, Seeds):
                by = _in_seeds(killer)
            else:
                by = _in_suite(killer) if afresh else self._in_items(killer)
            if by:
                return by
        return ""

    def _in_items(self, suite: Suite) -> str:
        """Run tests that were collected before the fork."""
        items = [item for item in self._items if suite.has(item.nodeid)]
        assert items, f"{suite} has no tests"
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.noticed:
                break
        return self.noticed


def _in_suite(suite: Suite) -> str:
    """Collect tests anew, and run them."""
    noticing = _Noticing()
    keyword = ["-k", f"not {suite.but}"] if suite.but else []
    paths = [str(ROOT / path) for path in suite.paths]
    status = pytest.main([*ARGUMENTS, *keyword, *paths], plugins=[noticing])
    return noticing.noticed or ("" if status == pytest.ExitCode.OK else f"pytest says {status!r}")


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


def _limit(answer: Callable[[str], None]) -> None:
    """Be silent, and end in time."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.alarm(WALL_SECONDS)
    signal.signal(signal.SIGPROF, lambda number, frame: answer(ENDLESS))


def _next_step() -> None:
    """One more killer is tried: it has its own time."""
    signal.setitimer(signal.ITIMER_PROF, STEP_SECONDS)
