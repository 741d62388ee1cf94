"""Reads the output of a plain process from its files, across their rotation."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO

from cube.engine.process.runs import RunDirectory
from cube.engine.process.shim import LOG_FILES

CHUNK_BYTES = 65536
POLL_SECONDS = 0.1  # between looks for new output


def read(
    run: RunDirectory,
    *,
    follow: bool,
    tail: int | None,
    since: float | None,
    stop: threading.Event | None,
) -> Iterator[bytes]:
    """Chunks of output. Lines bear no time: `since` can leave out whole files only."""
    file: IO[bytes] = run.log.open("rb")
    try:
        chunks = _written(run.log, file, since)
        yield from chunks if tail is None else _last_lines(chunks, tail)
        if follow:
            file = yield from _follow(run, file, stop or threading.Event())
    except FileNotFoundError:
        return  # the run has been discarded meanwhile
    finally:
        file.close()


def _written(log: Path, newest: IO[bytes], since: float | None) -> Iterator[bytes]:
    """What there is; leaves `newest` at its end."""
    for age in range(LOG_FILES - 1, 0, -1):
        path = Path(f"{log}.{age}")
        if path.exists() and (since is None or path.stat().st_mtime >= since):
            with path.open("rb") as file:
                yield from _chunks(file)
    if since is not None and os.fstat(newest.fileno()).st_mtime < since:
        newest.seek(0, os.SEEK_END)
    yield from _chunks(newest)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(CHUNK_BYTES), b"")


def _last_lines(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    lines: deque[bytes] = deque(maxlen=count)
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        lines.extend(line + b"\n" for line in whole)
    if rest:
        lines.append(rest)
    yield from lines


def _follow(
    run: RunDirectory, file: IO[bytes], stop: threading.Event
) -> Generator[bytes, None, IO[bytes]]:
    """What is written from now on, until the run has ended; the file that is then open."""
    while not stop.is_set():
        alive = run.alive()  # before reading: what was written last is read all the same
        rotated = _is_rotated(file, run.log)
        data = file.read(CHUNK_BYTES)
        if data:
            yield data
        elif rotated:
            file.close()
            file = run.log.open("rb")
        elif not alive:
            break
        else:
            stop.wait(POLL_SECONDS)
    return file


def _is_rotated(file: IO[bytes], path: Path) -> bool:
    try:
        return os.fstat(file.fileno()).st_ino != path.stat().st_ino
    except FileNotFoundError:
        return False  # the run has been discarded: what is open is all there will be
