"""The generated mutants that nobody notices, each with the reason: `survivors.toml`."""

from __future__ import annotations

import tomllib
from pathlib import Path

LEAST_SHARE = 0.9  # of the generated mutants that somebody must notice
FILE = Path(__file__).with_suffix(".toml")


def groups() -> list[tuple[str, list[str]]]:
    """Why, and the keys of the mutants of which that is true."""
    read = tomllib.loads(FILE.read_text())
    return [(group["why"], group["mutants"]) for group in read["survivors"]]


def explained() -> dict[str, str]:
    """By key, why that mutant may go unnoticed."""
    return {key: why for why, keys in groups() for key in keys}
