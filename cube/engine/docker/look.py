"""Reads what a Docker container is: whose it is, how it stands, why it ended.

Pure readings of the engine's inspect answers, and the one query that collects them.
"""

from __future__ import annotations

from typing import Any

from docker.api.client import APIClient
from docker.errors import NotFound

from cube.engine import exit_reason
from cube.engine.docker.names import (
    BOOT,
    CLUSTER,
    IDENTITY,
    NODE,
    ON_DISCONNECT,
    TASK,
    failures_of,
    gpus_of,
    grace_of,
    is_kept,
    label_filter,
    made_from,
    size_of,
    version_of,
)
from cube.messages import Exited, Found, RunKey
from cube.task import HostPort

ENDED = ("exited", "dead")
RUNNING = ("running", "paused", "restarting")
SIGKILLED = 137

Inspected = dict[str, Any]  # what GET /containers/ID/json answers


def inspect(api: APIClient, name: str) -> Inspected | None:
    """A container by name or id; None if there is none."""
    try:
        found: Inspected = api.inspect_container(name)
    except NotFound:
        return None
    return found


def inspect_all(
    api: APIClient,
    cluster: str,
    node: str | None,
    uid: str | None = None,
    *,
    kept: bool = False,
) -> list[Inspected]:
    """Every container of a cluster (and node, and task), in any state.

    With `kept`, also those whose runs are over and done with.
    """
    labels = label_filter(cluster, node)
    if uid is not None:
        labels.append(f"{TASK}={uid}")
    summaries = api.containers(all=True, filters={"label": labels})
    wanted = (c for c in summaries if kept or not any(map(is_kept, c["Names"] or ())))
    looks = (inspect(api, summary["Id"]) for summary in wanted)
    return [container for container in looks if container is not None]


def labels_of(container: Inspected) -> dict[str, str]:
    """The container's labels."""
    return container["Config"].get("Labels") or {}


def is_ours(container: Inspected, cluster: str, node: str) -> bool:
    """Does it carry this cluster's and this node's label?"""
    labels = labels_of(container)
    return labels.get(CLUSTER) == cluster and labels.get(NODE) == node


def is_same(container: Inspected, wanted: dict[str, str]) -> bool:
    """Does every label of identity agree?"""
    labels = labels_of(container)
    return all(labels.get(name) == wanted.get(name) for name in IDENTITY)


def status(container: Inspected) -> str:
    """created, running, paused, restarting, removing, exited or dead."""
    return str(container["State"]["Status"])


def handle(container: Inspected) -> str:
    """The id as `docker ps` shows it."""
    return str(container["Id"])[:12]


def ports(container: Inspected) -> tuple[HostPort, ...]:
    """The ports as they were really published, each once (not per address family)."""
    found: dict[HostPort, None] = {}
    for name, bindings in (container["NetworkSettings"].get("Ports") or {}).items():
        number, _, protocol = name.partition("/")
        for binding in bindings or ():
            found[HostPort(int(number), int(binding["HostPort"]), protocol)] = None
    return tuple(sorted(found))


def address(container: Inspected) -> str:
    """Where the container is reached from its engine's machine; "" if nowhere."""
    networks = container["NetworkSettings"].get("Networks") or {}
    return next((str(n["IPAddress"]) for n in networks.values() if n.get("IPAddress")), "")


def published(container: Inspected, port: int) -> int | None:
    """The host port behind which a tcp port of the container is."""
    found = (p.host for p in ports(container) if (p.container, p.protocol) == (port, "tcp"))
    return next(found, None)


def healthy(container: Inspected) -> bool | None:
    """The verdict of its health check; None while there is none."""
    verdict = (container["State"].get("Health") or {}).get("Status")
    return {"healthy": True, "unhealthy": False}.get(verdict or "")


def exited(
    container: Inspected,
    key: RunKey,
    boot: str,
    *,
    engine_restarted: bool = False,
    out_of_memory: bool = False,
    unexplained: bool = False,
) -> Exited:
    """How an ended container ended.

    Args:
        container: as inspected, in one of the states `ENDED`.
        key: its run.
        boot: the machine's boot id; another one on the label means interrupted.
        engine_restarted: the engine was restarted while it ran.
        out_of_memory: it was killed for its memory.
        unexplained: nobody is known to have killed it. Engines now and then lose the word that
            a container was killed for its memory, when its control group is gone before it.
    """
    state = container["State"]
    code = int(state["ExitCode"])
    made_in = labels_of(container).get(BOOT, "")
    if made_in and boot and made_in != boot:
        return Exited(key, code, "the host restarted", interrupted=True)
    if engine_restarted:
        return Exited(key, code, "the Docker engine restarted", interrupted=True)
    reason = exit_reason(code, out_of_memory=out_of_memory)
    if unexplained and not out_of_memory and was_killed(container):
        reason += f" (perhaps for its memory limit of {_memory_limit(container) // 2**20} MiB)"
    return Exited(key, code, reason)


def starved(container: Inspected) -> bool:
    """Does its engine know that it was killed for its memory? It may learn that too late."""
    return bool(container["State"].get("OOMKilled"))


def was_killed(container: Inspected) -> bool:
    """Did it end by SIGKILL where its memory is limited, so that this may have been why?"""
    return container["State"]["ExitCode"] == SIGKILLED and _memory_limit(container) > 0


def _memory_limit(container: Inspected) -> int:
    """In bytes; 0: none."""
    return int(container["HostConfig"].get("Memory") or 0)


def found(
    container: Inspected, key: RunKey, end: Exited | None = None, verdict: bool | None = None
) -> Found:
    """A container as `Listed` tells it: running, perhaps with a verdict on its health, or ended."""
    labels = labels_of(container)
    gpus, gpu_milli = gpus_of(labels)
    return Found(
        key,
        running=end is None,
        exit_code=end.exit_code if end else None,
        reason=end.reason if end else "",
        interrupted=end.interrupted if end else False,
        handle=handle(container),
        ports=ports(container),
        healthy=verdict,
        size=size_of(labels),
        on_disconnect=labels.get(ON_DISCONNECT, "keep"),
        stop_grace_seconds=grace_of(labels),
        failures=failures_of(labels),
        version=version_of(labels),
        spec=made_from(labels),
        gpus=gpus,
        gpu_milli=gpu_milli,
    )
