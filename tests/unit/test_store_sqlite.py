"""The durable store against kill -9, full and read-only disks, damage, and second processes."""

import contextlib
import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from stat import S_IMODE

import pytest

from cube.spec import TaskSpec
from cube.store import SqliteStore, StoreError, StoreLocked, sqlite
from cube.store.lock import FileLock
from cube.store.schema import APPLICATION_ID, STEPS
from cube.task import Event, Meta, NodeMark, Task

SPEC = TaskSpec("web", "busybox")
WRITER = """
import sys
from cube.spec import TaskSpec
from cube.store import SqliteStore
from cube.task import Event, Meta, Task
store = SqliteStore(sys.argv[1])
first = int(store.load().meta.get("revision", 0)) + 1
for n in range(first, first + 100_000):
    task = Task(f"shop/web/{n}", 1, "shop", "web", str(n), 1, TaskSpec("web", "busybox"))
    store.save([Meta("revision", str(n)), task, Event(n, 0.0, "made", "")])
    print(n, flush=True)
"""


def a_task(index: int) -> Task:
    return Task(f"shop/web/{index}", 1, "shop", "web", str(index), 1, SPEC)


def mode_of(path: Path) -> int:
    return S_IMODE(path.stat().st_mode)


def test_what_was_saved_is_there_after_closing(tmp_path: Path) -> None:
    path = tmp_path / "state" / "cube.db"
    for n in (1, 2):
        with closing(SqliteStore(path)) as store:
            assert store.load().meta.get("start", "0") == str(n - 1)
            store.save([Meta("start", str(n)), Event(n, 0.5, "started", "")])
            assert [event.revision for event in store.events()] == list(range(1, n + 1))


def test_the_state_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "state" / "cube.db"
    before = os.umask(0)
    try:
        with closing(SqliteStore(path)) as store:
            store.save([Meta("a", "b")])
            assert mode_of(path.parent) == 0o700
            assert {mode_of(file) for file in path.parent.iterdir()} == {0o600}
    finally:
        os.umask(before)


def test_kill_9_leaves_every_save_that_returned_and_no_half_one(tmp_path: Path) -> None:
    path = tmp_path / "cube.db"
    told = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(20):
                told = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            told = max([told, *map(int, writer.stdout.read().split())])
        with closing(SqliteStore(path)) as store:
            saved = store.load()
            revision = int(saved.meta["revision"])
            assert revision in (told, told + 1)  # the last may be saved and not yet told
            assert len(saved.tasks) == revision
            assert [e.revision for e in store.events()] == list(range(1, revision + 1))
        told = revision


def test_a_second_process_is_told_who_holds_the_store(tmp_path: Path) -> None:
    path = tmp_path / "cube.db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        try:
            assert writer.stdout is not None
            writer.stdout.readline()
            with pytest.raises(StoreLocked, match=f"in use by process {writer.pid}; stop") as info:
                SqliteStore(path)
            assert info.value.pid == writer.pid
        finally:
            writer.kill()
    SqliteStore(path).close()


def test_the_same_process_cannot_open_it_twice_either(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "cube.db")):
        with pytest.raises(StoreLocked, match=f"process {os.getpid()}"):
            SqliteStore(tmp_path / "cube.db")
        (tmp_path / "cube.lock").write_text("")
        with pytest.raises(StoreLocked, match="in use by another process"):
            SqliteStore(tmp_path / "cube.db")


def test_a_store_that_was_made_for_nothing_is_discarded(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "cube.db")
    store.save([Meta("epoch", "1")])
    store.discard()
    assert list(tmp_path.iterdir()) == []
    SqliteStore(tmp_path / "cube.db").close()


def test_a_store_that_was_there_before_is_never_discarded(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "cube.db")) as store:
        store.save([Meta("epoch", "1")])
    SqliteStore(tmp_path / "cube.db").discard()
    with closing(SqliteStore(tmp_path / "cube.db")) as store:
        assert store.load().meta == {"epoch": "1"}


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_anew(tmp_path: Path, monkeypatch) -> None:
    """Its holder discards the store between our opening the file and our locking it."""
    lock = tmp_path / "cube.lock"
    flock, removals = fcntl.flock, [lock]

    def late(file: int, how: int) -> None:
        for removed in removals:
            removed.unlink()
        removals.clear()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    held = FileLock(lock)
    with pytest.raises(StoreLocked):
        FileLock(lock)
    held.release()


def mount(directory: Path, options: str) -> Callable[[], object]:
    """Mount a small memory disk there; how to take it away again."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("only root may mount")
    return lambda: subprocess.run(["umount", str(directory)], check=True)


def fill(directory: Path) -> Path:
    """Leave no room on its disk; the file that took it."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return filler


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    unmount = mount(tmp_path / "small", "size=1m")
    yield tmp_path / "small"
    unmount()


def test_a_full_disk_is_an_error_and_then_none(small_disk: Path) -> None:
    with closing(SqliteStore(small_disk / "cube.db")) as store:
        store.save([a_task(0)])
        filler = fill(small_disk)
        with pytest.raises(StoreError, match=r"cannot save to .*cube\.db: the disk is full"):
            store.save([a_task(n) for n in range(1, 400)])
        assert list(store.load().tasks) == [a_task(0).uid]
        filler.unlink()
        store.save([a_task(n) for n in range(1, 100)])
        assert len(store.load().tasks) == 100


def test_a_new_store_on_a_full_disk_is_an_error(small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(StoreError, match="free some space"):
        SqliteStore(small_disk / "cube.db")


def test_a_database_at_its_size_limit_refuses_whole_saves(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "cube.db")) as store:
        store.save([a_task(0)])
        (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
        store._writer.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreError, match="the disk is full; free some space"):
            store.save([a_task(n) for n in range(1, 50)])
        assert list(store.load().tasks) == [a_task(0).uid]
        store._writer.execute("PRAGMA max_page_count = 100000")
        store.save([a_task(1)])
        assert len(store.load().tasks) == 2


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "read-only"
    undo: Callable[[], object]
    if os.geteuid() == 0:  # permissions do not stop root; a read-only disk does
        undo = mount(directory, "ro,size=64k")
    else:
        directory.mkdir(mode=0o500)
        undo = partial(directory.chmod, 0o700)
    yield directory
    undo()


@pytest.mark.parametrize("below", ["cube.db", "state/cube.db"])
def test_a_read_only_directory_is_an_error(read_only: Path, below: str) -> None:
    with pytest.raises(StoreError, match=r"cannot use .*read-only.*; make it writable"):
        SqliteStore(read_only / below)
    assert list(read_only.iterdir()) == []


def test_a_file_in_the_place_of_the_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StoreError, match=r"cannot use .*state.*; make it writable"):
        SqliteStore(tmp_path / "state" / "cube.db")


def test_what_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "cube.db"
    path.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(StoreError, match="it is not a database; move it away"):
        SqliteStore(path)
    assert path.read_bytes() == b"Dear diary, " * 1000


def test_another_programs_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "cube.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE diary (day TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program's database"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cube.db"
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    with pytest.raises(StoreError, match=rf"newer Cube \(form {len(STEPS) + 1}, this one knows"):
        SqliteStore(path)


def test_a_store_of_the_first_form_is_brought_to_the_present_one(tmp_path: Path) -> None:
    path = tmp_path / "cube.db"
    with closing(sqlite3.connect(path)) as older:
        for statement in STEPS[0]:
            older.execute(statement)
        older.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        older.execute("PRAGMA user_version = 1")
        older.execute("INSERT INTO meta VALUES ('epoch', '7')")
        older.commit()
    with closing(SqliteStore(path)) as store:
        store.save([NodeMark("node-1", True, 1)])
        assert store.load().meta == {"epoch": "7"}
        assert store.load().node_marks == {"node-1": NodeMark("node-1", True, 1)}
    kept = tmp_path / "cube.form-1.db"  # for the version that wrote it
    assert mode_of(kept) == 0o600
    with closing(sqlite3.connect(kept)) as copied:
        assert copied.execute("PRAGMA user_version").fetchone() == (1,)
        assert copied.execute("SELECT * FROM meta").fetchall() == [("epoch", "7")]


def test_no_form_is_left_behind_without_a_copy_of_it(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "cube.db"
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as older:
        older.execute(f"PRAGMA user_version = {len(STEPS) - 1}")
    (tmp_path / f".cube.form-{len(STEPS) - 1}.db.fresh").mkdir()  # nothing can be written there
    with pytest.raises(StoreError, match="cannot open"):
        SqliteStore(path)
    with closing(sqlite3.connect(path)) as unchanged:
        assert unchanged.execute("PRAGMA user_version").fetchone() == (len(STEPS) - 1,)


def test_many_events_that_are_too_old_go_over_several_saves(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sqlite, "AGED_AT_ONCE", 3)
    with closing(SqliteStore(tmp_path / "cube.db")) as store:
        store.save([Event(n, 0.0, "made", "") for n in range(1, 8)])
        left = []
        for n in range(8, 12):
            store.save([Event(n, 1e9, "made", "")])
            left.append(sum(event.at == 0.0 for event in store.events()))
    assert left == [4, 1, 0, 0]


def test_a_store_of_the_present_form_is_not_copied(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "cube.db").close()
    SqliteStore(tmp_path / "cube.db").close()
    assert not list(tmp_path.glob("*form*"))


def test_an_interrupted_first_start_is_taken_up_again(tmp_path: Path) -> None:
    path = tmp_path / "cube.db"
    path.touch()
    with closing(SqliteStore(path)) as store:
        (application,) = store._writer.execute("PRAGMA application_id").fetchone()
        assert application == APPLICATION_ID


def test_a_damaged_file_is_found_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "cube.db"
    with closing(SqliteStore(path)) as store:
        store.save([a_task(n) for n in range(200)])
    with path.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xa5" * 4096 * 20)
    with pytest.raises(StoreError, match="it is damaged; put a copy back"):
        SqliteStore(path)


def test_a_record_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "cube.db")) as store:
        store.save([a_task(0)])
        store._writer.execute("""UPDATE tasks SET body = '{"$": "Robot"}'""")
        with pytest.raises(StoreError, match=r"cannot read .*'Robot'; was it written by a newer"):
            store.load()


def test_a_store_that_was_removed_while_in_use_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "cube.db"
    with closing(SqliteStore(path)) as store:
        path.rename(tmp_path / "elsewhere.db")
        with pytest.raises(StoreError, match="removed or replaced while in use"):
            store.save([a_task(0)])
        path.touch()
        with pytest.raises(StoreError, match="removed or replaced while in use"):
            store.save([a_task(0)])


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "cube.db")
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.save([a_task(0)])
    with pytest.raises(StoreError, match="closed"):
        store.events()


def test_a_value_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "cube.db")) as store:
        with pytest.raises(UnicodeEncodeError):
            store.save([a_task(0), Meta("half", "\ud800")])
        assert store.load().tasks == {}
        store.save([a_task(1)])
