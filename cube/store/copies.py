"""Whole copies of a store's file, and whether such a file is whole.

A copy is consistent while a manager writes (SQLite's online backup), is for its owner only, and
appears under its name when all of it is on the disk. Reads stores; never changes one.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cube import codec
from cube.store.contract import StoreError
from cube.store.schema import check_ours, form_of

BUSY_SECONDS = 10.0
_BODIES = ("jobs", "tasks", "events", "answers", "tokens", "node_keys")


@dataclass(frozen=True, slots=True)
class Checked:
    """What a store that is whole holds."""

    form: int  # the number of its form; see `cube.store.schema`
    cluster: str
    epoch: int
    revision: int
    rows: dict[str, int]  # by table


def copy(source: sqlite3.Connection, target: Path) -> None:
    """Copy all that `source` holds at this moment to `target`, which is replaced whole.

    Raises:
        sqlite3.Error, OSError: it cannot be read or written; `target` is as it was.
    """
    fresh = target.with_name(f".{target.name}.fresh")
    try:
        os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        with closing(sqlite3.connect(fresh)) as copied:
            source.backup(copied)
            # A file alone, without a log beside it; the store turns to one when it opens it.
            copied.execute("PRAGMA journal_mode = DELETE")
        _sync(fresh)
        fresh.replace(target)
        _sync(target.parent)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A store's file, to read it beside whoever works on it.

    Raises:
        StoreError: there is none, it is another program's or a newer Cube's, or it is damaged.
    """
    if not path.is_file():
        raise StoreError(f"there is no store at {path}; name another directory with --state-dir")
    try:
        address = f"file:{quote(str(path.absolute()))}?mode=rw"  # the log beside it needs writing
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)) as connection:
            connection.execute("PRAGMA query_only = ON")
            check_ours(connection, str(path))
            yield connection
    except sqlite3.Error as error:
        raise StoreError(f"cannot read {path}: {error}; restore a backup") from error


def check(path: Path) -> Checked:
    """Read all of a store: the pages, the indexes and every record.

    Raises:
        StoreError: as `opened`, or something in it is damaged.
    """
    with opened(path) as connection:
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
        if problems != ["ok"]:
            raise StoreError(f"{path} is damaged: {'; '.join(problems)}; restore a backup")
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        names = sorted(name for (name,) in tables)
        for name in set(names) & set(_BODIES):
            _read_bodies(connection, path, name)
        meta = dict(connection.execute("SELECT key, value FROM meta"))
        count = "SELECT count(*) FROM"
        rows = {n: connection.execute(f'{count} "{n}"').fetchone()[0] for n in names}
        return Checked(
            form_of(connection),
            meta.get("cluster", ""),
            int(meta.get("epoch", "0")),
            int(meta.get("revision", "0")),
            rows,
        )


def _read_bodies(connection: sqlite3.Connection, path: Path, table: str) -> None:
    assert table in _BODIES
    for rowid, body in connection.execute(f"SELECT rowid, body FROM {table}"):  # noqa: S608
        try:
            codec.loads(body)
        except codec.CodecError as error:
            raise StoreError(
                f"{path} is damaged: row {rowid} of {table}: {error}; restore a backup"
            ) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
