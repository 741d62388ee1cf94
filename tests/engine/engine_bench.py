"""An engine on a bench: orders go in, what it tells comes out, one message at a time."""

from __future__ import annotations

import heapq
import os
import queue
import select
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, TypeVar

from docker.api.client import APIClient

from cube.engine import Engine, Order, Told
from cube.engine.simulated import SimulatedEngine
from cube.messages import Discard, Exited, Kill, List, Listed, Run, RunKey, Started, worker_name
from cube.spec import TaskSpec

IMAGE = "cube-test/busybox:1"
TIMEOUT_SECONDS = 30.0

T = TypeVar("T")
Make = Callable[[Callable[[Told], None]], Engine]


def key_of(task: str = "shop/web/1", attempt: int = 1, restart: int = 0) -> RunKey:
    return RunKey(f"{task}@7", attempt, restart)


def shell(script: str, **more: Any) -> TaskSpec:
    """A task that runs a script."""
    return TaskSpec(**{"name": "web", "image": IMAGE, "command": ("/bin/sh", "-c", script), **more})


def forever(**more: Any) -> TaskSpec:
    """Runs until it is told to stop, then ends at once."""
    return shell("trap 'exit 143' TERM; while :; do sleep 0.05; done", **more)


def stubborn() -> TaskSpec:
    """Ignores its stop signal, and says so only once it does."""
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    return shell(script, labels=(("cube.sim.stop", "1000"),))


def exits(code: int) -> TaskSpec:
    labels = (("cube.sim.seconds", "1"), ("cube.sim.exit", str(code)))
    return shell(f"exit {code}", labels=labels)


def cannot_start() -> TaskSpec:
    error = (("cube.sim.error", "no such command: nonesuch"),)
    return TaskSpec(name="web", image=IMAGE, command=("nonesuch",), labels=error)


class Bench:
    """One engine, and the messages that it has told and nobody has looked at yet."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self.queue: queue.Queue[Told] = queue.Queue()
        self.seen: list[Told] = []
        self.engine = make(self.queue.put)

    def order(self, message: Order) -> None:
        self.engine.handle(message)

    def run(
        self,
        spec: TaskSpec,
        key: RunKey | None = None,
        version: int = 1,
        failures: tuple[float, ...] = (),
        image: str = "",
    ) -> RunKey:
        key = key or key_of()
        self.order(Run(key, version, spec, failures, image=image))
        return key

    def kill(self, key: RunKey, grace_seconds: float = 10.0) -> None:
        self.order(Kill(key, grace_seconds))

    def list(self) -> Listed:
        self.order(List())
        return self.next(Listed)

    def discard(self, key: RunKey) -> None:
        self.order(Discard(key))

    def next(self, kind: type[T], key: RunKey | None = None) -> T:
        """The next message of a kind (and about a run); others are kept for later."""
        for i, message in enumerate(self.seen):
            if _fits(message, kind, key):
                del self.seen[i]
                return message  # type: ignore[return-value]
        while True:
            message = self._take()
            if _fits(message, kind, key):
                return message  # type: ignore[return-value]
            self.seen.append(message)

    def nothing_more(self, kind: type[object]) -> bool:
        """Has nothing of this kind been told, up to a listing that follows everything so far?"""
        self.list()
        return not any(isinstance(message, kind) for message in self.seen)

    def restart(self) -> None:
        """Another engine takes over, as after a crash of the control plane."""
        self.engine.close()
        self.seen.clear()
        self.queue = queue.Queue()
        self.engine = self._make(self.queue.put)

    def logs_until(self, key: RunKey, text: bytes) -> bytes:
        """Follow the log until it contains `text`."""
        written = b""
        for chunk in self.engine.logs(key, follow=True):
            written += chunk
            if text in written:
                return written
        raise AssertionError(f"the log ended without {text!r}: {written!r}")

    def close(self) -> None:
        try:
            self.engine.purge()
        finally:
            self.engine.close()

    def _take(self) -> Told:
        if isinstance(self.engine, Simulated):
            while self.queue.empty():
                self.engine.advance()
        try:
            return self.queue.get(timeout=TIMEOUT_SECONDS)
        except queue.Empty:
            raise AssertionError(f"nothing was told; seen so far: {self.seen}") from None


def start(bench: Bench, docker: APIClient, spec: TaskSpec, key: RunKey | None = None) -> dict:
    """Run it; its container as the engine shows it."""
    key = bench.run(spec, key)
    return docker.inspect_container(bench.next(Started, key).handle)


def output(bench: Bench, key: RunKey) -> str:
    return b"".join(bench.engine.logs(key)).decode()


def run_to_end(bench: Bench, spec: TaskSpec) -> tuple[Exited, str]:
    key = bench.run(spec)
    exited = bench.next(Exited, key)
    return exited, output(bench, key) if exited.started else ""


def await_end(pid: int) -> None:
    """Wait for a process that is not our child."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended, _, _ = select.select([fd], [], [], 10)
    os.close(fd)
    assert ended, f"process {pid} still runs"


def _fits(message: object, kind: type[object], key: RunKey | None) -> bool:
    return isinstance(message, kind) and key in (None, getattr(message, "key", None))


class Simulated:
    """The simulated core as an `Engine`: a clock that jumps to what is due next."""

    def __init__(self, emit: Callable[[Told], None], core: SimulatedEngine) -> None:
        self.core = core
        self.info = self.core.info
        self._emit = emit
        self._now = 0.0
        self._order = count()
        self._due: list[tuple[float, int, Any]] = []

    def handle(self, message: Any) -> None:
        for effect in self.core.receive(message, self._now):
            if effect.to == worker_name(self.info.name):
                self._emit(effect.message)
            else:
                due = (self._now + effect.after, next(self._order), effect.message)
                heapq.heappush(self._due, due)

    def advance(self) -> None:
        assert self._due, "nothing is told, and nothing is due"
        self._now, _, message = heapq.heappop(self._due)
        self.handle(message)

    def logs(self, task: str | RunKey, **_: Any) -> Iterator[bytes]:
        yield b"ready\n"

    def purge(self) -> None:
        pass

    def close(self) -> None:
        pass
