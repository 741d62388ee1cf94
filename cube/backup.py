"""Backups: everything that makes a manager this manager, in one archive, and back again.

An archive holds the store, the token, the authority's keys and the credentials of registries:
whoever has it has the cluster. It is a compressed tar file with `manifest.json` in front. What runs
is not in it, nor what engines keep: workers and their containers are found again by the restored
manager.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cube import __version__
from cube.state_dir import BESIDE, StateDir
from cube.store import Checked, FileLock, check, copy, opened

KIND = "cube-backup"
VERSION = 1
MANIFEST = "manifest.json"
STORE = "store.sqlite"
MAX_MANIFEST_BYTES = 1 << 20


class BackupError(Exception):
    """It cannot be done; the text's second line says what to do. `exit_code` tells kinds apart."""

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Backup:
    """What an archive holds."""

    cluster: str
    taken: str  # RFC 3339
    cube: str  # the version that made it
    files: tuple[str, ...]
    store: Checked


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put in place, and where that lies now which was there before."""

    backup: Backup
    aside: Path | None


def back_up(state: StateDir, archive: Path, now: float) -> Backup:
    """Write everything that the manager needs to `archive`; it may run meanwhile.

    Raises:
        BackupError: there is nothing to save, `archive` is there already or cannot be written.
        StoreError: the store cannot be read.
    """
    if archive.exists():
        raise BackupError(f"{archive} is there already.\nGive the backup another name.", 6)
    with _explained(archive), _beside(archive) as room:
        with opened(state.store_path) as store:
            _copy(store, room / STORE, archive)
        for name in BESIDE:
            if (state.path / name).exists():
                shutil.copyfile(state.path / name, room / name)
        found = check(room / STORE)
        names = [STORE, *(name for name in BESIDE if (room / name).exists())]
        taken = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
        manifest = {
            "kind": KIND,
            "version": VERSION,
            "cube": __version__,
            "cluster": found.cluster,
            "taken": taken,
            "files": {name: _digest(room / name) for name in names},
        }
        _pack(room, names, manifest, room / "archive")
        os.link(room / "archive", archive)  # unlike a rename, never over another file
        _sync(archive.parent)
        return Backup(found.cluster, taken, __version__, tuple(names), found)


def restore(state: StateDir, archive: Path, now: float) -> Restored:
    """Put what `archive` holds in the place of what is there, which is kept aside.

    Each file is the old or the new one at every moment; after a crash half way the same command
    does the rest.

    Raises:
        BackupError: it is no archive, damaged, or of a newer version.
        StoreLocked: a manager works on the directory.
        StoreError: the store in the archive cannot be used by this version, or is damaged.
    """
    with _explained(archive):
        state.prepare()
        lock = FileLock(state.store_path.with_suffix(".lock"))
        try:
            with _beside(state.store_path) as room:
                found = _unpack(archive, room)
                aside = _put_aside(state, now)
                for name in (*BESIDE, STORE):
                    if (room / name).exists():
                        (room / name).replace(state.path / name)
                    else:
                        (state.path / name).unlink(missing_ok=True)  # of another authority
                _sync(state.path)
        finally:
            lock.release()
        return Restored(found, aside)


def look_into(archive: Path) -> Backup:
    """Read all of an archive, and see that it is whole.

    Raises:
        BackupError, StoreError: as `restore`.
    """
    with _explained(archive), tempfile.TemporaryDirectory() as room:
        return _unpack(archive, Path(room))


def is_archive(path: Path) -> bool:
    """Does the file look like one, rather than like a store?"""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _copy(store: sqlite3.Connection, target: Path, archive: Path) -> None:
    """What fails for want of room is no fault of the store."""
    try:
        copy(store, target)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname != "SQLITE_FULL":
            raise
        raise BackupError(
            f"cannot write {archive}: the disk is full.\nFree some space, or name another place."
        ) from error


def _pack(room: Path, names: list[str], manifest: dict[str, Any], target: Path) -> None:
    file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "wb") as raw:
        with tarfile.open(fileobj=raw, mode="w:gz") as tar:
            body = json.dumps(manifest, indent=2).encode()
            head = tarfile.TarInfo(MANIFEST)
            head.size, head.mode = len(body), 0o600
            tar.addfile(head, io.BytesIO(body))
            for name in names:
                member = tarfile.TarInfo(name)
                member.size, member.mode = (room / name).stat().st_size, 0o600
                with (room / name).open("rb") as content:
                    tar.addfile(member, content)
        raw.flush()
        os.fsync(raw.fileno())


def _unpack(archive: Path, room: Path) -> Backup:
    """Have the files of an archive in `room`, once it is seen that they are all there and whole."""
    with tarfile.open(archive, "r:gz") as tar:
        manifest = _manifest(tar, archive)
        for name, digest in manifest["files"].items():
            member = tar.getmember(name)
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                raise BackupError(f"{archive} is damaged: {name}.\nUse another backup.")
            _write(room / name, content)
            if _digest(room / name) != digest:
                raise BackupError(f"{archive} is damaged: {name} is not what it was.\nUse another.")
    found = check(room / STORE)
    names = tuple(manifest["files"])
    return Backup(manifest["cluster"], manifest["taken"], manifest["cube"], names, found)


def _manifest(tar: tarfile.TarFile, archive: Path) -> dict[str, Any]:
    """What stands in front, if it is a backup that this version can read."""
    first = tar.next()
    content = None
    if first is not None and first.name == MANIFEST and first.size <= MAX_MANIFEST_BYTES:
        content = tar.extractfile(first)
    manifest = None if content is None else json.loads(content.read())
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise BackupError(f"{archive} is no backup of Cube.\nName another file.")
    if manifest.get("version") != VERSION:
        raise BackupError(
            f"{archive} has form {manifest.get('version')}, and this version reads {VERSION}.\n"
            f"It was made by Cube {manifest.get('cube')}: use that."
        )
    names = set(manifest["files"])
    if STORE not in names or not names <= {STORE, *BESIDE}:
        raise BackupError(f"{archive} holds other files than a backup does.\nUse another.")
    return manifest


def _put_aside(state: StateDir, now: float) -> Path | None:
    """Give what is there a second name in a directory of its own; None: there is nothing."""
    store = state.store_path
    beside = [store.with_name(store.name + end) for end in ("-wal", "-shm")]
    present = [f for f in (store, *beside, *(state.path / n for n in BESIDE)) if f.exists()]
    if not present:
        return None
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S")
    aside = Path(tempfile.mkdtemp(prefix=f"before-restore-{moment}-", dir=state.path))
    for file in present:
        os.link(file, aside / file.name)
    _sync(aside)
    for file in beside:  # a log of the old store would be taken for one of the new
        file.unlink(missing_ok=True)
    _sync(state.path)
    return aside


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A directory for its owner only, on the disk of `target`."""
    with tempfile.TemporaryDirectory(prefix=".cube-", dir=target.absolute().parent) as room:
        yield Path(room)


@contextmanager
def _explained(archive: Path) -> Iterator[None]:
    """Turn what reading and writing raise into a `BackupError`."""
    try:
        yield
    except (tarfile.TarError, EOFError, KeyError, TypeError, ValueError) as error:
        raise BackupError(f"{archive} is no backup, or damaged: {error}.\nUse another.") from error
    except OSError as error:
        where = error.filename or archive
        raise BackupError(
            f"cannot use {where}: {error.strerror or error}.\nFree some space, make it"
            " readable and writable, or name another place."
        ) from error


def _write(target: Path, content: Any) -> None:
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        shutil.copyfileobj(content, file)
        file.flush()
        os.fsync(file.fileno())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
