"""Sizes, cpus and durations as people write them, turned into whole units and back.

Exact: decimals are never floats on the way, and what does not come out even is rounded up, so
that a task never gets less than it asked for. Knows nothing of YAML or of any option.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal

BYTES_PER_MIB = 1 << 20
MAX_BYTES = 1 << 50  # a pebibyte: keeps every sum of sizes inside int64
MAX_MILLI = 1_000_000_000

_SIZE = re.compile(r"(-?\d{1,18}(?:\.\d{1,9})?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_CPUS = re.compile(r"-?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})")
_DURATION = re.compile(r"-?(?:\d{1,12}(?:\.\d{1,9})?(?:us|µs|ms|s|m|h|d|w))+")
_DURATION_PART = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(us|µs|ms|s|m|h|d|w)")
_SECONDS = {
    "us": Decimal("0.000001"),
    "µs": Decimal("0.000001"),
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
    "w": Decimal(604800),
}


def parse_bytes(text: str) -> int:
    """Bytes of `256M`, `1.5gb`, `64k` or `1024`; units are powers of 1024.

    Raises:
        ValueError: with the remedy as its text, when `text` is no size, negative or too large.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("Write a number with b, k, m or g, as in 256M")
    number, unit = match.groups()
    factor = 1024 ** " kmgtp".index(unit.lower() or " ")
    size = int((Decimal(number) * factor).to_integral_value(ROUND_CEILING))
    if number.startswith("-"):
        raise ValueError("A size is not negative")
    if size > MAX_BYTES:
        raise ValueError("A size is at most 1024t")
    return size


def mib(size_bytes: int) -> int:
    """Whole MiB that hold so many bytes, rounded up."""
    return -(-size_bytes // BYTES_PER_MIB)


def parse_cpus(text: str) -> int:
    """Milli-cores of `0.25` or `2`, rounded up.

    Raises:
        ValueError: with the remedy as its text, when `text` is no number, negative or too large.
    """
    if _CPUS.fullmatch(text.strip()) is None:
        raise ValueError("Write a number of cores, as in 0.25")
    milli = int((Decimal(text.strip()) * 1000).to_integral_value(ROUND_CEILING))
    if text.strip().startswith("-"):
        raise ValueError("A number of cores is not negative")
    if milli > MAX_MILLI:
        raise ValueError("A number of cores is at most a million")
    return milli


def parse_seconds(text: str) -> float:
    """Seconds of `1m30s`, `500ms`, `1.5h` or `0`.

    Raises:
        ValueError: with the remedy as its text, when `text` is no duration or negative.
    """
    written = text.strip()
    if written == "0":
        return 0.0
    if _DURATION.fullmatch(written) is None:
        raise ValueError("Write a number with its unit, as in 30s, 500ms or 1m30s")
    if written.startswith("-"):
        raise ValueError("A duration is not negative")
    parts = _DURATION_PART.findall(written)
    return float(sum(Decimal(number) * _SECONDS[unit] for number, unit in parts))
