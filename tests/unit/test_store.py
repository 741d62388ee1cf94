"""What every store does: one suite over both."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cube.spec import JobSpec, TaskSpec
from cube.store import Kept, MemoryStore, SqliteStore, Store
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
    State,
    Task,
    Token,
    Volume,
)

SPEC = TaskSpec("web", "busybox", environment=(("COLOUR", "blue"),))
NOTHING = Saved({}, {}, {}, {}, {})
Open = Callable[[Kept], Store]


def a_task(index: int, revision: int, state: State = State.RUNNING) -> Task:
    return Task(
        f"shop/web/{index}", 1, "shop", "web", str(index), 1, SPEC, state, revision=revision
    )


def an_event(revision: int, job: str = "shop", text: str = "") -> Event:
    return Event(revision, revision / 2, "task.placed", text, job=job)


def an_answer(number: int) -> Answer:
    return Answer(f"r{number}", number, "created", "made", body={"tasks": [1, None, "x"]})


JOB = Job("shop", JobSpec("shop", (SPEC,)), 1, 1, 1)


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the store under test; it is closed afterwards."""
    opened: list[Store] = []

    def open_it(kept: Kept) -> Store:
        if request.param == "memory":
            opened.append(MemoryStore(kept))
        else:
            opened.append(SqliteStore(tmp_path / f"{len(opened)}.db", kept))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Open) -> Store:
    return open_store(Kept())


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.load() == NOTHING
    assert store.events() == []


def test_one_record_of_every_kind_comes_back(store: Store) -> None:
    task, answer, volume = a_task(0, 3), an_answer(4), Volume("shop_data", "node-1", 5)
    mark = NodeMark("node-1", True, 7)
    token, key = Token("ann", "full", "ab", 1.0, 2.5), NodeKey("node-1", "ef", "cd", 1.0)
    store.save([Meta("epoch", "1"), JOB, task, an_event(6), answer, volume, mark, token, key])
    assert store.load() == Saved(
        {"epoch": "1"},
        {"shop": JOB},
        {task.uid: task},
        {"shop_data": volume},
        {"r4": answer},
        {"node-1": mark},
        {"ann": token},
        {"node-1": key},
    )
    assert store.events() == [an_event(6)]


def test_tokens_and_node_keys_can_be_taken_back(store: Store) -> None:
    token, key = Token("ann", "read", "ab", 1.0), NodeKey("node-1", "ef", "cd", 1.0)
    store.save([token, key, replace(token, name="bob"), replace(key, node="node-2")])
    store.save([replace(token, scope="full"), replace(key, digest="gh")])
    store.save([Forget("token", "bob", 1), Forget("node key", "node-2", 1)])
    saved = store.load()
    assert saved.tokens == {"ann": replace(token, scope="full")}
    assert saved.node_keys == {"node-1": replace(key, digest="gh")}


def test_the_latest_record_of_a_key_wins(store: Store) -> None:
    store.save([a_task(0, 1), Meta("epoch", "1"), Volume("v", "a", 1), JOB, an_answer(1)])
    mark = NodeMark("a", False, 2, (("disk", "ssd"), ("zone", "a")), 12.5)
    store.save([NodeMark("a", True, 1), mark, NodeMark("b", True, 2)])
    store.save([Forget("node mark", "b", 3)])
    later = a_task(0, 2, State.STOPPED)
    job, answer = replace(JOB, stopped=True, revision=2), replace(an_answer(1), revision=2)
    store.save([later, Meta("epoch", "2"), Volume("v", "b", 2), job, answer])
    saved = store.load()
    assert saved.tasks == {later.uid: later}
    assert saved.meta == {"epoch": "2"}
    assert saved.volumes["v"].node == "b"
    assert saved.jobs == {"shop": job}
    assert saved.answers == {"r1": answer}
    assert saved.node_marks == {"a": mark}


def test_records_are_taken_in_order(store: Store) -> None:
    task = a_task(0, 3)
    store.save([a_task(0, 1), Forget("task", task.uid, 2), task, Volume("v", "a", 1)])
    store.save([Volume("v", "b", 2), Forget("volume", "v", 3), JOB, Forget("job", "shop", 4)])
    assert store.load() == replace(NOTHING, tasks={task.uid: task})


def test_forgetting_what_is_not_there_is_harmless(store: Store) -> None:
    store.save([Forget("job", "x", 1), Forget("task", "x", 1), Forget("volume", "x", 1)])
    assert store.load() == NOTHING


def test_saving_nothing_is_harmless(store: Store) -> None:
    store.save([])
    assert store.load() == NOTHING


def test_what_is_loaded_is_the_callers_own(store: Store) -> None:
    store.save([a_task(0, 1)])
    store.load().tasks.clear()
    assert len(store.load().tasks) == 1


def test_what_is_no_record_is_refused_before_anything_changes(store: Store) -> None:
    with pytest.raises(TypeError, match="a str is not a record"):
        store.save([JOB, "JOB"])  # type: ignore[list-item]
    assert store.load() == NOTHING


def test_events_come_by_revision_after_one_and_of_one_job(store: Store) -> None:
    store.save([an_event(2), an_event(3, "other"), an_event(5)])
    store.save([an_event(4)])
    assert [e.revision for e in store.events()] == [2, 3, 4, 5]
    assert [e.revision for e in store.events(3)] == [4, 5]
    assert [e.revision for e in store.events(0, job="shop")] == [2, 4, 5]
    assert [e.revision for e in store.events(0, 2)] == [2, 3]
    assert [e.revision for e in store.events(0, 2, "shop")] == [2, 4]
    assert store.events(5) == []
    assert store.events(job="nobody") == []


def test_events_of_one_revision_are_never_torn(store: Store) -> None:
    store.save([an_event(1, text=str(n)) for n in range(4)] + [an_event(2)])
    page = store.events(0, 2)
    assert [e.text for e in page] == ["0", "1", "2", "3"]
    assert store.events(page[-1].revision, 2) == [an_event(2)]


def test_old_history_is_dropped_and_running_work_is_not(open_store: Open) -> None:
    store = open_store(Kept(answers=3, ended_tasks=2, events=4))
    for n in range(1, 11):
        ended = n % 2 == 0
        task = a_task(n, n, State.COMPLETED if ended else State.RUNNING)
        store.save([task, an_event(n), an_answer(n)])
    saved = store.load()
    assert sorted(saved.answers) == ["r10", "r8", "r9"]
    assert [e.revision for e in store.events()] == [7, 8, 9, 10]
    ended_at = sorted(t.revision for t in saved.tasks.values() if t.state.final)
    assert ended_at == [8, 10]
    assert sum(not t.state.final for t in saved.tasks.values()) == 5


def test_events_that_are_too_old_are_dropped_in_the_course_of_an_hour(open_store: Open) -> None:
    day = 86400.0
    store = open_store(Kept(event_days=30.0))
    for n, at in enumerate([0.0, 0.5 * day, 1.0 * day, 30.25 * day], 1):
        store.save([replace(an_event(n), at=at)])
    assert [e.revision for e in store.events()] == [2, 3, 4]
    store.save([replace(an_event(5), at=30.5 * day + 1800)])  # `2` is too old by now
    assert [e.revision for e in store.events()] == [3, 4, 5]
    store.save([replace(an_event(6), at=31.01 * day), a_task(0, 7)])
    assert [e.revision for e in store.events()] == [4, 5, 6]
    store.save([replace(an_event(7), at=31.01 * day + 60)])  # an hour has yet to pass
    store.save([replace(an_event(8), at=90.0 * day)])
    assert [e.revision for e in store.events()] == [8]
    assert len(store.load().tasks) == 1


def test_history_may_outgrow_its_bound_by_one_percent(open_store: Open) -> None:
    store = open_store(Kept(events=200))
    sizes = []
    for n in range(1, 211):
        store.save([an_event(n)])
        sizes.append(len(store.events()))
    assert max(sizes) <= 202
    assert sizes[-1] >= 200
    assert store.events()[-1].revision == 210


def test_events_are_read_while_others_are_written(store: Store) -> None:
    """Whatever a reader sees is a beginning of what was saved, and whole saves only."""

    def read(_: int) -> list[int]:
        return [event.revision for event in store.events(limit=10_000)]

    with ThreadPoolExecutor(3) as pool:
        seen = pool.map(read, range(60))
        for n in range(1, 60):
            store.save([an_event(n), an_event(n)])
        for revisions in seen:
            assert revisions == [n for n in range(1, len(revisions) // 2 + 1) for _ in range(2)]


KEYS = st.integers(0, 3)
RECORDS: st.SearchStrategy[Record] = st.one_of(
    st.builds(a_task, KEYS, st.integers(1, 9), st.sampled_from(State)),
    st.builds(lambda k, v: Meta(f"k{k}", v), KEYS, st.text(max_size=3)),
    st.builds(lambda k, n: Volume(f"v{k}", n, 1), KEYS, st.sampled_from("ab")),
    st.builds(lambda k, at: Token(f"t{k}", "read", "ab", 1.0, at), KEYS, st.just(2.5) | st.none()),
    st.builds(lambda k, key: NodeKey(f"n{k}", f"{key}", "cd", 1.0), KEYS, KEYS),
    st.builds(lambda k, on: NodeMark(f"n{k}", on, 1), KEYS, st.booleans()),
    st.builds(an_event, st.integers(1, 9), st.sampled_from(["shop", ""]), st.text(max_size=3)),
    st.builds(an_answer, KEYS),
    st.builds(lambda k: Forget("task", f"shop/web/{k}@1", 1), KEYS),
    st.builds(lambda k: Forget("volume", f"v{k}", 1), KEYS),
    st.builds(lambda k: Forget("token", f"t{k}", 1), KEYS),
    st.builds(lambda k: Forget("node key", f"n{k}", 1), KEYS),
    st.just(JOB),
    st.just(Forget("job", "shop", 1)),
)


@settings(max_examples=40)
@given(batches=st.lists(st.lists(RECORDS, max_size=6), max_size=6))
def test_both_stores_agree(
    batches: list[list[Record]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    memory, disk = MemoryStore(), SqliteStore(tmp_path_factory.mktemp("store") / "cube.db")
    try:
        for batch in batches:
            memory.save(batch)
            disk.save(batch)
            assert disk.load() == memory.load()
            for after, limit, job in [(0, 100, None), (3, 2, None), (0, 2, "shop")]:
                assert disk.events(after, limit, job) == memory.events(after, limit, job)
    finally:
        disk.close()


def test_a_broken_memory_store_says_so_and_loses_nothing() -> None:
    store = MemoryStore()
    store.save([JOB])
    store.broken = "the disk is full"
    for use in (lambda: store.save([a_task(0, 1)]), store.load, store.events):
        with pytest.raises(Exception, match="the disk is full"):
            use()
    store.broken = ""
    assert store.load() == replace(NOTHING, jobs={"shop": JOB})
