"""Waiting for a cluster through its client: woken by events, never by the clock."""

from __future__ import annotations

from collections.abc import Callable

from cube.client import Client


def wait(client: Client, condition: Callable[[], bool]) -> None:
    """Look again after each event until `condition()` holds."""
    if condition():
        return
    for _ in client.follow_events():
        if condition():
            return
