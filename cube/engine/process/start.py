"""Starts the shim of one run and has it start the task; says why that failed.

Owns what a task finds in its environment, the choice of host ports, and the meaning of errors.
A start that fails leaves nothing behind.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from cube.engine import task_environment
from cube.engine.process import shim
from cube.engine.process.runs import Identity, RunDirectory
from cube.messages import Exited, Run, RunKey
from cube.spec import Port
from cube.task import HostPort

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")  # nothing that may be secret
FOR_SHIM = ("PATH", "LD_LIBRARY_PATH")

OPEN_TRIES = 100  # free ports drawn before giving up


class Refused(Exception):
    """Why a task cannot be started."""

    def __init__(self, reason: str, exit_code: int | None = None, *, retry: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.exit_code, self.retry = reason, exit_code, retry

    def as_exited(self, key: RunKey) -> Exited:
        """As the engine tells it."""
        return Exited(key, self.exit_code, self.reason, started=False, retry=self.retry)


def start(
    directory: RunDirectory, node: str, boot: str, run: Run, taken: Collection[int]
) -> tuple[int, Identity]:
    """Start a run in its directory, which must not exist; the shim's pid.

    Args:
        directory: of the run.
        node: where it runs.
        boot: the machine's boot id.
        run: what to start.
        taken: host ports that other runs were given.

    Raises:
        Refused: it does not run; nothing is left.
    """
    spec = run.spec
    argv = [*(spec.entrypoint or ()), *(spec.command or ())]
    if not argv:
        raise Refused(
            f"{spec.name} has no command, and a plain process has no image to take it from: "
            "give it a `command`, or use --engine docker",
            retry=False,
        )
    identity = Identity(
        run.key,
        run.version,
        (spec.cpu_milli, spec.memory_mib, spec.disk_mib),
        spec.on_disconnect,
        spec.stop_grace_seconds,
        tuple(_host_port(port, taken) for port in spec.ports),
        spec.healthcheck,
        run.failures,
        run.gpus,
        0 if spec.gpu is None else spec.gpu.milli,
        spec.check,
    )
    order = {
        "argv": argv,
        "env": _environment(run, node, identity.ports),
        "cwd": spec.working_dir or str(directory.scratch.absolute()),
        "user": spec.user,
        "stop_signal": _signal_number(spec.stop_signal),
        "boot_id": boot,
    }
    try:
        directory.create(identity)
        return _start_shim(directory, order), identity
    except OSError as error:
        directory.remove()
        raise Refused(f"cannot write {directory.path}: {error.strerror}") from error
    except Refused:
        directory.remove()
        raise


def _start_shim(directory: RunDirectory, order: dict[str, Any]) -> int:
    lock = directory.lock()
    order_end, order_pipe = os.pipe()
    answer_pipe, answer_end = os.pipe()
    messages = str(directory.path / "shim.log")
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", shim.__file__, str(directory.path)],
            {name: os.environ[name] for name in FOR_SHIM if name in os.environ},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, order_end, 0),
                (os.POSIX_SPAWN_DUP2, answer_end, 1),
                (os.POSIX_SPAWN_OPEN, 2, messages, os.O_WRONLY | os.O_CREAT, 0o600),
                (os.POSIX_SPAWN_DUP2, lock, shim.LOCK_FD),
            ],
            setsid=True,
        )
    finally:
        for fd in (lock, order_end, answer_end):
            os.close(fd)
    with os.fdopen(order_pipe, "wb") as pipe, suppress(BrokenPipeError):
        pipe.write(json.dumps(order).encode())
        pipe.flush()
    with os.fdopen(answer_pipe, "rb") as pipe:
        answer = pipe.read()
    if not answer:
        os.waitpid(pid, 0)
        raise Refused(f"its shim failed: {_last_line(Path(messages))}")
    body = json.loads(answer)
    if "pid" not in body:
        os.waitpid(pid, 0)
        raise _refusal(order, body["errno"], body["what"])
    return pid


def _refusal(order: dict[str, Any], number: int, what: str) -> Refused:
    if what == order["cwd"]:
        return Refused(f"no such working directory: {what}", 126, retry=False)
    if what.startswith("user "):
        why = "there is none" if number == errno.EINVAL else "only root may switch users"
        return Refused(f"cannot run as {what}: {why}", 126, retry=False)
    if number == errno.ENOENT:
        return Refused(f"no such command: {what}", 127, retry=False)
    if number in (errno.EACCES, errno.ENOEXEC):
        return Refused(f"not executable: {what}", 126, retry=False)
    return Refused(f"cannot execute {what}: {os.strerror(number)}", 126)


def _environment(run: Run, node: str, ports: tuple[HostPort, ...]) -> dict[str, str]:
    gpus = ",".join(map(str, run.gpus))
    return {
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        **dict(run.spec.environment),
        **task_environment(run.key, node),
        **({"CUDA_VISIBLE_DEVICES": gpus} if gpus else {}),
        **{f"CUBE_PORT_{port.container}": str(port.host) for port in ports},
    }


def _host_port(port: Port, taken: Collection[int]) -> HostPort:
    """The port to listen on, free at this moment."""
    if port.host is not None:
        if not _is_free(port, port.host):
            raise Refused(f"port {port.host}/{port.protocol} is already in use on this host")
        return HostPort(port.container, port.host, port.protocol)
    for _ in range(OPEN_TRIES):
        with _socket(port) as free:
            free.bind((port.host_ip, 0))
            number: int = free.getsockname()[1]
        if number not in taken:
            return HostPort(port.container, number, port.protocol)
    raise Refused("no free port is left on this host")


def _is_free(port: Port, number: int) -> bool:
    with _socket(port) as probe:
        try:
            probe.bind((port.host_ip, number))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def _socket(port: Port) -> socket.socket:
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    made = socket.socket(socket.AF_INET, kind)
    if port.protocol == "tcp":
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


def _signal_number(name: str | None) -> int:
    """As Docker reads it: `SIGTERM`, `TERM` or a number."""
    if name is None:
        return signal.SIGTERM
    if name.isdigit():
        return int(name)
    try:
        return signal.Signals["SIG" + name.upper().removeprefix("SIG")]
    except KeyError:
        raise Refused(f"there is no stop signal {name}", retry=False) from None


def _last_line(path: Path) -> str:
    try:
        return path.read_text().strip().rpartition("\n")[2]
    except OSError:
        return "it wrote no message"
