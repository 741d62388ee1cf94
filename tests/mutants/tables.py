"""The verdicts on the code as it is: numbers in `benchmarks/`, tables in the documentation."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from tests.mutants.generated import MODULES, Mutation, mutations
from tests.mutants.judge import Verdict
from tests.mutants.named import NAMED, Named
from tests.mutants.results import Results
from tests.mutants.source import ROOT
from tests.mutants.survivors import groups

NUMBERS = ROOT / "benchmarks" / "mutants.json"
PAGE = ROOT / "docs" / "simulation.md"
BEGIN = "<!-- mutants: written by `make mutants` -->\n"
END = "<!-- mutants: end -->\n"

Judged = list[tuple[Mutation, Verdict]]


def write(results: Results) -> int:
    """Write both. Returns 1 if a named mutant has not been judged or was not noticed."""
    named = [(mutant, results.of(mutant.case)) for mutant in NAMED]
    missing = [mutant.name for mutant, verdict in named if verdict is None or not verdict.caught]
    if missing:
        print(f"not judged, or not noticed: {', '.join(missing)}")
        return 1
    found = mutations()
    judged = [(m, verdict) for m in found if (verdict := results.of(m.case))]
    NUMBERS.write_text(json.dumps(_numbers(named, found, judged), indent=1) + "\n")
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{PAGE.name} has lost its markers"
    assert end, f"{PAGE.name} has lost its markers"
    lines = [*_named(named), "", *_generated(found, judged), "", *_survivors(judged)]
    PAGE.write_text(before + begin + "\n".join(["", *lines, "", ""]) + end + after)
    return 0


def _numbers(
    named: list[tuple[Named, Verdict | None]], found: list[Mutation], judged: Judged
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "named": {mutant.name: verdict.by for mutant, verdict in named if verdict is not None},
        "generated": {
            "mutants": len(found),
            "judged": len(judged),
            "noticed": sum(verdict.caught for _, verdict in judged),
            "work_seconds": round(sum(verdict.seconds for _, verdict in judged)),
            "by_module": _by_module(judged),
            "not_noticed": [m.key for m, verdict in judged if not verdict.caught],
        },
    }


def _by_module(judged: Judged) -> dict[str, dict[str, int]]:
    all_of, noticed = Counter[str](), Counter[str]()
    for mutation, verdict in judged:
        all_of[mutation.module] += 1
        noticed[mutation.module] += verdict.caught
    return {name: {"judged": n, "noticed": noticed[name]} for name, n in sorted(all_of.items())}


def _named(named: list[tuple[Named, Verdict | None]]) -> Iterator[str]:
    yield "| named mutant | the failure | who notices |"
    yield "|---|---|---|"
    for mutant, verdict in named:
        assert verdict is not None
        yield f"| `{mutant.name}` | {mutant.failure} | {_who(verdict.by)} |"


def _who(by: str) -> str:
    """A scenario and seed with the promise that breaks, or a test."""
    if "::" in by:
        return f"`{by.rpartition('::')[2]}`"
    run, _, broken = by.partition(": ")
    return f"{run}: *{broken.partition(':')[0]}*"


def _generated(found: list[Mutation], judged: Judged) -> Iterator[str]:
    noticed = sum(verdict.caught for _, verdict in judged)
    seconds = sum(verdict.seconds for _, verdict in judged)
    yield (
        f"Of {len(found)} generated mutants {len(judged)} were judged, in {seconds / 60:.0f} "
        f"minutes of processor time; {noticed} of them were noticed, {noticed / len(judged):.1%}:"
    )
    yield ""
    kinds = sorted({mutation.kind for mutation, _ in judged})
    yield f"| core | {' | '.join(f'{kind}s' for kind in kinds)} | noticed |"
    yield f"|---|{'---|' * len(kinds)}---|"
    for prefix in MODULES:
        here = [(m, v) for m, v in judged if f"{m.module}.".startswith(f"{prefix}.")]
        cells = [_share(v for m, v in here if m.kind == kind) for kind in kinds]
        share = sum(v.caught for _, v in here) / max(1, len(here))
        yield f"| `{prefix}` | {' | '.join(cells)} | {share:.0%} |"


def _share(verdicts: Iterable[Verdict]) -> str:
    told = [verdict.caught for verdict in verdicts]
    return f"{sum(told)} of {len(told)}"


def _survivors(judged: Judged) -> Iterator[str]:
    """Who went unnoticed, by the reason."""
    unnoticed = {m.key for m, verdict in judged if not verdict.caught}
    yield f"The {len(unnoticed)} that nobody noticed:"
    for why, keys in groups():
        here = [key for key in keys if key in unnoticed]
        if here:
            yield ""
            yield f"*{why}*"
            yield ""
            yield from (f"- `{key.removeprefix('cube.')}`" for key in here)
        unnoticed.difference_update(here)
    if unnoticed:
        yield ""
        yield "*Not looked into:*"
        yield ""
        yield from (f"- `{key.removeprefix('cube.')}`" for key in sorted(unnoticed))
