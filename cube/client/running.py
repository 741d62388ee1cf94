"""A command that runs beside a task: its input, its output and its end."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2

from cube.client.connection import check
from cube.frames import ENDED, STDERR, read_frames


class Running:
    """A command that runs beside a task; see `cube.frames` for what it says."""

    def __init__(self, http: httpx2.Client, response: httpx2.Response) -> None:
        self.exit_code: int | None = None  # once its output has ended
        self._http = http
        self._frames = read_frames(response.iter_raw())
        _, data = next(self._frames)
        self._path = f"/v1/exec/{json.loads(data)['exec']}"

    def output(self) -> Iterator[tuple[bool, bytes]]:
        """What it says until it ends: (is it an error stream, bytes)."""
        for kind, data in self._frames:
            if kind == ENDED:
                self.exit_code = json.loads(data)["exit_code"]
                return
            yield kind == STDERR, data

    def write(self, data: bytes) -> None:
        """Give it input."""
        check(self._http.post(f"{self._path}/input", content=data))

    def end_input(self) -> None:
        """There is no more input. A command that has ended already needs none."""
        self._http.post(f"{self._path}/input", params={"end": 1})

    def resize(self, rows: int, columns: int) -> None:
        """Its terminal has another size now."""
        check(self._http.post(f"{self._path}/size", json={"rows": rows, "columns": columns}))
