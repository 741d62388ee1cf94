"""Jobs worked here, in other processes, or on a Dask cluster; what they give, as it comes.

Results do not depend on where a job is worked. Users' own modules go along by value, so a worker
needs only Cube itself and never an older copy of a policy; a worker with another Cube refuses.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

import cloudpickle
import joblib

from sim.errors import InputError, SimulationError
from sim.source import code_digest

T = TypeVar("T")
CONNECT_SECONDS = 10.0  # to a Dask scheduler, and for its first worker


def work_all(
    jobs: Iterable[Callable[[], T]],
    *,
    processes: int = 1,
    dask: str = "",
    modules: Sequence[ModuleType] = (),
) -> Generator[T, None, None]:
    """What the jobs return, in whatever order they end.

    Processes on this machine end with the job at hand once the one that started them is no more.

    Args:
        jobs: are sent whole, unless they are worked here.
        processes: on this machine; 1 works them in this one.
        dask: address of a Dask scheduler, whose workers do it instead.
        modules: of the user's own, which go along.

    Raises:
        InputError: Dask is not installed, or does not answer.
    """
    if not dask and processes == 1:
        yield from (job() for job in jobs)
        return
    packed = (_packed(job, modules) for job in jobs)
    parent = None if dask else os.getpid()
    with _backend(processes, dask):
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
        yield from parallel(joblib.delayed(_work)(job, code_digest(), parent) for job in packed)


@contextmanager
def _backend(processes: int, dask: str) -> Iterator[None]:
    """Processes with one thread each for linear algebra, or the workers of a Dask cluster."""
    if not dask:
        with joblib.parallel_config(backend="loky", n_jobs=processes, inner_max_num_threads=1):
            yield
        return
    try:
        from distributed import Client
    except ImportError:
        remedy = "Install the extra 'dask': pip install 'cube-orchestrator[dask]'."
        raise InputError("Dask is not installed", remedy) from None
    try:
        client = Client(dask, timeout=CONNECT_SECONDS)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TimeoutError) as error:
        remedy = "Start one with: dask scheduler, and workers with: dask worker ADDRESS."
        raise InputError(f"no Dask scheduler answers at {dask}: {error}", remedy) from None
    with client, joblib.parallel_config(
        backend="dask", client=client, wait_for_workers_timeout=CONNECT_SECONDS
    ):  # fmt: skip
        yield


def _packed(job: Any, modules: Sequence[ModuleType]) -> bytes:
    """The job as bytes, with the source of users' modules instead of their names."""
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        data: bytes = cloudpickle.dumps(job)
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
    return data


def _work(packed: bytes, code: str, parent: int | None) -> Any:
    """In a process of its own: Ctrl-C is for the process that started it."""
    if parent is not None and os.getppid() != parent:
        os._exit(1)  # it was killed, and nobody would read what we find
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if code_digest() != code:
        raise SimulationError("a worker has another version of Cube", "Install the same on all.")
    return pickle.loads(packed)()  # noqa: S301 -- from the process that started this one
