"""Real workloads: which formats can be read, where to get such traces, and what a file holds.

Owns the list of formats. A reader turns a file into `Arrivals` and says what is wrong in it with
file and line; it never guesses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from sim.arrivals import Arrivals
from sim.errors import InputError
from sim.traces import google2011, recording, swf, tables

Name = Literal["google2011", "recording", "swf", "table"]


@dataclass(frozen=True, slots=True)
class Format:
    """One format of trace files."""

    name: Name
    what: str
    where: str  # to get such files
    read: Callable[[Path], Arrivals]


FORMATS: dict[str, Format] = {
    made.name: made
    for made in (
        Format("google2011", google2011.WHAT, google2011.WHERE, google2011.read),
        Format("recording", recording.WHAT, recording.WHERE, recording.read),
        Format("swf", swf.WHAT, swf.WHERE, swf.read),
        Format("table", tables.WHAT, tables.WHERE, tables.read),
    )
}


def read(name: str, path: Path) -> Arrivals:
    """The tasks in a file of that format; the latest files are kept, as long as they are the same.

    Raises:
        InputError: it cannot be read, or something in it is wrong.
    """
    try:
        looked = path.stat()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", "Name a trace that can be read.") from None
    return _read(name, path, looked.st_mtime_ns, looked.st_size)


@lru_cache(maxsize=4)
def _read(name: str, path: Path, changed: int, size: int) -> Arrivals:
    return FORMATS[name].read(path)
