"""Mutants can be planted; who should notice them is asked by `make mutants` and in CI."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.mutants.named import NAMED, Named
from tests.mutants.source import ROOT, Patch, Stale


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


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.mutants", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_planted_mutant_is_noticed_and_the_core_as_it_is_passes() -> None:
    done = command("named", "not-taken")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no mutant: nothing is noticed" in done.stdout
    assert "the books are right" in done.stdout
    assert command("named", "no-such-mutant").returncode == 2
