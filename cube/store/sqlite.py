"""The durable store: one SQLite file, safe against `kill -9` and power loss once `save` returns.

Write-ahead log with `synchronous=FULL`. One connection writes, another reads events, each behind
its own lock, so that a slow reader never holds up a save. Bodies are written by `cube.codec`.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from errno import ENOSPC
from itertools import takewhile
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

from cube import codec
from cube.store.contract import AGE_SECONDS, KEPT, Kept, StoreError, check_records
from cube.store.copies import copy
from cube.store.lock import FileLock
from cube.store.schema import STEPS, check_ours, form_of, migrate, transaction
from cube.task import (
    Answer,
    Event,
    Forget,
    Job,
    Meta,
    NodeKey,
    NodeMark,
    Record,
    Saved,
    Task,
    Token,
    Volume,
)

BUSY_SECONDS = 1.0  # how long a save waits for somebody else's look into the file
AGED_AT_ONCE = 1000  # events that one save drops for their age, at most
MAX_LOG_BYTES = 16 << 20  # what the write-ahead log is cut back to

_MARKS = "SELECT node, draining, revision, labels, deadline FROM node_marks"
_PUT = {
    Meta: "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
    Job: "INSERT INTO jobs VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
    " revision = excluded.revision, body = excluded.body",
    Task: "INSERT INTO tasks VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
    " revision = excluded.revision, ended = excluded.ended, body = excluded.body",
    Event: "INSERT INTO events (revision, job, body) VALUES (?, ?, ?)",
    Volume: "INSERT INTO volumes VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
    " node = excluded.node, revision = excluded.revision",
    NodeMark: "INSERT INTO node_marks VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
    " draining = excluded.draining, revision = excluded.revision, labels = excluded.labels,"
    " deadline = excluded.deadline",
    Token: "INSERT INTO tokens VALUES (?, ?) ON CONFLICT DO UPDATE SET body = excluded.body",
    NodeKey: "INSERT INTO node_keys VALUES (?, ?) ON CONFLICT DO UPDATE SET body = excluded.body",
    Answer: "INSERT INTO answers VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
    " revision = excluded.revision, body = excluded.body",
}
_FORGET = {
    "job": "DELETE FROM jobs WHERE name = ?",
    "task": "DELETE FROM tasks WHERE uid = ?",
    "volume": "DELETE FROM volumes WHERE name = ?",
    "node mark": "DELETE FROM node_marks WHERE node = ?",
    "token": "DELETE FROM tokens WHERE name = ?",
    "node key": "DELETE FROM node_keys WHERE node = ?",
}
_PRUNE = {
    "answers": "DELETE FROM answers WHERE request IN (SELECT request FROM answers"
    " ORDER BY revision DESC, rowid DESC LIMIT -1 OFFSET ?)",
    "ended_tasks": "DELETE FROM tasks WHERE uid IN (SELECT uid FROM tasks WHERE ended"
    " ORDER BY revision DESC, rowid DESC LIMIT -1 OFFSET ?)",
    "events": "DELETE FROM events WHERE id IN (SELECT id FROM events"
    " ORDER BY revision DESC, id DESC LIMIT -1 OFFSET ?)",
}
_REASONS = {  # by SQLite's primary error; what was wrong and what to do
    "SQLITE_FULL": "the disk is full; free some space",
    "SQLITE_READONLY": "it may not be written to; make it and its directory writable",
    "SQLITE_PERM": "it may not be opened; make it readable and writable",
    "SQLITE_CANTOPEN": "it cannot be opened; make its directory readable and writable",
    "SQLITE_BUSY": "another program holds it; close that",
    "SQLITE_LOCKED": "another program holds it; close that",
    "SQLITE_IOERR": "the disk is full or fails; free some space, or look at the machine's logs",
    "SQLITE_NOTADB": "it is not a database; move it away",
    "SQLITE_CORRUPT": "it is damaged; put a copy back in its place, or move it away:"
    " the containers that run will be listed for recovery",
}


class SqliteStore:
    """Implements `Store` in the file `path`; its directory is made if need be.

    Raises:
        StoreLocked: another process has it open.
        StoreError: it cannot be opened, is damaged, or is not a store of this version.
    """

    def __init__(self, path: str | Path, kept: Kept = KEPT) -> None:
        self.path = Path(path).absolute()
        self._kept = kept
        self._write_lock, self._read_lock = Lock(), Lock()
        self._since_prune: Counter[str] = Counter()
        self._aged_at = float("-inf")  # the newest event when old ones were last looked for
        self._is_new = self._discard = False
        with ExitStack() as open_things:
            self._open(open_things)
            self._open_things = open_things.pop_all()
        self._discard = False

    def _open(self, things: ExitStack) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            things.callback(FileLock(self.path.with_suffix(".lock")).release)
            self._is_new = self._discard = not self.path.exists()
            things.callback(self._remove_discarded)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.fchmod(file, 0o600)  # it holds environments, so it is nobody else's to read
            self._inode = _inode(os.fstat(file))
            os.close(file)
        except OSError as error:
            remedy = "free some space" if error.errno == ENOSPC else "make it writable"
            raise StoreError(
                f"cannot use {error.filename or self.path}: {error.strerror}; {remedy}"
            ) from error
        with self._explained("open"):
            self._writer = things.enter_context(closing(self._connect("rw")))
            self._prepare()
            self._reader = things.enter_context(closing(self._connect("ro")))

    def _connect(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{quote(str(self.path))}?mode={mode}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )

    def _prepare(self) -> None:
        check_ours(self._writer, str(self.path))
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA synchronous = FULL")
        self._writer.execute(f"PRAGMA journal_size_limit = {MAX_LOG_BYTES}")
        (health,) = self._writer.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise StoreError(f"cannot open {self.path}: {_REASONS['SQLITE_CORRUPT']} ({health})")
        form = form_of(self._writer)
        if 0 < form < len(STEPS):  # an older version of Cube can go on with the copy
            copy(self._writer, self.path.with_suffix(f".form-{form}{self.path.suffix}"))
        migrate(self._writer)

    def load(self) -> Saved:
        """See `Store.load`."""
        with self._write_lock, self._explained("read"):
            run = self._writer.execute
            return Saved(
                dict(run("SELECT key, value FROM meta")),
                {key: _body(body) for key, body in run("SELECT name, body FROM jobs")},
                {key: _body(body) for key, body in run("SELECT uid, body FROM tasks")},
                {row[0]: Volume(*row) for row in run("SELECT name, node, revision FROM volumes")},
                {key: _body(body) for key, body in run("SELECT request, body FROM answers")},
                {row[0]: _mark(*row) for row in run(_MARKS)},
                {key: _body(body) for key, body in run("SELECT name, body FROM tokens")},
                {key: _body(body) for key, body in run("SELECT node, body FROM node_keys")},
            )

    def save(self, records: Sequence[Record]) -> None:
        """See `Store.save`."""
        check_records(records)
        statements = [_statement(record) for record in records]
        added = Counter(kind for kind in map(_history, records) if kind)
        newest = max((r.at for r in records if isinstance(r, Event)), default=float("-inf"))
        with self._write_lock, self._explained("save to"):
            self._check_in_place()
            with transaction(self._writer):
                for sql, values in statements:
                    self._writer.execute(sql, values)
                pruned = self._prune(self._since_prune + added)
                aged_at = self._drop_aged(newest)
            self._aged_at = aged_at
            self._since_prune += added
            for kind in pruned:
                del self._since_prune[kind]

    def events(
        self, after_revision: int = 0, limit: int = 1000, job: str | None = None
    ) -> list[Event]:
        """See `Store.events`."""
        which = "" if job is None else "AND job = :job"
        select = "SELECT id, revision, body FROM events WHERE"  # then a fixed condition
        values: dict[str, Any] = {"after": after_revision, "limit": limit, "job": job}
        with self._read_lock, self._explained("read"):
            rows = self._reader.execute(
                f"{select} revision > :after {which} ORDER BY revision, id LIMIT :limit", values
            ).fetchall()
            if len(rows) == limit and rows:
                values["id"], values["revision"], _ = rows[-1]
                rows += self._reader.execute(
                    f"{select} revision = :revision AND id > :id {which} ORDER BY id", values
                ).fetchall()
            return [_body(body) for _, _, body in rows]

    def close(self) -> None:
        """See `Store.close`."""
        with self._write_lock, self._read_lock:
            self._open_things.close()

    def discard(self) -> None:
        """Close it, and remove it if this opening made it: what it was for did not begin."""
        self._discard = self._is_new
        self.close()

    def _remove_discarded(self) -> None:
        """Runs while the lock is held, whose file goes last."""
        if self._discard:
            beside = [self.path.with_name(self.path.name + end) for end in ("-wal", "-shm")]
            for file in (*beside, self.path, self.path.with_suffix(".lock")):
                file.unlink(missing_ok=True)

    def _prune(self, since: Counter[str]) -> list[str]:
        """Drop the oldest of what has grown by 1 %; which kinds that were."""
        grown = [kind for kind in _PRUNE if since[kind] > getattr(self._kept, kind) // 100]
        for kind in grown:
            self._writer.execute(_PRUNE[kind], (getattr(self._kept, kind),))
        return grown

    def _drop_aged(self, newest: float) -> float:
        """Drop the oldest events that are too old, if it is time to look; when that was last."""
        if newest - self._aged_at < AGE_SECONDS:
            return self._aged_at
        limit = self._kept.event_limit(newest)
        oldest = "SELECT id, body FROM events ORDER BY revision, id LIMIT ?"
        rows = self._writer.execute(oldest, (AGED_AT_ONCE,)).fetchall()
        aged = list(takewhile(lambda row: _body(row[1]).at < limit, rows))
        self._writer.executemany("DELETE FROM events WHERE id = ?", [(row[0],) for row in aged])
        return self._aged_at if len(aged) == AGED_AT_ONCE else newest  # the rest: next time

    def _check_in_place(self) -> None:
        """SQLite would go on writing into a file that nobody will ever find again."""
        try:
            in_place = _inode(os.stat(self.path)) == self._inode
        except FileNotFoundError:
            in_place = False
        if not in_place:
            raise StoreError(
                f"{self.path} was removed or replaced while in use; put it back, or start anew"
            )

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turn what SQLite, the disk or a strange body raise into a `StoreError`."""
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            primary = "_".join(name.split("_")[:2])
            reason = _REASONS.get(primary, f"{error}")
            raise StoreError(f"cannot {doing} {self.path}: {reason}") from error
        except (OSError, codec.CodecError) as error:
            raise StoreError(f"cannot {doing} {self.path}: {error}") from error


def _statement(record: Record) -> tuple[str, tuple[Any, ...]]:
    """What writes this record."""
    match record:
        case Task():
            body = codec.dumps(record)
            return _PUT[Task], (record.uid, record.revision, record.state.final, body)
        case Event():
            return _PUT[Event], (record.revision, record.job, codec.dumps(record))
        case Job():
            return _PUT[Job], (record.name, record.revision, codec.dumps(record))
        case Meta():
            return _PUT[Meta], (record.key, record.value)
        case Answer():
            return _PUT[Answer], (record.request, record.revision, codec.dumps(record))
        case Volume():
            return _PUT[Volume], (record.name, record.node, record.revision)
        case NodeMark():
            labels = codec.dumps(dict(record.labels))
            values = (record.node, record.draining, record.revision, labels, record.deadline)
            return _PUT[NodeMark], values
        case Token():
            return _PUT[Token], (record.name, codec.dumps(record))
        case NodeKey():
            return _PUT[NodeKey], (record.node, codec.dumps(record))
        case Forget():
            return _FORGET[record.kind], (record.key,)


def _history(record: Record) -> str | None:
    """Which bounded history it adds to."""
    match record:
        case Event():
            return "events"
        case Answer():
            return "answers"
        case Task() if record.state.final:
            return "ended_tasks"
        case _:
            return None


def _mark(node: str, draining: int, revision: int, labels: str, at: float | None) -> NodeMark:
    return NodeMark(node, bool(draining), revision, tuple(codec.loads(labels).items()), at)


def _body(text: str) -> Any:
    return codec.loads(text)


def _inode(stat: os.stat_result) -> tuple[int, int]:
    return (stat.st_dev, stat.st_ino)
