"""`python -m tests.mutants`: judge mutants, keep what became of them, and write the tables."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a process with threads cannot be forked well

import argparse
import sys
from collections.abc import Iterable, Iterator

from tests.mutants.judge import Case, Verdict, judge
from tests.mutants.named import NAMED, control


def main() -> int:
    """Run a subcommand; 1 if a mutant went unnoticed that should not."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    commands = parser.add_subparsers(required=True)
    named = commands.add_parser("named", help="judge the named mutants, or those that are listed")
    named.add_argument("names", nargs="*", metavar="NAME")
    named.add_argument("--processes", type=int, default=1, metavar="N")
    named.set_defaults(run=_named)
    chosen = parser.parse_args()
    return int(chosen.run(chosen))


def _named(chosen: argparse.Namespace) -> int:
    mutants = [m for m in NAMED if not chosen.names or m.name in chosen.names]
    known = {m.name for m in NAMED}
    if unknown := [name for name in chosen.names if name not in known]:
        print(f"there is no mutant {', '.join(unknown)}; known are: {', '.join(sorted(known))}")
        return 2
    cases = [control(mutants), *(mutant.case for mutant in mutants)]
    verdicts = list(_told(cases, chosen.processes))
    return int(any(v.caught is (v.key == "") for v in verdicts))


def _told(cases: Iterable[Case], processes: int) -> Iterator[Verdict]:
    for verdict in judge(cases, processes):
        print(_line(verdict), flush=True)
        yield verdict


def _line(verdict: Verdict) -> str:
    if verdict.key == "":
        return f"no mutant: {verdict.by or 'nothing is noticed, as it should be'}"
    return f"{verdict.key:24} {verdict.seconds:5.1f} s  {verdict.by or 'NOT NOTICED'}"


if __name__ == "__main__":
    sys.exit(main())
