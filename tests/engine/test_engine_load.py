"""What a node's tasks use is measured, and told only when it has changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest
from docker.api.client import APIClient
from engine_bench import Bench, key_of, shell

from cube.engine import Told
from cube.engine.docker.engine import DockerEngine
from cube.engine.load import (
    MIB,
    Meter,
    Usage,
    container_usage,
    is_news,
    load_between,
    process_usage,
)
from cube.engine.pool import Pool
from cube.engine.process.engine import ProcessEngine
from cube.messages import Exited, Measured, NodeInfo, Started
from cube.spec import TaskSpec

SECONDS = 0.5  # long enough for the kernel's shares and ticks to even out
INFO = NodeInfo("node-1", 0, 0, 0)
IDLE = shell("exec sleep 1000")
BUSY = "while :; do :; done"


@pytest.fixture
def processes(cluster: str, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(
        lambda emit: ProcessEngine(cluster, INFO, emit, state_dir=tmp_path, load_seconds=SECONDS)
    )
    yield made
    made.close()


@pytest.fixture
def make_containers(
    docker_api: APIClient, cluster: str, tmp_path: Path
) -> Iterator[Callable[[str], Bench]]:
    url = os.environ.get("DOCKER_HOST")
    benches: list[Bench] = []

    def make(node: str) -> Bench:
        info = NodeInfo(node, 0, 0, 0)
        made = Bench(
            lambda emit: DockerEngine(
                cluster, info, emit, state_dir=tmp_path, url=url, load_seconds=SECONDS
            )
        )
        benches.append(made)
        return made

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def containers(make_containers: Callable[[str], Bench]) -> Bench:
    return make_containers("node-1")


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool("load", threads=1)
    yield made
    made.close()


def busy_cpu(bench: Bench, least: int) -> int:
    """The first CPU load of at least so many milli-cores; a loaded machine takes a while."""
    loads = [0]
    while loads[-1] < least:
        assert len(loads) < 40, f"never {least}: {loads}"
        loads.append(bench.next(Measured).cpu_load_milli)
    return loads[-1]


def asked_anew(bench: Bench) -> Measured:
    """What is told after a listing, whether or not it has changed."""
    bench.list()
    bench.seen.clear()
    return bench.next(Measured)


def start(bench: Bench, spec: TaskSpec, number: int = 1) -> str:
    key = bench.run(spec, key_of(f"shop/web/{number}"))
    return bench.next(Started, key).handle


# --- plain processes ---------------------------------------------------------------------


def test_a_busy_process_is_one_core(processes: Bench) -> None:
    start(processes, shell(BUSY))
    assert busy_cpu(processes, 300) <= 1200


def test_what_a_process_has_started_and_awaited_counts(processes: Bench) -> None:
    """No process of it lives for longer than a moment."""
    start(processes, shell("while :; do (i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done); done"))
    assert busy_cpu(processes, 300) <= 1200


def test_an_idle_process_is_told_once_asked(processes: Bench) -> None:
    start(processes, IDLE)
    load = asked_anew(processes)
    assert load.cpu_load_milli < 100
    assert load.memory_load_mib < 6  # the process that watches over it is not the task's


def test_all_ended_is_no_load(processes: Bench) -> None:
    start(processes, shell(BUSY))
    busy_cpu(processes, 100)
    processes.kill(key_of(), 0.0)
    processes.next(Exited)
    while processes.next(Measured) != Measured(0, 0):
        pass


def test_what_was_used_before_it_was_taken_over_is_no_load(processes: Bench) -> None:
    start(processes, shell(f"timeout 1 sh -c '{BUSY}'; echo idle; exec sleep 1000"))
    processes.logs_until(key_of(), b"idle")
    processes.restart()
    assert asked_anew(processes).cpu_load_milli < 300


def test_memory_of_processes_adds_up(processes: Bench) -> None:
    script = "import time; held = b'x' * (50 << 20); print('held', flush=True); time.sleep(1000)"
    for number in (1, 2):
        start(processes, shell(f'exec python3 -c "{script}"'), number)
        processes.logs_until(key_of(f"shop/web/{number}"), b"held")
    assert 100 <= asked_anew(processes).memory_load_mib <= 200


def test_a_vanished_process_is_left_out() -> None:
    usage = process_usage({"gone": 2**22 + 1, "here": os.getpid()})
    assert list(usage) == ["here"]


# --- containers --------------------------------------------------------------------------


@pytest.fixture
def visible(containers: Bench, docker_api: APIClient) -> Bench:
    """Control groups are only there where the engine runs."""
    handle = start(containers, IDLE)
    if container_usage([docker_api.inspect_container(handle)["Id"]]) is None:
        pytest.skip("the engine's control groups are not visible from here")
    return containers


@pytest.mark.docker
def test_an_idle_container_is_told_once_asked(visible: Bench) -> None:
    load = asked_anew(visible)
    assert load.cpu_load_milli < 100
    assert load.memory_load_mib < 20


@pytest.mark.docker
def test_a_busy_container_is_its_limit(visible: Bench) -> None:
    start(visible, shell(BUSY, cpu_limit_milli=500), 2)
    assert busy_cpu(visible, 200) <= 750


@pytest.mark.docker
def test_a_busy_container_without_limit_is_one_core(visible: Bench) -> None:
    start(visible, shell(BUSY), 2)
    assert busy_cpu(visible, 300) <= 1200


@pytest.mark.docker
def test_others_containers_do_not_count(
    visible: Bench, make_containers: Callable[[str], Bench]
) -> None:
    other = make_containers("node-2")
    start(other, shell(BUSY), 2)
    busy_cpu(other, 300)
    assert asked_anew(visible).cpu_load_milli < 100


# --- control groups ----------------------------------------------------------------------


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def version_1(root: Path, group: str) -> None:
    write(root / "cpuacct" / group / "cpuacct.usage", "2500000000\n")
    write(root / "memory" / group / "memory.usage_in_bytes", f"{3 * MIB}\n")


def version_2(root: Path, group: str) -> None:
    write(root / group / "cpu.stat", "usage_usec 2500000\nuser_usec 2000000\nnr_periods 0\n")
    write(root / group / "memory.current", f"{3 * MIB}\n")


Layout = Callable[[Path, str], None]
both_versions = pytest.mark.parametrize("layout", [version_1, version_2])


@both_versions
@pytest.mark.parametrize("group", ["docker/{}", "system.slice/docker-{}.scope"])
def test_reads_control_groups(tmp_path: Path, layout: Layout, group: str) -> None:
    layout(tmp_path, group.format("abc"))
    assert container_usage(["abc"], tmp_path) == {"abc": Usage(2.5, 3 * MIB)}


@both_versions
def test_a_vanished_container_is_left_out(tmp_path: Path, layout: Layout) -> None:
    layout(tmp_path, "docker/abc")
    assert container_usage(["gone", "abc"], tmp_path) == {"abc": Usage(2.5, 3 * MIB)}


@pytest.mark.parametrize("name", ["memory/docker/abc/memory.usage_in_bytes", "docker/abc"])
def test_a_machine_that_does_not_account_memory(tmp_path: Path, name: str) -> None:
    if name.startswith("memory"):
        version_1(tmp_path, "docker/abc")
        (tmp_path / name).unlink()
    else:
        version_2(tmp_path, "docker/abc")
        (tmp_path / name / "memory.current").unlink()
    assert container_usage(["abc"], tmp_path) == {"abc": Usage(2.5, 0)}


def test_control_groups_of_another_machine(tmp_path: Path) -> None:
    assert container_usage(["abc"], tmp_path) is None
    assert container_usage([], tmp_path) == {}


# --- when it is told ---------------------------------------------------------------------


def test_load_is_what_was_used_in_between() -> None:
    before = {"a": Usage(10.0, MIB), "ended": Usage(5.0, 9 * MIB), "odd": Usage(3.0, 0)}
    now = {"a": Usage(11.0, 2 * MIB), "new": Usage(0.5, MIB // 2 + 1), "odd": Usage(2.0, 0)}
    assert load_between(before, now, 2.0) == Measured(750, 3)


def test_load_is_never_more_than_the_machine() -> None:
    cores = os.cpu_count() or 1
    assert load_between({}, {"a": Usage(1e6, 0)}, 1.0) == Measured(cores * 1000, 0)


@pytest.mark.parametrize(
    ("load", "told", "news"),
    [
        ((100, 50), (100, 50), False),
        ((110, 51), (100, 50), False),
        ((90, 49), (100, 50), False),
        ((111, 50), (100, 50), True),
        ((89, 50), (100, 50), True),
        ((100, 52), (100, 50), True),
        ((100, 48), (100, 50), True),
        ((0, 0), (1, 0), True),
        ((0, 0), (0, 0), False),
        ((1, 1), (0, 0), False),
    ],
)
def test_small_changes_are_no_news(
    load: tuple[int, int], told: tuple[int, int], news: bool
) -> None:
    assert is_news(Measured(*load), Measured(*told)) is news


class Samples:
    """Samples of one run that only holds memory (MiB; None: it cannot be seen)."""

    def __init__(self, *held: float | None) -> None:
        self._held = iter(held)
        self.over = Event()

    def __call__(self) -> dict[str, Usage] | None:
        for held in self._held:
            return None if held is None else {"a": Usage(0.0, int(held * MIB))}
        self.over.set()
        return None


def told_of(pool: Pool, samples: Samples) -> list[Told]:
    told: list[Told] = []
    Meter(pool, told.append, samples, 0.001)
    assert samples.over.wait(10)
    return told


def test_tells_changes(pool: Pool) -> None:
    told = told_of(pool, Samples(0, 0, 50, 50.9, 52, 52, None, 52, 0, 0))
    assert told == [Measured(0, 50), Measured(0, 52), Measured(0, 0)]


def test_what_cannot_be_seen_is_not_told(pool: Pool) -> None:
    assert told_of(pool, Samples(None, None, None)) == []


def test_tells_once_more_to_who_asks_anew(pool: Pool) -> None:
    told: list[Told] = []
    asked, samples = Event(), Samples(*[50.0] * 20)

    def emit(message: Told) -> None:
        told.append(message)
        if not asked.is_set():
            asked.set()
            meter.start_over()

    meter = Meter(pool, emit, samples, 0.001)
    assert samples.over.wait(10)
    assert told == [Measured(0, 50), Measured(0, 50)]


def test_goes_on_after_a_failure(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Told] = []
    ready = Event()
    states = iter([None, {"a": Usage(0.0, 5 * MIB)}])

    def sample() -> dict[str, Usage]:
        usage = next(states, {"a": Usage(0.0, 5 * MIB)})
        if usage is None:
            raise ValueError("an odd kernel")
        return usage

    def emit(message: Told) -> None:
        told.append(message)
        ready.set()

    Meter(pool, emit, sample, 0.001)
    assert ready.wait(10)
    assert told == [Measured(0, 5)]
    assert "an odd kernel" in caplog.text


def test_ends_with_its_pool(pool: Pool) -> None:
    samples = Samples()
    Meter(pool, [].append, samples, 0.001)
    assert samples.over.wait(10)
    pool.close()
    samples.over.clear()
    assert not samples.over.wait(0.05)
