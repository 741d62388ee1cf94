"""Health checks and output of plain processes."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from engine_bench import Bench, forever, key_of, run_to_end, shell

from cube.engine import NoSuchRun
from cube.messages import Exited, Health, Started
from cube.spec import HealthCheck


@pytest.fixture
def bench(process_bench) -> Bench:
    return process_bench()


def test_health_is_told(bench: Bench) -> None:
    check = HealthCheck(("CMD-SHELL", "test ! -e sick"), interval_seconds=0.05, retries=2)
    spec = shell("trap 'touch sick' USR1; while :; do sleep 0.05; done", healthcheck=check)
    key = bench.run(spec)
    task = int(bench.next(Started).handle)
    assert bench.next(Health) == Health(key, True)
    os.kill(task, signal.SIGUSR1)
    assert bench.next(Health) == Health(key, False, "/bin/sh: exited 1")
    assert bench.list().found[0].healthy is False


def test_a_health_check_that_hangs_has_failed(bench: Bench) -> None:
    check = HealthCheck(("CMD", "sleep", "1000"), 0.01, timeout_seconds=0.05, retries=1)
    key = bench.run(forever(healthcheck=check))
    assert bench.next(Health) == Health(key, False, "sleep: no end in 0.05 s")


def test_logs_are_rotated(bench: Bench, tmp_path: Path) -> None:
    exited, text = run_to_end(bench, shell("yes 123456789 | head -c 45000000; echo end"))
    assert exited.exit_code == 0
    files = list((tmp_path / "process").glob("*/*/*/out.log*"))
    assert sorted(f.name for f in files) == ["out.log", "out.log.1", "out.log.2"]
    assert all(f.stat().st_size <= 10 * 1024 * 1024 for f in files)
    assert text.endswith("123456789\nend\n")
    assert len(text) == sum(f.stat().st_size for f in files)


def test_logs_of_the_newest_run(bench: Bench) -> None:
    for restart in range(2):
        key = bench.run(shell(f"echo run {restart}; echo done"), key_of(restart=restart))
        bench.next(Exited, key)
    assert b"".join(bench.engine.logs(key.uid)) == b"run 1\ndone\n"
    assert b"".join(bench.engine.logs(key_of())) == b"run 0\ndone\n"
    assert b"".join(bench.engine.logs(key.uid, tail=1)) == b"done\n"
    with pytest.raises(NoSuchRun, match="shop/web/9@7"):
        bench.engine.logs("shop/web/9@7")


def test_following_a_log_ends_with_the_run(bench: Bench) -> None:
    key = bench.run(shell("echo one; sleep 0.2; echo two"))
    bench.next(Started)
    assert b"".join(bench.engine.logs(key, follow=True)) == b"one\ntwo\n"


def test_following_a_log_misses_nothing_of_a_run_that_is_discarded(bench: Bench) -> None:
    key = bench.run(shell("echo one; trap 'echo two; exit' TERM; while :; do sleep 0.05; done"))
    bench.next(Started)
    chunks = bench.engine.logs(key, follow=True)
    assert next(chunks) == b"one\n"
    bench.kill(key)
    bench.next(Exited)
    bench.discard(key)
    assert bench.list().found == ()
    assert b"".join(chunks) == b"two\n"


def test_following_a_log_ends_when_told(bench: Bench) -> None:
    key = bench.run(shell("echo hello; sleep 100"))
    bench.next(Started)
    stop = threading.Event()
    chunks = []
    for chunk in bench.engine.logs(key, follow=True, stop=stop):
        chunks.append(chunk)
        stop.set()
    assert b"".join(chunks) == b"hello\n"
