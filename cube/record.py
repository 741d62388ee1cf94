"""Recording what every core was told and what it answered, and telling it again.

A core decides by its birth and its messages alone, so fresh cores given a recording must have
the same effects; `replay` says where they have not. One JSON line each: the first names the
form, then births and handled messages in the order in which they happened. A recording holds
what the messages hold, environments too, so its file is for its owner only. Recording never
stops the recorded: when the file cannot be written, it ends, and the log says so.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from cube import codec
from cube.messages import Effect

FORM = 1
_HEADER = {"cube recording": FORM}

log = logging.getLogger(__name__)


class RecordingError(Exception):
    """The file is no recording, or one of another form; the text says what to do."""


class Core(Protocol):
    """What is replayed."""

    def receive(self, message: Any, now: float) -> list[Effect]:
        """Take one message; say what is to be done."""
        ...


MakeCore = Callable[[str, dict[str, Any]], Core]  # (name, what `Recorder.birth` was given)


class Recorder:
    """Writes a recording to `path`; a recording that is there already is continued.

    Its methods may be called from several threads. Each line is handed to the system at once,
    so a killed process loses at most the line it was writing.

    Raises:
        RecordingError: the file is something else.
        OSError: it cannot be opened.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = Lock()
        self._file: int | None = os.open(
            self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        try:
            self._continue(self._file)
        except BaseException:
            self.close()
            raise

    def birth(self, name: str, life: int, birth: dict[str, Any]) -> None:
        """Note that the core `name` was made from these values."""
        self._write([name, life, codec.encode(birth)])

    def handled(
        self, name: str, life: int, now: float, message: Any, effects: list[Effect]
    ) -> None:
        """Note one message with what it led to."""
        self._write([name, life, now, codec.encode(message), codec.encode(list(effects))])

    def close(self) -> None:
        """Write no more. Closing twice is harmless."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
            self._file = None

    def _write(self, line: Any) -> None:
        text = json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n"
        try:
            with self._lock:
                if self._file is not None:
                    _write_all(self._file, text.encode())
        except OSError as error:
            log.error("recording to %s ends here: %s", self.path, error.strerror)
            self.close()

    def _continue(self, file: int) -> None:
        """Check what is there already, and cut off a torn last line."""
        size = os.fstat(file).st_size
        if size == 0:
            self._write(_HEADER)
            return
        with self.path.open("rb") as old:
            _check_header(old.readline(), self.path)
            old.seek(0)
            whole = sum(len(line) for line in old if line.endswith(b"\n"))
        os.ftruncate(file, whole)


@dataclass(frozen=True, slots=True)
class Handled:
    """One message of a recording, and what it led to then."""

    line: int
    core: str
    life: int
    now: float
    message: Any
    effects: list[Effect]


@dataclass(frozen=True, slots=True)
class Birth:
    """The start of a core's life in a recording."""

    line: int
    core: str
    life: int
    birth: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """A message to which a fresh core answered otherwise; `error` if it raised or was not born."""

    recorded: Handled
    effects: list[Effect]
    error: str = ""

    def __str__(self) -> str:
        then = self.recorded
        head = f"line {then.line}: {then.core}, life {then.life}, at {then.now}: {then.message}"
        now = self.error or "\n".join(f"  now  {effect}" for effect in self.effects)
        return "\n".join([head, *(f"  then {effect}" for effect in then.effects), now])


def read(path: str | Path) -> Iterator[Birth | Handled]:
    """What was recorded, in order. A torn last line is left out.

    Raises:
        RecordingError: no recording, or damaged before its last line.
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        _check_header(file.readline(), Path(path))
        for number, line in enumerate(file, start=2):
            if not line.endswith(b"\n"):
                return
            try:
                yield _parsed(number, line)
            except (ValueError, TypeError) as error:
                raise RecordingError(f"{path}:{number} cannot be read: {error}") from error


def replay(path: str | Path, make_core: MakeCore) -> list[Difference]:
    """Tell fresh cores what the recorded ones were told; where they answer otherwise.

    After a difference its core goes on as it is, so that only the first says what is wrong.

    Raises:
        RecordingError, OSError: as `read`.
    """
    cores: dict[tuple[str, int], Core] = {}
    differences = []
    for entry in read(path):
        key = (entry.core, entry.life)
        if isinstance(entry, Birth):
            cores[key] = make_core(entry.core, entry.birth)
        elif (difference := _compare(cores.get(key), entry)) is not None:
            differences.append(difference)
    return differences


def _compare(core: Core | None, then: Handled) -> Difference | None:
    if core is None:
        return Difference(then, [], "  its birth was not recorded")
    try:
        effects = core.receive(then.message, then.now)
    except Exception as error:
        return Difference(then, [], f"  now  raised {type(error).__name__}: {error}")
    if effects == then.effects or codec.encode(effects) == codec.encode(then.effects):
        return None  # the second form takes NaN for equal to itself
    return Difference(then, effects)


def _parsed(number: int, line: bytes) -> Birth | Handled:
    match json.loads(line):
        case [str(core), int(life), dict() as birth]:
            return Birth(number, core, life, codec.decode(birth))
        case [str(core), int(life), float() | int() as now, message, list() as effects]:
            return Handled(number, core, life, now, codec.decode(message), codec.decode(effects))
    raise ValueError("neither a birth nor a message")


def _check_header(line: bytes, path: Path) -> None:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if header != _HEADER:
        raise RecordingError(f"{path} is not a recording of form {FORM}; name another file")


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
