"""`python -m sim` that somebody ends leaves no worker behind, and keeps what is finished."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

PATIENCE = 60.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_process_that_started_them(tmp_path: Path, number: int) -> None:
    kept = tmp_path / "kept.jsonl"
    words = ("--scenario", "crashes", "--seeds", "1..10000", "--processes", "2")
    command = [sys.executable, "-m", "sim", "faults", *words, "--keep", str(kept)]
    end = time.monotonic() + PATIENCE
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        while not (kept.exists() and kept.read_text().count("\n") >= 2):
            assert time.monotonic() < end, "no run ended"
            assert run.poll() is None
            time.sleep(0.05)
        started = psutil.Process(run.pid).children(recursive=True)
        assert len(started) >= 2
        run.send_signal(number)
        assert run.wait(PATIENCE) == (130 if number == signal.SIGTERM else -number)
    _, alive = psutil.wait_procs(started, PATIENCE)
    for left in alive:
        left.kill()
    assert not alive
