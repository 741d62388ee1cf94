"""What tasks on another machine say, and commands beside them, as if their engine were here.

Owns the connections of those who follow output or run a command; each has its own. They are cut
when they are no longer wanted, so that nobody waits for a machine that is gone.
"""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import quote, urlencode

from cube.engine import CannotExecute, NoSuchRun
from cube.engine.session import POLL_SECONDS, Wish
from cube.frames import ENDED, read_frames
from cube.messages import RunKey
from cube.remote.line import Line, Refused, Unreachable

log = logging.getLogger("cube")

PIECE_BYTES = 1 << 16
INPUT_SECONDS = 20.0  # a command may be slow to take its input


class RemoteTasks:
    """A `TaskIO` on one node. `connect` makes a line to its worker."""

    def __init__(self, connect: Callable[[], Line]) -> None:
        self._connect = connect

    def logs(
        self,
        task: str | RunKey,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: float | None = None,
        stop: threading.Event | None = None,
    ) -> Iterator[bytes]:
        """See `TaskIO`.

        Raises:
            Unreachable: its worker does not answer.
            Refused: it does, and will not.
            NoSuchRun: there is nothing of this task there.
        """
        run = {} if isinstance(task, str) else {"attempt": task.attempt, "restart": task.restart}
        wanted = {**run, "follow": 1 if follow else None, "tail": tail, "since": since}
        query = urlencode({name: value for name, value in wanted.items() if value is not None})
        uid = task if isinstance(task, str) else task.uid
        stream = _Stream(self._connect(), "GET", f"{_task(uid)}/logs?{query}")
        return stream.until(stop or threading.Event())

    def execute(self, task: str, wish: Wish) -> RemoteSession:
        """See `TaskIO`.

        Raises:
            Unreachable: its worker does not answer.
            Refused: it does, and will not.
            NoSuchRun: nothing of this task runs there.
            CannotExecute: it runs, but the command cannot.
        """
        body = {
            "command": wish.command,
            "tty": wish.tty,
            "rows": wish.rows,
            "columns": wish.columns,
        }
        try:
            stream = _Stream(self._connect(), "POST", f"{_task(task)}/exec", json.dumps(body))
        except Refused as error:
            if error.status == 422:
                raise CannotExecute(str(error)) from None
            raise
        return RemoteSession(stream, self._connect())


class RemoteSession:
    """A `Session` on another machine."""

    def __init__(self, stream: _Stream, line: Line) -> None:
        """`line`: for input and sizes.

        Raises:
            Unreachable: the worker went away.
        """
        self._stream = stream
        self._line = line
        self._using = threading.Lock()
        self._closed = False
        self._code: int | None = None
        self._frames = read_frames(stream.pieces())
        named = next(self._frames, None)
        if named is None:
            raise Unreachable("the worker went away while it started the command")
        self._path = f"/v1/exec/{json.loads(named[1])['exec']}"

    def output(self, stop: threading.Event) -> Iterator[tuple[int, bytes]]:
        """See `Session`."""
        with self._stream.cut_by(stop):
            for kind, data in self._frames:
                if kind == ENDED:
                    self._code = json.loads(data)["exit_code"]
                    return
                yield kind, data

    def write(self, data: bytes) -> None:
        """See `Session`."""
        self._say("input", data)

    def end_input(self) -> None:
        """See `Session`."""
        self._say("input?end=1", b"")

    def resize(self, rows: int, columns: int) -> None:
        """See `Session`."""
        self._say("size", json.dumps({"rows": rows, "columns": columns}).encode())

    def exit_code(self) -> int | None:
        """See `Session`."""
        return self._code

    def close(self) -> None:
        """See `Session`."""
        self._stream.cut()
        with self._using:
            self._closed = True
            self._line.close()

    def _say(self, what: str, data: bytes) -> None:
        """Tell the command; if it has ended or cannot be reached, its output says so."""
        with self._using, suppress(Unreachable, Refused):
            if self._closed:
                return
            self._line.tell(f"{self._path}/{what}", data, INPUT_SECONDS)


class _Stream:
    """One answer that goes on, and the connection that it comes by."""

    def __init__(self, line: Line, method: str, path: str, body: str | None = None) -> None:
        """Ask.

        Raises:
            Unreachable: nobody answers.
            Refused: whoever answers will not.
            NoSuchRun: there is no such task.
        """
        self._open = ExitStack()
        self._open.callback(line.close)
        try:
            self._response = self._open.enter_context(line.ask(method, path, body))
        except BaseException as error:
            self._open.close()
            if isinstance(error, Refused) and error.status == 404:
                raise NoSuchRun(str(error)) from None
            raise
        assert line.socket is not None
        self._socket = line.socket
        self._socket.settimeout(None)  # there may be nothing to say for hours

    def until(self, stop: threading.Event) -> Iterator[bytes]:
        """What comes, up to its end or soon after `stop` is set."""
        with self.cut_by(stop):
            yield from self.pieces()

    def pieces(self) -> Iterator[bytes]:
        """What comes, up to its end; a connection that breaks is an end too."""
        with self._open:
            try:
                while piece := self._response.read1(PIECE_BYTES):
                    yield piece
            except (OSError, http.client.HTTPException) as error:
                log.info("a stream from a worker broke: %s", error)

    @contextmanager
    def cut_by(self, stop: threading.Event) -> Iterator[None]:
        """Within, `stop` cuts it, whoever waits for what."""
        done = False

        def watch() -> None:
            while not done:
                if stop.wait(POLL_SECONDS):
                    self.cut()
                    return

        threading.Thread(target=watch, name="cube-stream", daemon=True).start()
        try:
            yield
        finally:
            done = True

    def cut(self) -> None:
        """Nobody wants it any more; whoever reads it sees its end."""
        with suppress(OSError):
            # Past TLS, which is being read by another thread.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _task(uid: str) -> str:
    return f"/v1/tasks/{quote(uid)}"
