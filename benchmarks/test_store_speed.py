"""What one task costs to write, to read and to keep."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from cube import codec
from cube.spec import TaskSpec
from cube.store import MemoryStore, SqliteStore, Store
from cube.task import Event, Record, Task

SPEC = TaskSpec("web", "busybox", command=("sleep", "60"), environment=(("COLOUR", "blue"),))
BATCH = 100


def a_task(index: int, revision: int = 1) -> Task:
    name = f"shop/web/{index}"
    return Task(name, 1, "shop", "web", str(index), 1, SPEC, revision=revision)


def batches() -> Iterator[list[Record]]:
    """Each changes the same tasks and tells of it, as a round of placements does."""
    for revision in count(1):
        tasks = [a_task(n, revision) for n in range(BATCH)]
        yield [*tasks, *(Event(revision, 0.0, "task.placed", t.id, "shop", t.id) for t in tasks)]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "cube.db")
    yield store
    store.close()


def test_write_a_task(benchmark: BenchmarkFixture) -> None:
    text = benchmark(codec.dumps, a_task(1))
    benchmark.extra_info["bytes"] = len(text)


def test_read_a_task(benchmark: BenchmarkFixture) -> None:
    benchmark(codec.loads, codec.dumps(a_task(1)))


def test_save_100_tasks_and_events(benchmark: BenchmarkFixture, store: Store) -> None:
    made = batches()
    benchmark.pedantic(store.save, setup=lambda: ((next(made),), {}), rounds=50)


def test_load_1000_tasks(benchmark: BenchmarkFixture, store: Store) -> None:
    store.save([a_task(n) for n in range(1000)])
    saved = benchmark.pedantic(store.load, rounds=5)
    assert len(saved.tasks) == 1000
