"""Backups of the manager's state: whole, secret, refused where they do not fit, moved elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from stat import S_IMODE
from typing import Any

import pytest

from cube.backup import MANIFEST, BackupError, back_up, is_archive, look_into, restore
from cube.cli import main
from cube.registries import Credential, Registries
from cube.spec import TaskSpec
from cube.state_dir import StateDir
from cube.store import SqliteStore, StoreError, StoreLocked, check
from cube.store.schema import STEPS
from cube.task import Event, Meta, Task

NOW = 1_800_000_000.0


def a_state(path: Path, epoch: int = 3) -> StateDir:
    """A directory as a manager leaves it behind."""
    state = StateDir(path)
    state.prepare()
    with closing(SqliteStore(state.store_path)) as store:
        fill(store, epoch)
    state.make_token()
    state.authority_path.write_text("the key of the authority\n")
    state.authority_path.chmod(0o600)
    return state


def fill(store: SqliteStore, epoch: int) -> None:
    task = Task("shop/web/1", 1, "shop", "web", "1", 1, TaskSpec("web", "busybox"))
    meta = (Meta("cluster", "c0ffee"), Meta("epoch", str(epoch)), Meta("revision", "9"))
    store.save([*meta, task, Event(9, 0.5, "task.placed", "it is placed")])


def epoch_of(state: StateDir) -> int:
    return check(state.store_path).epoch


def contents(path: Path) -> dict[str, bytes]:
    files = (f for f in path.rglob("*") if f.is_file() and f.suffix != ".lock")
    return {str(f.relative_to(path)): f.read_bytes() for f in files}


def test_a_backup_is_made_while_the_manager_writes_and_is_for_its_owner_only(tmp_path):
    state, archive = a_state(tmp_path / "state"), tmp_path / "b.tar.gz"
    with closing(SqliteStore(state.store_path)) as store:
        store.save([Meta("epoch", "4")])  # in the log beside the file, not in the file
        made = back_up(state, archive, NOW)
        store.save([Meta("epoch", "5")])
        assert check(state.store_path).epoch == 5
    assert S_IMODE(archive.stat().st_mode) == 0o600
    assert (made.cluster, made.taken, made.store.epoch) == (
        "c0ffee",
        "2027-01-15T08:00:00+00:00",
        4,
    )
    assert made.files == ("store.sqlite", "token", "ca.pem")
    assert (made.store.rows["tasks"], made.store.rows["events"]) == (1, 1)
    assert look_into(archive) == made
    assert sorted(f.name for f in tmp_path.iterdir()) == ["b.tar.gz", "state"]  # nothing else


def test_a_manager_moves_to_another_directory_with_its_identity(tmp_path):
    old, archive = a_state(tmp_path / "old"), tmp_path / "b.tar.gz"
    Registries(old.registries_path).put("registry.example", Credential("ci", "s3cret"))
    back_up(old, archive, NOW)
    new = StateDir(tmp_path / "elsewhere" / "new")
    done = restore(new, archive, NOW)
    assert done.aside is None
    assert new.token() == old.token()
    assert new.authority_path.read_text() == old.authority_path.read_text()
    assert Registries(new.registries_path).find("registry.example") == Credential("ci", "s3cret")
    files = [f for f in new.path.iterdir() if f.suffix != ".lock"]
    assert {S_IMODE(f.stat().st_mode) for f in files} == {0o600}
    with closing(SqliteStore(new.store_path)) as store:
        saved = store.load()
    assert saved.meta["cluster"] == "c0ffee"  # not what the new directory's name would give
    assert list(saved.tasks) == ["shop/web/1@1"]


def test_what_was_there_is_kept_aside(tmp_path):
    state, archive = a_state(tmp_path / "state"), tmp_path / "b.tar.gz"
    back_up(state, archive, NOW)
    with closing(SqliteStore(state.store_path)) as store:
        store.save([Meta("epoch", "8")])
    (state.path / "manager.pem").write_text("made since\n")
    done = restore(state, archive, NOW)
    assert epoch_of(state) == 3
    assert not state.manager_path.exists()  # it was signed by another authority, maybe
    assert done.aside is not None
    assert done.aside.name.startswith("before-restore-20270115T080000-")
    assert epoch_of(StateDir(done.aside)) == 8
    assert (done.aside / "manager.pem").read_text() == "made since\n"
    assert S_IMODE(done.aside.stat().st_mode) == 0o700


def test_a_log_that_a_crash_left_is_not_taken_for_the_restored_stores(tmp_path):
    """Of a manager that was killed, part of the store is in the file beside it."""
    state, archive = a_state(tmp_path / "state"), tmp_path / "b.tar.gz"
    back_up(state, archive, NOW)
    with closing(SqliteStore(state.store_path)) as store:
        store.save([Meta("epoch", "8")])
        shutil.copytree(state.path, tmp_path / "killed")
    killed = StateDir(tmp_path / "killed")
    assert killed.store_path.with_name("store.sqlite-wal").stat().st_size > 0
    done = restore(killed, archive, NOW)
    assert epoch_of(killed) == 3
    assert done.aside is not None
    assert epoch_of(StateDir(done.aside)) == 8


def test_a_restore_waits_for_no_manager_and_changes_nothing_under_it(tmp_path):
    state, archive = a_state(tmp_path / "state"), tmp_path / "b.tar.gz"
    back_up(state, archive, NOW)
    with closing(SqliteStore(state.store_path)):
        before = contents(state.path)
        with pytest.raises(StoreLocked, match="in use by process"):
            restore(state, archive, NOW)
        assert contents(state.path) == before


def damaged(archive: Path, how: str) -> None:
    """Do to an archive what disks, people and newer versions do."""
    room = archive.parent / "room"
    with tarfile.open(archive) as tar:
        tar.extractall(room, filter="data")
    manifest = json.loads((room / MANIFEST).read_text())
    match how:
        case "cut off":
            archive.write_bytes(archive.read_bytes()[:-200])
            return
        case "not an archive":
            archive.write_bytes(b"Dear diary")
            return
        case "another archive":
            manifest["kind"] = "diary"
        case "of a newer form":
            manifest |= {"version": 2, "cube": "9.9"}
        case "with a file outside":
            manifest["files"]["../token"] = ""
        case "another token":
            (room / "token").write_text("mine\n")
        case "files that are no names":
            manifest["files"] = 7
        case "a newer store":
            with closing(sqlite3.connect(room / "store.sqlite")) as newer:
                newer.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
            shutil.copy(room / "store.sqlite", room / "changed")
        case "a torn record":
            with closing(sqlite3.connect(room / "store.sqlite")) as torn:
                torn.execute("UPDATE tasks SET body = '{'")
                torn.commit()
    if how in ("a newer store", "a torn record"):  # and yet what its manifest says
        digest = hashlib.sha256((room / "store.sqlite").read_bytes()).hexdigest()
        manifest["files"]["store.sqlite"] = digest
    (room / MANIFEST).write_text(json.dumps(manifest))
    with tarfile.open(archive, "w:gz") as tar:
        for name in (MANIFEST, "store.sqlite", "token", "ca.pem"):
            tar.add(room / name, name)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("cut off", "no backup, or damaged"),
        ("not an archive", "no backup, or damaged"),
        ("another archive", "is no backup of Cube"),
        ("of a newer form", "It was made by Cube 9.9: use that"),
        ("with a file outside", "other files than a backup does"),
        ("another token", "token is not what it was"),
        ("files that are no names", "no backup, or damaged"),
        ("a newer store", "was written by a newer Cube"),
        ("a torn record", r"row 1 of tasks: .*; restore a backup"),
    ],
)
def test_what_cannot_be_restored_leaves_everything_as_it_was(tmp_path, how, told):
    state, archive = a_state(tmp_path / "state"), tmp_path / "b.tar.gz"
    back_up(state, archive, NOW)
    damaged(archive, how)
    with closing(SqliteStore(state.store_path)) as store:
        store.save([Meta("epoch", "8")])
    before = contents(state.path)
    with pytest.raises((BackupError, StoreError), match=told):
        restore(state, archive, NOW)
    assert contents(state.path) == before


@pytest.fixture
def full_disk(tmp_path) -> Iterator[Path]:
    """A disk that has room for next to nothing."""
    place = tmp_path / "full"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", place], capture_output=True
    )
    if os.geteuid() != 0 or mounted.returncode != 0:
        pytest.skip("only root may mount")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_told_and_leaves_nothing_behind(tmp_path, full_disk):
    state = a_state(tmp_path / "state")
    with pytest.raises(BackupError, match=r"the disk is full.\nFree some space"):
        back_up(state, full_disk / "b.tar.gz", NOW)
    assert list(full_disk.iterdir()) == []
    check(state.store_path)


def test_check_finds_damage_in_pages_and_in_records(tmp_path):
    state = a_state(tmp_path / "state")
    with closing(sqlite3.connect(state.store_path)) as torn:
        torn.execute("""UPDATE events SET body = '{"$": "Robot"}'""")
        torn.commit()
    with pytest.raises(StoreError, match="row 1 of events: unknown kind of value 'Robot'"):
        check(state.store_path)
    with state.store_path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xa5" * 4096 * 4)
    with pytest.raises(StoreError, match=r"damaged|malformed"):
        check(state.store_path)


def test_the_commands(tmp_path, capsys, monkeypatch):
    state, archive = a_state(tmp_path / "state"), tmp_path / "b.tar.gz"
    monkeypatch.setenv("CUBE_STATE_DIR", str(state.path))

    def cube(*args: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["store", *args])
        return (code, *capsys.readouterr())

    code, out, _ = cube("backup", str(archive))
    assert (code, is_archive(archive)) == (0, True)
    assert f"cluster c0ffee, form {len(STEPS)}, 0 jobs, 1 tasks, 1 events, token, ca.pem" in out
    assert "it holds secrets" in out
    assert state.token() not in out
    code, _, err = cube("backup", str(archive))
    assert (code, "is there already" in err) == (6, True)
    for checked in ([], [str(archive)], [str(state.store_path)]):
        code, out, _ = cube("check", *checked)
        assert (code, "is whole: cluster c0ffee" in out) == (0, True)
    assert json.loads(cube("check", "-o", "json")[1])["rows"]["tasks"] == 1
    with closing(SqliteStore(state.store_path)):
        code, _, err = cube("restore", str(archive))
        assert (code, "stop the manager first" in err) == (6, True)
    found: Any = json.loads(cube("restore", str(archive), "-o", "json")[1])
    assert (found["cluster"], Path(found["aside"]).parent) == ("c0ffee", state.path)
    assert "what was there is in" in cube("restore", str(archive))[1]
    archive.write_text("")
    code, _, err = cube("restore", str(archive))
    assert (code, "no backup, or damaged" in err) == (1, True)
    monkeypatch.setenv("CUBE_STATE_DIR", str(tmp_path / "nowhere"))
    code, _, err = cube("check")
    assert (code, "there is no store" in err, "--state-dir" in err) == (5, True, True)
    assert cube("backup", str(tmp_path / "c"))[0] == 5
    assert not (tmp_path / "nowhere").exists()
