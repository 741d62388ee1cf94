"""Ends the endless answers of a Docker engine: event streams and followed logs."""

from __future__ import annotations

import contextlib
from typing import Any

from docker.errors import DockerException
from docker.types import CancellableStream


def cut(stream: CancellableStream[Any]) -> None:
    """From any thread: let the thread that reads a stream come to its end."""
    # The stream may end by itself at this very moment: then there is nothing to cut.
    with contextlib.suppress(AttributeError, OSError, ValueError, DockerException):
        stream.close()


def release(stream: CancellableStream[Any]) -> None:
    """From the thread that has read it: give the stream's connection back."""
    cut(stream)
    response: Any = vars(stream)["_response"]  # which the library never closes
    with contextlib.suppress(OSError, ValueError):
        response.close()
