"""`python -m tests.mutants`: judge mutants, keep what became of them, and write the tables."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a process with threads cannot be forked well

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tests.mutants.generated import drawn, mutations
from tests.mutants.judge import Killer, Verdict, complaint, judge
from tests.mutants.named import NAMED
from tests.mutants.results import Results
from tests.mutants.survivors import LEAST_SHARE, explained
from tests.mutants.tables import write


def main() -> int:
    """Run a subcommand; 1 if a mutant went unnoticed that should not, 2 for a wrong request."""
    chosen = _parser().parse_args()
    return int(chosen.run(chosen))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="judged side by side")
    parser.add_argument("--results", type=Path, default=Path("runs/mutants.jsonl"), metavar="FILE",
                        help="where verdicts are kept, and taken from (%(default)s)")  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    named = commands.add_parser("named", help="judge the named mutants, or those that are listed")
    named.add_argument("names", nargs="*", metavar="NAME")
    named.set_defaults(run=_named)
    generated = commands.add_parser("generated", help="judge the generated mutants")
    generated.add_argument("--sample", type=int, default=0, metavar="N", help="so many of them")
    generated.add_argument("--seed", type=int, default=1, metavar="N", help="which so many")
    generated.add_argument("--only", default="", metavar="TEXT", help="whose key contains TEXT")
    generated.set_defaults(run=_generated)
    tables = commands.add_parser("tables", help="write the verdicts on the code as it is into "
                                                "benchmarks/ and docs/")  # fmt: skip
    tables.set_defaults(run=lambda chosen: write(Results(chosen.results)))
    return parser


def _named(chosen: argparse.Namespace) -> int:
    known = {mutant.name for mutant in NAMED}
    if unknown := set(chosen.names) - known:
        print(f"there is no mutant {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
        return 2
    mutants = [m for m in NAMED if not chosen.names or m.name in chosen.names]
    if not _fit(mutant.soonest for mutant in mutants):
        return 1
    results, missed = Results(chosen.results), 0

    def tell(verdict: Verdict) -> None:
        nonlocal missed
        results.add(verdict)
        missed += not verdict.caught
        print(f"{verdict.key:24} {verdict.seconds:5.1f} s  {verdict.by or 'NOT NOTICED'}")

    judge([mutant.case for mutant in mutants], tell, chosen.processes)
    print(f"{len(mutants) - missed} of {len(mutants)} noticed")
    return int(missed > 0)


def _generated(chosen: argparse.Namespace) -> int:
    results, found = Results(chosen.results), mutations()
    found = [m for m in found if chosen.only in m.key]
    # In an order by lot, so that a run that is cut off has judged a sample, too.
    wanted = drawn(found, chosen.seed)[: chosen.sample or None]
    cases = [mutation.case for mutation in wanted]
    why = explained()
    noticed = sum(map(results.noticed, cases))
    # What may go unnoticed need not be judged twice on the same code.
    known = [case for case in cases if case.key in why and results.of(case) is not None]
    todo = [case for case in cases if not results.noticed(case) and case not in known]
    unexplained = 0
    print(f"{len(found)} mutants, {len(wanted)} wanted, {noticed} noticed before")
    if not _fit(killer for case in todo for killer in case.killers):
        return 1
    done, began = 0, time.monotonic()

    def tell(verdict: Verdict) -> None:
        nonlocal done, noticed, unexplained
        results.add(verdict)
        done += 1
        noticed += verdict.caught
        if not verdict.caught:
            unexplained += verdict.key not in why
            print(f"\r\033[KNOT NOTICED{'' if verdict.key in why else ' (why?)'}: {verdict.key}")
        left = (time.monotonic() - began) / done * (len(todo) - done)
        if sys.stdout.isatty() or done % 50 == 0:
            print(f"\r\033[K{done} of {len(todo)}, {left / 60:.0f} min left", end="", flush=True)

    judge(todo, tell, chosen.processes)
    share = noticed / len(wanted)
    print(f"\r\033[K{noticed} of {len(wanted)} noticed: {share:.1%}; "
          f"{unexplained} of the others are not explained")  # fmt: skip
    return int(share < LEAST_SHARE or unexplained > 0)


def _fit(killers: Iterable[Killer]) -> bool:
    """Do these pass the cores as they are?"""
    found = complaint(killers)
    if found:
        print(f"without any mutant there is a complaint: {found}")
    return not found


if __name__ == "__main__":
    sys.exit(main())
