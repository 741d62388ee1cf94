"""One process per store: a lock file that the kernel releases when its holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from cube.store.contract import StoreLocked


class FileLock:
    """Held from its making until `release`; the file names the holder for the error text.

    A program started by the holder does not inherit it: the descriptor closes on exec.

    Raises:
        StoreLocked: another process holds it.
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        while True:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._take(path)
                if self._is_at(path):
                    return
            except BaseException:
                os.close(self._file)
                raise
            os.close(self._file)  # its last holder removed it meanwhile: a lock on nothing

    def release(self) -> None:
        """Let go. The file stays, unless its holder has removed it."""
        os.close(self._file)

    def _is_at(self, path: Path) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file), path.stat())
        except FileNotFoundError:
            return False

    def _take(self, path: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _pid_in(os.pread(self._file, 32, 0))
            holder = f"process {pid}" if pid else "another process"
            raise StoreLocked(
                f"{path.parent} is in use by {holder}; stop that first", pid
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)


def _pid_in(content: bytes) -> int | None:
    text = content.strip()
    return int(text) if text.isdigit() else None
