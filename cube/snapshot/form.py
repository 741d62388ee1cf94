"""The file: one JSON document, with its kind and version in front and a `Snapshot` by the codec."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cube import __version__, codec
from cube.messages import Snapshot
from cube.snapshot.hiding import hide
from cube.snapshot.times import Times

KIND = "cube-snapshot"
VERSION = 1


class SnapshotError(ValueError):
    """The text is no snapshot that this version can read; it says why and what to do."""


@dataclass(frozen=True, slots=True)
class State:
    """A cluster as it was, and how long its services take by `job/service`."""

    snapshot: Snapshot
    times: Mapping[str, Times] = field(default_factory=dict)


def write(state: State) -> dict[str, Any]:
    """The document, as plain JSON values; secrets are left out.

    `state` is the cluster: jobs with their earlier versions, tasks, nodes as they are and as rows
    of the fleet (capacity, what is used, labels, GPUs, ports), volumes, containers that await
    recovery, the policy and the manager's options.
    """
    snapshot = state.snapshot
    return {
        "kind": KIND,
        "version": VERSION,
        "cube": __version__,
        "taken": datetime.fromtimestamp(snapshot.now, UTC).isoformat(timespec="seconds"),
        "times": {service: times._asdict() for service, times in sorted(state.times.items())},
        "state": codec.encode(hide(snapshot)),
    }


def read(text: str | bytes) -> State:
    """The state that `write` was given, without what was hidden.

    Raises:
        SnapshotError: it is something else, of a newer version, or damaged.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SnapshotError(f"this is no snapshot: {error}; make one with cube snapshot") from None
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise SnapshotError("this is no snapshot; make one with cube snapshot")
    if document.get("version") != VERSION:
        raise SnapshotError(
            f"this snapshot has form {document.get('version')}, and this version reads {VERSION};"
            f" it was made by Cube {document.get('cube')}, use that"
        )
    try:
        snapshot = codec.decode(document.get("state"))
        times = {service: Times(**seen) for service, seen in document.get("times", {}).items()}
    except (codec.CodecError, TypeError, AttributeError) as error:
        raise SnapshotError(f"this snapshot is damaged: {error}; make another") from None
    if not isinstance(snapshot, Snapshot):
        raise SnapshotError("this snapshot is damaged: it holds no state; make another")
    return State(snapshot, times)
