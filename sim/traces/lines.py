"""Text files, plain or compressed, line by line, and the tasks that are gathered from them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sim.arrivals import MICROS, Arrivals
from sim.errors import InputError

LONGEST_SECONDS = 10 * 366 * 86_400.0  # no trace is longer


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Every line with its number, without its end.

    Raises:
        InputError: the file cannot be read, is cut off, or is no text.
    """
    number = 0
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            for number, line in enumerate(file, 1):
                yield number, line.rstrip("\n")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        what = "the file is cut off or damaged after this line"
        raise InputError(f"{path}:{number}: {what} ({error})", "Get it again.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}:{number + 1}: this is not text", "Name another file.") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", "Name a trace that can be read.") from None


def wrong(path: Path, line: int, what: str, remedy: str = "") -> InputError:
    """What is wrong in a trace, with its place."""
    return InputError(f"{path}:{line}: {what}", remedy)


@dataclass
class Gathered:
    """Tasks as they are read; jobs of `count` equal tasks."""

    path: Path
    _rows: list[tuple[int, int, int, int]] = field(default_factory=list)  # at, run, exit, count
    _sizes: list[tuple[int, int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self,
        line: int,
        at_seconds: float,
        run_seconds: float,
        size: tuple[int, int, int],
        exit_code: int = 0,
        count: int = 1,
    ) -> None:
        """Take in one job.

        Raises:
            InputError: a time or a size makes no sense.
        """
        for name, value in (("submit time", at_seconds), ("run time", run_seconds)):
            if not 0 <= value <= LONGEST_SECONDS:
                raise wrong(self.path, line, f"a {name} of {value:g} seconds makes no sense")
        for name, amount in zip(("milli-cores", "MiB of memory", "MiB of disk"), size, strict=True):
            if not 0 <= amount < 1 << 40:
                raise wrong(self.path, line, f"{amount} {name} make no sense")
        if count < 1:
            raise wrong(self.path, line, f"a job of {count} tasks makes no sense")
        self._rows.append(
            (round(at_seconds * MICROS), round(run_seconds * MICROS), exit_code, count)
        )
        self._sizes.append(size)

    def arrivals(self) -> Arrivals:
        """All of them by time of arrival; of one moment in the order in which they were read.

        Raises:
            InputError: there is none.
        """
        if not self._rows:
            raise InputError(f"{self.path}: there is no task in it", "Name another file.")
        rows = np.array(self._rows, dtype=np.int64)
        order = np.argsort(rows[:, 0], kind="stable")
        rows = rows[order]
        sizes, shape = np.unique(
            np.array(self._sizes, dtype=np.int64)[order], axis=0, return_inverse=True
        )
        count = rows[:, 3]
        each = np.repeat(rows, count, axis=0)
        return Arrivals(
            at_micros=each[:, 0],
            shape=np.repeat(shape.reshape(-1), count).astype(np.int64),
            start_micros=np.zeros(len(each), dtype=np.int64),
            run_micros=np.maximum(1, each[:, 1]),
            exit_code=each[:, 2],
            sizes=sizes,
            first=np.concatenate(([0], np.cumsum(count))).astype(np.int64),
        )
