"""Mutants can be planted; who should notice them is asked by `make mutants` and in CI."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.generated import drawn, modules, mutations, mutations_of
from tests.mutants.named import NAMED, Named
from tests.mutants.source import ROOT, Patch, Stale
from tests.mutants.survivors import explained


@pytest.mark.parametrize("mutant", NAMED, ids=lambda mutant: mutant.name)
def test_mutant_fits_the_code_as_it_is(mutant: Named) -> None:
    for module, source in mutant.case.sources.items():
        compile(source, module, "exec")


def test_names_are_unique() -> None:
    assert len({mutant.name for mutant in NAMED}) == len(NAMED)


def test_patch_whose_fragment_is_gone_or_ambiguous_fails_loudly() -> None:
    for source in ("a = 2\n", "a = 1\na = 1\n"):
        with pytest.raises(Stale, match=r"cube\.task has this . times, not once"):
            Patch("cube.task", "a = 1\n", "a = 3\n").apply(source)


def test_every_comparison_constant_and_call_is_changed_once() -> None:
    source = b"""
LIMIT = 3  # not in a text: "4"
class Core:
    def judge(self, now: Literal[7], late: bool = False) -> None:
        \'\'\'Texts say 1 == 1.\'\'\'
        mark("judged")
        if (now) <= -1 and self.held not in (now, 2.5):
            self._send(f"{now} < 9")
        self._send(0)
"""
    found = mutations_of("cube.task", source)
    changed = [(m.function, m.apply(source).splitlines()) for m in found]
    before = source.decode().splitlines()
    assert [
        (function, *[new for old, new in zip(before, after, strict=True) if old != new])
        for function, after in changed
    ] == [
        ("(module)", 'LIMIT = 4  # not in a text: "4"'),
        ("Core.judge", "    def judge(self, now: Literal[7], late: bool = True) -> None:"),
        ("Core.judge", "        if (now) < -1 and self.held not in (now, 2.5):"),
        ("Core.judge", "        if (now) > -1 and self.held not in (now, 2.5):"),
        ("Core.judge", "        if (now) <= -2 and self.held not in (now, 2.5):"),
        ("Core.judge", "        if (now) <= -1 and self.held in (now, 2.5):"),
        ("Core.judge", "        if (now) <= -1 and self.held not in (now, 5.0):"),
        ("Core.judge", "            pass"),
        ("Core.judge", "        pass"),
        ("Core.judge", "        self._send(1)"),
    ]


def test_keys_are_unique_and_explanations_name_mutants_that_there_are() -> None:
    keys = [mutation.key for mutation in mutations()]
    assert len(set(keys)) == len(keys)
    assert sorted(explained().keys() - set(keys)) == []


def test_first_mutants_that_are_drawn_come_from_every_module() -> None:
    found = mutations()
    order = drawn(found, seed=1)
    assert order == drawn(found, seed=1) != drawn(found, seed=2)
    assert sorted(m.key for m in order) == sorted(m.key for m in found)
    assert {m.module for m in order[: len(found) // 6]} == set(modules())


def command(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = ["--results", str(path / "mutants.jsonl")]
    return subprocess.run(
        [sys.executable, "-m", "tests.mutants", *kept, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_planted_mutant_is_noticed_where_the_core_as_it_is_passes(tmp_path: Path) -> None:
    done = command(tmp_path, "named", "not-taken")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the books are right" in done.stdout
    assert "1 of 1 noticed" in done.stdout
    assert command(tmp_path, "named", "no-such-mutant").returncode == 2
