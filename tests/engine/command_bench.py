"""The `cube` command for tests: in this process, or in one of its own with signals."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cube.cli import main
from cube.client import Client
from cube.cluster import Cluster, ClusterOptions
from cube.engine import remove_cluster_remains
from cube.state_dir import StateDir

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Done]


def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `cube ARGS` in this process; the environment says which manager."""

    def run(*args: object) -> Done:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        seen = capsys.readouterr()
        return Done(int(code), seen.out, seen.err)

    return run


@contextmanager
def cluster_of(state_dir: Path, **options: Any) -> Iterator[Cluster]:
    """A cluster in this process whose nodes have joined; removed to the last at the end."""
    made = ClusterOptions(state_dir, **{"workers": 3, "engine": "process", **options})
    cluster = Cluster(made)
    cluster.start()
    try:
        with Client(cluster.url, cluster.token) as client:
            until(client, lambda: sum(n["open"] for n in client.nodes()) == made.workers)
        yield cluster
    finally:
        cluster.stop(rm=True)


def until(client: Client, condition: Callable[[], bool]) -> None:
    """Look again after each event until `condition()` holds."""
    if condition():
        return
    for _ in client.follow_events():
        if condition():
            return
    raise AssertionError("the manager went away")


class Process:
    """`cube ARGS` in a process of its own, whose output is read as it comes."""

    def __init__(
        self, *args: object, python: tuple[str, ...] = ("-m", "cube"), **environment: str
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *python, *map(str, args)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        self.said = ""

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, text: str) -> str:
        """Read until it has said `text`; returns all that it has said."""
        assert self._process.stdout is not None
        end = time.monotonic() + PATIENCE_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while text not in self.said:
                assert selector.select(end - time.monotonic()), f"no {text!r} in {self.said!r}"
                piece = os.read(self._process.stdout.fileno(), 65536)
                assert piece, f"it ended without {text!r}: {self.said!r}"
                self.said += piece.decode()
        return self.said

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, if any, and wait for the end; returns the exit code."""
        if number is not None:
            self._process.send_signal(number)
        out, _ = self._process.communicate(timeout=PATIENCE_SECONDS)
        self.said += out.decode()
        return self._process.returncode

    def close(self) -> None:
        """End it, however it is."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextmanager
def process(*args: object, **options: Any) -> Iterator[Process]:
    """A `Process` that is gone afterwards."""
    made = Process(*args, **options)
    try:
        yield made
    finally:
        made.close()


def remove_all(engine: Any, state_dir: Path) -> None:
    """Remove what a cluster of this state directory left in an engine."""
    state = StateDir(state_dir.absolute())
    remove_cluster_remains(engine, cluster=state.cluster_id, state_dir=state.engine_path)


def check(done: Done, code: int, what: str, remedy: str) -> None:
    """It failed in the documented way, with what is wrong and what to do."""
    assert done.code == code, done
    assert what in done.err
    assert remedy in done.err
    assert "Traceback" not in done.err
    assert "unexpected" not in done.err
