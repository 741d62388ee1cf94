"""Sizes, cores and durations."""

import pytest

from cube.units import mib, parse_bytes, parse_cpus, parse_seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1024", 1024),
        ("64k", 65536),
        ("64kb", 65536),
        ("256M", 256 << 20),
        ("256MiB", 256 << 20),
        ("1.5g", 3 << 29),
        ("2 GB", 2 << 30),
        ("7b", 7),
        ("0.1k", 103),
    ],
)
def test_sizes_are_powers_of_1024_rounded_up(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1", "5Q", "1e3", "1025t", "1,5g", "9" * 100])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z]"):
        parse_bytes(text)


def test_mib_hold_the_bytes() -> None:
    assert [mib(n) for n in (0, 1, 1 << 20, (1 << 20) + 1)] == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("text", "milli"), [("0.25", 250), ("2", 2000), (".5", 500), ("0.0001", 1), ("1.", 1000)]
)
def test_cores(text: str, milli: int) -> None:
    assert parse_cpus(text) == milli


@pytest.mark.parametrize("text", ["250m", "-1", "", "1e2", "nan", "9999999"])
def test_what_is_no_number_of_cores(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z]"):
        parse_cpus(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("30s", 30.0), ("1m30s", 90.0), ("500ms", 0.5), ("1.5h", 5400.0), ("1d", 86400.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["30", "", "s", "-5s", "1m 30s", "5 minutes"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z]"):
        parse_seconds(text)
