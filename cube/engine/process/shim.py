"""Watches over one plain process: starts it, keeps its output, ends it, records how it ended.

A program of its own (standard library only, run with `python -I -S`), so that the process and
the record of its exit survive whatever happens to Cube. It adopts orphaned descendants and kills
them when the process has ended. It never decides to end the process.

    shim.py DIRECTORY     the order is read from stdin, the answer written to stdout, as JSON
    fd 3                  an exclusive lock, held for as long as this program lives
    SIGTERM, SIGUSR1      send the stop signal; kill all of it
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NoReturn

LOCK_FD = 3
LOG_BYTES = 10 * 1024 * 1024
LOG_FILES = 3
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
SWEEP_MILLISECONDS = 50  # between looks for descendants that are still there

State = dict[str, Any]


def main(directory: str) -> None:
    """Run the order to its end."""
    os.set_inheritable(LOCK_FD, False)
    os.chdir(directory)
    order = json.load(sys.stdin)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake = catch_signals()
    output, task_end = os.pipe()
    me = {"pid": os.getpid(), "start": start_time(os.getpid())}
    state: State = {"boot_id": order["boot_id"], "shim": me, "task": None, "exit_code": None}
    record(state)
    log = Log("out.log")
    try:
        pid = start(order, task_end)
    except OSError as error:
        answer({"errno": error.errno, "what": error.filename})
        return
    os.close(task_end)
    state["task"] = {"pid": pid, "start": start_time(pid)}
    record(state)
    answer({"pid": pid})
    state["exit_code"] = Watch(pid, order["stop_signal"], wake, output, log).until_gone()
    record(state)


def prctl(option: int, value: int) -> None:
    """Set a property of this process."""
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def catch_signals() -> int:
    """Have signals written to a pipe; its read end."""
    wake, write = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return wake


def record(state: State) -> None:
    """Make `state` durable: after this, a crash of the machine does not lose it."""
    with open("state.json.new", "w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename("state.json.new", "state.json")
    directory = os.open(".", os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def answer(body: dict[str, Any]) -> None:
    """Tell who started us how the start went, then let go of the pipes."""
    with suppress(BrokenPipeError):  # it has died meanwhile: the record tells its successor
        os.write(1, json.dumps(body).encode())
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


def start(order: dict[str, Any], output: int) -> int:
    """Fork and execute the order; the pid.

    Raises:
        OSError: it could not be executed; `filename` says what was at fault.
    """
    failed, report = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(failed)
        execute(order, output, report)
    os.close(report)
    with os.fdopen(failed, "rb") as pipe:
        problem = pipe.read()
    if problem:
        os.waitpid(pid, 0)
        number, _, what = problem.decode().partition(" ")
        raise OSError(int(number), os.strerror(int(number)), what)
    return pid


def execute(order: dict[str, Any], output: int, report: int) -> NoReturn:
    """Become the task; reports and exits if that fails."""
    what = order["cwd"]
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(order["cwd"])
        what = f"user {order['user']}"
        become(order["user"])
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # without its shim nobody would know its end
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            with suppress(OSError):  # some are kept by the C library for itself
                signal.signal(number, signal.SIG_DFL)
        what = order["argv"][0]
        os.execvpe(what, order["argv"], order["env"])  # noqa: S606 (no shell is the point)
    except OSError as error:
        os.write(report, f"{error.errno} {what}".encode())
    except KeyError:
        os.write(report, f"{errno.EINVAL} {what}".encode())
    finally:
        os._exit(127)


def become(user: str | None) -> None:
    """Take on `user` or `user:group` (names or numbers)."""
    if user is None:
        return
    import grp
    import pwd

    name, _, group = user.partition(":")
    entry = None if name.isdigit() else pwd.getpwnam(name)
    uid = int(name) if entry is None else entry.pw_uid
    gid = uid if entry is None else entry.pw_gid
    if group:
        gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    if (uid, gid) == (os.getuid(), os.getgid()):
        return
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


class Watch:
    """Everything between the start of a task and its end."""

    def __init__(self, pid: int, stop_signal: int, wake: int, output: int, log: Log) -> None:
        self._pid, self._stop_signal, self._wake = pid, stop_signal, wake
        self._output, self._log = output, log
        self._exit_code: int | None = None
        os.set_blocking(output, False)

    def until_gone(self) -> int:
        """Wait until the task and all its descendants are gone; the task's exit code."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._output, select.POLLIN)
        while self._children_left():
            ended = self._exit_code is not None
            if ended:
                kill_descendants()
            for fd, event in poll.poll(SWEEP_MILLISECONDS if ended else None):
                if fd == self._wake:
                    self._obey(os.read(fd, 4096))
                elif not self._copy() or not event & select.POLLIN:
                    poll.unregister(fd)
        while self._copy():
            pass
        assert self._exit_code is not None
        return self._exit_code

    def _obey(self, signals: bytes) -> None:
        if signal.SIGTERM in signals and self._exit_code is None:
            os.kill(self._pid, self._stop_signal)
        if signal.SIGUSR1 in signals:
            kill_descendants()

    def _children_left(self) -> bool:
        """Reap what has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._pid:
                code = os.waitstatus_to_exitcode(status)
                self._exit_code = code if code >= 0 else 128 - code

    def _copy(self) -> bool:
        """Copy what the task has written; False: nothing more is there."""
        try:
            data = os.read(self._output, 65536)
        except BlockingIOError:
            return False
        self._log.write(data)
        return bool(data)


class Log:
    """A file that is rotated when it is full. What the disk has no room for is dropped."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, data: bytes) -> None:
        """Append."""
        try:
            if os.fstat(self._fd).st_size + len(data) > LOG_BYTES:
                self._rotate()
            os.write(self._fd, data)
        except OSError:
            pass  # the task goes on all the same

    def _rotate(self) -> None:
        for age in range(LOG_FILES - 1, 0, -1):
            older = f"{self._path}.{age}"
            newer = self._path if age == 1 else f"{self._path}.{age - 1}"
            if os.path.exists(newer):
                os.rename(newer, older)
        os.close(self._fd)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def kill_descendants() -> None:
    """SIGKILL for everything below this process."""
    parents = dict(processes())
    for pid in parents:
        above: int | None = parents.get(pid)
        while above is not None and above != os.getpid():
            above = parents.get(above)
        if above is not None:
            with suppress(OSError):  # gone, or another user's
                os.kill(pid, signal.SIGKILL)


def processes() -> Iterator[tuple[int, int]]:
    """(pid, parent's pid) of everything that runs."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = stat_fields(int(name))
            if fields:
                yield int(name), int(fields[1])


def start_time(pid: int) -> int:
    """When a process started, in ticks since boot; with the pid it names the process surely."""
    fields = stat_fields(pid)
    return int(fields[19]) if fields else 0


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on; none if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


if __name__ == "__main__":
    main(sys.argv[1])
