"""Tables of results: named columns with unit and dtype, as NumPy arrays.

Owns how a table is written and handed to other libraries. NumPy is always there; Polars (extra
`analysis`) and pandas are used where they are installed.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import pandas
    import polars

NONE = -1  # in an int64 column that may be empty
SUFFIXES = (".csv", ".csv.gz", ".parquet")
_KINDS: dict[str, Callable[[Any], Any]] = {  # from a cell of a file; None is a TypeError
    "int64": lambda text: NONE if text == "" else int(text),
    "float64": lambda text: np.nan if text == "" else float(text),
    "str": lambda text: "" + text,
}


@dataclass(frozen=True, slots=True)
class Column:
    """What one column holds. Empty cells are NaN, -1 in int64, and "" in str."""

    name: str
    unit: str  # "": none
    dtype: Literal["int64", "float64", "str"]
    text: str
    optional: bool = False  # may cells be empty?


@dataclass(frozen=True)
class Table(Mapping[str, NDArray[Any]]):
    """Columns of equal length; `table["wait_seconds"]` is a NumPy array."""

    columns: tuple[Column, ...]
    arrays: tuple[NDArray[Any], ...]

    @classmethod
    def of(cls, columns: Sequence[Column], values: Mapping[str, Any]) -> Table:
        """From the values of every column, by name."""
        arrays = [np.asarray(values[column.name], dtype=column.dtype) for column in columns]
        assert len({len(array) for array in arrays}) == 1
        return cls(tuple(columns), tuple(arrays))

    @classmethod
    def read(cls, path: Path, columns: Sequence[Column]) -> Table:
        """From a .csv or .csv.gz file that `write` has made.

        Raises:
            InputError: a column is missing, or a cell makes no sense; with file and line.
        """
        data = path.read_bytes()
        rows = csv.DictReader(io.StringIO((gzip.decompress(data) if path.suffix == ".gz" else data)
                                          .decode()))  # fmt: skip
        cells: dict[str, list[Any]] = {column.name: [] for column in columns}
        for line, row in enumerate(rows, 2):
            for column in columns:
                cell = row.get(column.name)  # None: the line, or the header, is too short
                try:
                    cells[column.name].append(_KINDS[column.dtype](cell))
                except (ValueError, TypeError):
                    what = f"{path}:{line}: {column.name}: {cell!r} is no {column.dtype}"
                    raise InputError(what, "The file is damaged.") from None
        return cls.of(columns, cells)

    def where(self, rows: NDArray[np.bool_]) -> Table:
        """Only those rows."""
        return Table(self.columns, tuple(array[rows] for array in self.arrays))

    @property
    def height(self) -> int:
        """Rows."""
        return len(self.arrays[0])

    def __getitem__(self, name: str) -> NDArray[Any]:
        for column, array in zip(self.columns, self.arrays, strict=True):
            if column.name == name:
                return array
        raise InputError(f"there is no column '{name}'", did_you_mean(name, self))

    def __iter__(self) -> Iterator[str]:
        return (column.name for column in self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Rows of Python values; None where a cell is empty."""
        return zip(*map(_cells, self.columns, self.arrays), strict=True)

    def to_polars(self) -> polars.DataFrame:
        """The same as a Polars frame; empty cells are null.

        Raises:
            InputError: Polars is not installed.
        """
        frame: polars.DataFrame = self._polars().DataFrame(self._lists())
        return frame

    def to_pandas(self) -> pandas.DataFrame:
        """The same as a pandas frame; empty cells are missing.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise InputError("pandas is not installed", "Install pandas.") from None
        kinds = {"int64": "Int64", "float64": "float64", "str": "string"}
        return pd.DataFrame(
            {c.name: pd.Series(_cells(c, a), dtype=kinds[c.dtype])
             for c, a in zip(self.columns, self.arrays, strict=True)}
        )  # fmt: skip

    def write(self, path: str | Path, *, force: bool = False) -> None:
        """Write a .csv, .csv.gz or .parquet file, whole or not at all.

        Raises:
            InputError: another kind of file, one that exists (without `force`), or no Polars.
        """
        place = Path(path)
        if place.exists() and not force:
            raise InputError(f"{place} exists already", "Name another file, or say force=True.")
        suffix = next((s for s in reversed(SUFFIXES) if place.name.endswith(s)), None)
        if suffix is None:
            raise InputError(f"{place} is of no kind known", f"End it in {', '.join(SUFFIXES)}.")
        data = {".csv": self.csv, ".csv.gz": self.csv_gz, ".parquet": self._parquet}[suffix]()
        partial = place.with_name(f".partial-{place.name}")
        partial.write_bytes(data)
        partial.replace(place)

    def csv(self) -> bytes:
        """As comma-separated values with a header; equal tables give equal bytes."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self)
        writer.writerows(self.rows())
        return text.getvalue().encode()

    def csv_gz(self) -> bytes:
        """The same, compressed; without a time, so that equal tables give equal bytes."""
        return gzip.compress(self.csv(), compresslevel=6, mtime=0)

    def _parquet(self) -> bytes:
        buffer = io.BytesIO()
        self.to_polars().write_parquet(buffer)
        return buffer.getvalue()

    def _lists(self) -> dict[str, Any]:
        pl = self._polars()
        kinds = {"int64": pl.Int64, "float64": pl.Float64, "str": pl.String}
        return {
            c.name: pl.Series(c.name, _cells(c, a), dtype=kinds[c.dtype])
            for c, a in zip(self.columns, self.arrays, strict=True)
        }

    def _polars(self) -> Any:
        try:
            import polars
        except ImportError:
            remedy = "Install the extra 'analysis': pip install 'cube-orchestrator[analysis]'."
            raise InputError("Polars is not installed", remedy) from None
        return polars


def _cells(column: Column, array: NDArray[Any]) -> list[Any]:
    """Python values; None where a cell is empty."""
    values = array.tolist()
    match column.dtype:
        case "float64":
            return [None if value != value else value for value in values]
        case "int64" if column.optional:
            return [None if value == NONE else value for value in values]
        case "str" if column.optional:
            return [value or None for value in values]
        case _:
            return values  # type: ignore[no-any-return]
