"""The nine tables, and the steps from each older form of them to the present one.

A step is never changed once released; a new one is added at the end. The number of steps taken
stands in the database's `user_version`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from cube.store.contract import StoreError

APPLICATION_ID = 0x43554245  # "CUBE": tells a store from other databases

STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
        "CREATE TABLE jobs (name TEXT PRIMARY KEY, revision INTEGER NOT NULL, body TEXT NOT NULL)",
        "CREATE TABLE tasks (uid TEXT PRIMARY KEY, revision INTEGER NOT NULL,"
        " ended INTEGER NOT NULL, body TEXT NOT NULL)",
        "CREATE INDEX tasks_ended ON tasks (revision) WHERE ended",
        "CREATE TABLE events (id INTEGER PRIMARY KEY, revision INTEGER NOT NULL,"
        " job TEXT NOT NULL, body TEXT NOT NULL)",
        "CREATE INDEX events_revision ON events (revision)",
        "CREATE INDEX events_job ON events (job, revision)",
        "CREATE TABLE volumes (name TEXT PRIMARY KEY, node TEXT NOT NULL,"
        " revision INTEGER NOT NULL)",
        "CREATE TABLE answers (request TEXT PRIMARY KEY, revision INTEGER NOT NULL,"
        " body TEXT NOT NULL)",
        "CREATE INDEX answers_revision ON answers (revision)",
    ),
    (
        "CREATE TABLE node_marks (node TEXT PRIMARY KEY, draining INTEGER NOT NULL,"
        " revision INTEGER NOT NULL)",
    ),
    (
        "ALTER TABLE node_marks ADD COLUMN labels TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE node_marks ADD COLUMN deadline REAL",
    ),
    (
        "CREATE TABLE tokens (name TEXT PRIMARY KEY, body TEXT NOT NULL)",
        "CREATE TABLE node_keys (node TEXT PRIMARY KEY, body TEXT NOT NULL)",
    ),
)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is executed inside, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back on some errors
            connection.execute("ROLLBACK")
        raise


def form_of(connection: sqlite3.Connection) -> int:
    """How many of the steps a store has taken; 0: it is empty."""
    return _pragma(connection, "user_version")


def check_ours(connection: sqlite3.Connection, path: str) -> None:
    """Refuse what this version cannot use, before anything in it is changed.

    Raises:
        StoreError: it is another program's database, or a newer Cube's.
    """
    version = form_of(connection)
    foreign = _pragma(connection, "application_id") != APPLICATION_ID
    if foreign and (version or connection.execute("SELECT 1 FROM sqlite_master").fetchone()):
        raise StoreError(f"{path} is another program's database; move it away")
    if version > len(STEPS):
        raise StoreError(
            f"{path} was written by a newer Cube (form {version}, this one knows {len(STEPS)});"
            " start that version"
        )


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an empty or older store to the present form, each step whole or not at all."""
    for number in range(form_of(connection), len(STEPS)):
        with transaction(connection):
            for statement in STEPS[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number + 1}")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
