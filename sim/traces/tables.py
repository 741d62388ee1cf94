"""Cube's own format: a table with one row per task, as CSV (plain or .gz) or Parquet.

`tasks.csv.gz`, which every run writes, is such a table: a run's tasks can be run again. Columns
are found by name; others are ignored.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from sim.arrivals import MICROS, Arrivals
from sim.errors import InputError, did_you_mean
from sim.traces.lines import Gathered, lines, wrong

WHAT = "a table (CSV, CSV.gz or Parquet) with submitted_seconds, run_seconds, cpu_milli, memory_mib"
WHERE = "tasks.csv.gz of any run (python -m sim run --out DIR), or written by yourself"
NEEDED = ("submitted_seconds", "run_seconds", "cpu_milli", "memory_mib")
OPTIONAL = ("disk_mib", "exit_code")


def read(path: Path) -> Arrivals:
    """One task per row, each a job of its own.

    Raises:
        InputError: a column is missing, or a cell makes no sense.
    """
    gathered = Gathered(path)
    for line, row in _parquet(path) if path.suffix == ".parquet" else _csv(path):
        try:
            at, run = float(row["submitted_seconds"]), float(row["run_seconds"])
            cpu, memory = int(row["cpu_milli"]), int(row["memory_mib"])
            disk, code = (int(row.get(name) or 0) for name in OPTIONAL)
        except (TypeError, ValueError) as error:
            raise wrong(path, line, f"not a number: {error}") from None
        gathered.add(line, at, run, (cpu, memory, disk), code)
    return gathered.arrivals()


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = csv.reader(text for _, text in lines(path))
    header = next(rows, [])
    _check(path, header)
    for number, cells in enumerate(rows, 2):
        if len(cells) != len(header):
            raise wrong(path, number, f"{len(header)} cells are due here, not {len(cells)}")
        yield number, dict(zip(header, cells, strict=True))


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    frame = _polars(path).read_parquet(path)
    _check(path, frame.columns)
    yield from enumerate(frame.iter_rows(named=True), 1)


def _check(path: Path, columns: Iterable[str]) -> None:
    known = list(columns)
    for name in NEEDED:
        if name not in known:
            remedy = did_you_mean(name, known) if known else ""
            raise wrong(path, 1, f"there is no column '{name}'", remedy)


def _polars(path: Path) -> Any:
    try:
        return import_module("polars")
    except ImportError:
        raise InputError(
            f"{path}: Parquet needs the package polars",
            "Install cube-orchestrator[analysis], or use CSV.",
        ) from None


def write(arrivals: Arrivals, path: Path) -> None:
    """Write tasks as a table that `read` takes; the suffix (.csv, .csv.gz, .parquet) says how.

    Raises:
        InputError: another suffix, or Parquet without polars.
    """
    columns = {
        "submitted_seconds": (arrivals.at_micros / MICROS).tolist(),
        "run_seconds": (arrivals.run_micros / MICROS).tolist(),
        "cpu_milli": arrivals.demand[:, 0].tolist(),
        "memory_mib": arrivals.demand[:, 1].tolist(),
        "disk_mib": arrivals.demand[:, 2].tolist(),
        "exit_code": arrivals.exit_code.tolist(),
    }
    if path.suffix == ".parquet":
        _polars(path).DataFrame(columns).write_parquet(path)
        return
    if path.suffix not in (".csv", ".gz"):
        raise InputError(f"{path}: no such kind of table", "Use .csv, .csv.gz or .parquet.")
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(columns)
        out.writerows(zip(*columns.values(), strict=True))
