"""Frames of a stream that carries several kinds of data: what a command says while it runs.

A frame is a byte for its kind, its length in four bytes (big-endian), and that many bytes. The
first says how the command is named (JSON), the last how it ended (JSON).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

STARTED: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
ENDED: Final = 3


def frame(kind: int, data: bytes) -> bytes:
    """One piece of the stream."""
    return bytes([kind]) + len(data).to_bytes(4, "big") + data


def read_frames(pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Whole frames from pieces; what is cut off is no frame."""
    held = b""
    for piece in pieces:
        held += piece
        while len(held) >= 5 and len(held) >= (end := 5 + int.from_bytes(held[1:5], "big")):
            yield held[0], held[5:end]
            held = held[end:]
