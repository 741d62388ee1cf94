"""What starts and stops the processes of a node's tasks: Docker, plain processes, simulated.

Owns the contract of an engine, the words that all engines share (reasons, environment), and the
factory. Never decides what should run: it does what a worker asks, and tells what happened.
Importing this package loads neither docker nor psutil.
"""

from __future__ import annotations

import hashlib
import json
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Literal, Protocol

from cube.engine.capacity import WHOLE, Share, machine_gpus
from cube.engine.session import Session, Wish
from cube.messages import (
    Discard,
    EngineDown,
    Exited,
    Health,
    Kill,
    List,
    Listed,
    MachineMeasured,
    Measured,
    NodeInfo,
    Progress,
    Run,
    RunKey,
    Started,
)
from cube.spec import TaskSpec
from cube.task import TaskName

Order = List | Run | Kill | Discard
Told = Started | Exited | Progress | Health | Listed | EngineDown | Measured | MachineMeasured
Emit = Callable[[Told], None]
EngineKind = Literal["docker", "process"]


class EngineUnavailable(Exception):
    """An engine cannot be used on this machine now; the text names the remedy."""


class NoSuchRun(LookupError):
    """The engine holds nothing of that task."""


class CannotExecute(Exception):
    """A command cannot be run beside a task; the text says why."""


class TaskIO(Protocol):
    """What one can have of a node's tasks from outside: their output, commands beside them."""

    def logs(
        self,
        task: str | RunKey,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: float | None = None,
        stop: threading.Event | None = None,
    ) -> Iterator[bytes]:
        """Output (stdout and stderr) of a task's newest run, or of exactly that run.

        Args:
            task: a task's uid or one of its runs.
            follow: go on until the run ends or `stop` is set.
            tail: only the last so many lines.
            since: only what was written after this time (Unix seconds).
            stop: ends the iteration soon after it is set.

        Raises:
            NoSuchRun: there is nothing of this task here.
        """

    def execute(self, task: str, wish: Wish) -> Session:
        """Run a command beside a task's newest run.

        Raises:
            NoSuchRun: nothing of this task runs here.
            CannotExecute: it runs, but the command cannot.
        """


class Engine(TaskIO, Protocol):
    """Runs tasks of one node of one cluster, and touches nothing else.

    Orders about one run are carried out in the order in which they came; orders may be
    repeated. What happens is told through the `emit` that the engine was made with, from the
    engine's own threads:

    - `Run`: `Started` (also when it runs already), or `Exited` (`started` False, or the end of
      a run that is over: a key runs once).
    - `Kill`: the stop signal, `grace_seconds`, then SIGKILL for all of it; `Exited` when it is
      gone. Killing what is not there is answered by `Exited` with the reason "gone".
    - `Discard`: removes the remains of an ended run; leaves alone what still runs.
    - `List`: `Listed`, consistent with everything emitted before and after it.
    - an engine that stops answering: `EngineDown`; orders given meanwhile may be lost without
      an answer. Once it answers again: `Listed`, from which all is to be judged afresh.
    """

    info: NodeInfo

    def handle(self, message: Order) -> None:
        """Carry out an order. Never blocks."""

    def close(self) -> None:
        """Stop threads and streams. What runs goes on running."""

    def purge(self) -> None:
        """Kill and remove everything of this cluster and node, data included. Blocks."""


def make_engine(
    kind: EngineKind,
    *,
    cluster: str,
    node: str,
    emit: Emit,
    state_dir: Path,
    share: Share = WHOLE,
    docker_url: str | None = None,
    labels: tuple[tuple[str, str], ...] = (),
    datacenter: str = "dc1",
    gpus: tuple[str, ...] | None = None,
    address: str = "",
) -> Engine:
    """The engine of a node, which may use that share of this machine.

    `gpus` are the models of the machine's GPUs; None asks the machine. `address`: its worker's.

    Raises:
        EngineUnavailable: it does not answer, may not be used, or cannot work here.
    """
    if gpus is None:
        elsewhere = kind == "docker" and docker_url and not docker_url.startswith("unix://")
        gpus = () if elsewhere else machine_gpus()
    info = NodeInfo(
        node,
        0,
        0,
        0,
        datacenter=datacenter,
        labels=labels,
        engine=kind,
        gpus=gpus,
        address=address,
    )
    if kind == "docker":
        from cube.engine.docker.engine import DockerEngine

        return DockerEngine(cluster, info, emit, share=share, state_dir=state_dir, url=docker_url)
    from cube.engine.process.engine import ProcessEngine

    return ProcessEngine(cluster, info, emit, share=share, state_dir=state_dir)


def remove_cluster_remains(
    kind: EngineKind, *, cluster: str, state_dir: Path, docker_url: str | None = None
) -> None:
    """Kill and remove all that an engine holds of a cluster, whatever the node. Blocks.

    Raises:
        EngineUnavailable: the engine does not answer.
    """
    if kind == "docker":
        from cube.engine.docker.purge import purge_url

        purge_url(docker_url, cluster)
    else:
        from cube.engine.process.runs import purge_runs

        purge_runs(state_dir, cluster)


# --- words that engines share ------------------------------------------------------------


def exit_reason(code: int, *, out_of_memory: bool = False) -> str:
    """What an exit code says, as in `exited 1` or `killed by SIGTERM`."""
    if out_of_memory:
        return f"exited {code} (out of memory)"
    try:
        return f"killed by {signal.Signals(code - 128).name}"
    except ValueError:
        return f"exited {code}"


def task_environment(key: RunKey, node: str) -> dict[str, str]:
    """What every task finds in its environment besides what its spec says."""
    name = TaskName.parse(key.uid)
    return {
        "CUBE_TASK": f"{name.job}/{name.service}/{name.index}",
        "CUBE_JOB": name.job,
        "CUBE_SERVICE": name.service,
        "CUBE_INDEX": name.index,
        "CUBE_NODE": node,
        "CUBE_ATTEMPT": str(key.attempt),
    }


def spec_hash(spec: TaskSpec) -> str:
    """16 hex digits that are equal for equal specs, in every process."""
    fields = asdict(spec)
    for later in ("gpu", "check"):  # containers made before there was such a field keep their hash
        if fields[later] is None:
            del fields[later]
    text = json.dumps(fields, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
