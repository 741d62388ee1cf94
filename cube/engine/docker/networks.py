"""The network and the volumes of a job in a Docker engine: made when first needed.

A network goes with the last container of its job; a volume is never removed from here. Several
workers, even several processes, may share one engine: making and removing tolerate each other.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

from docker.api.client import APIClient
from docker.errors import APIError, NotFound

from cube.engine.docker.names import (
    CLUSTER,
    JOB,
    VOLUME,
    is_kept,
    label_filter,
    network_name,
    volume_name,
)
from cube.spec import TaskSpec

# Between looking for a job's containers and removing its network none may be made. Engines of
# one process share these locks; against other processes, a start without network tries again.
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


class Foreign(Exception):
    """Something that is not of this cluster has the name that we need."""


def job_lock(cluster: str, job: str) -> threading.Lock:
    """Held while a job's network is made, joined or removed."""
    return _locks[network_name(cluster, job)]


def gateways(api: APIClient, cluster: str) -> dict[str, str]:
    """The jobs that have a network, by the addresses of this machine in them."""
    found = api.networks(filters={"label": label_filter(cluster)})
    return {gateway: job for n in found if (job := _label(n, JOB)) and (gateway := _gateway(n))}


def ensure_network(api: APIClient, cluster: str, job: str) -> str:
    """Make the job's network if there is none; the machine's address in it. Hold the job's lock.

    Raises:
        Foreign: a network of that name is not this cluster's.
    """
    name = network_name(cluster, job)
    same = _networks(api, name)
    if not same:
        labels = {CLUSTER: cluster, JOB: job}
        try:
            api.create_network(name, driver="bridge", labels=labels, check_duplicate=True)
        except APIError as error:
            if error.status_code != 409:
                raise
        same = _networks(api, name)
    if any(_label(network, CLUSTER) != cluster for network in same):
        raise Foreign(f"network {name} exists, but is not of this cluster: remove or rename it")
    # Two processes may have made it at once: all agree on the oldest.
    oldest, *others = sorted(same, key=lambda n: (n["Created"], n["Id"]))
    for network in others:
        _remove(api, network["Id"])
    return _gateway(oldest)


def remove_unused_network(api: APIClient, cluster: str, job: str) -> None:
    """Remove the job's network if no container of the job is left, whatever its state."""
    with job_lock(cluster, job):
        filters = {"label": label_filter(cluster, job=job)}
        found = api.containers(all=True, filters=filters)
        if not all(any(map(is_kept, c["Names"] or ())) for c in found):
            return
        for network in _networks(api, network_name(cluster, job)):
            if _label(network, CLUSTER) == cluster:
                _remove(api, network["Id"])


def remove_unused_networks(api: APIClient, cluster: str) -> None:
    """Remove the networks of all jobs that have no container left."""
    for network in api.networks(filters={"label": label_filter(cluster)}):
        job = _label(network, JOB)
        if job:
            remove_unused_network(api, cluster, job)


def ensure_volumes(api: APIClient, cluster: str, job: str, spec: TaskSpec) -> None:
    """Make the named volumes that a task mounts, where they do not exist.

    Raises:
        Foreign: a volume of that name is not this cluster's.
    """
    for mount in spec.mounts:
        if mount.kind != "volume" or not mount.source:
            continue
        name = volume_name(cluster, job, mount.source)
        labels = {CLUSTER: cluster, JOB: job, VOLUME: mount.source}
        volume = api.create_volume(name, labels=labels)
        if (volume.get("Labels") or {}).get(CLUSTER) != cluster:
            raise Foreign(f"volume {name} exists, but is not of this cluster: rename or remove it")


def _networks(api: APIClient, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.networks(names=[name])  # matches parts of names, too
    return [network for network in found if network["Name"] == name]


def _gateway(network: dict[str, Any]) -> str:
    """Empty if this machine has no address in it."""
    ranges = (network.get("IPAM") or {}).get("Config") or ()
    return next((str(each["Gateway"]) for each in ranges if each.get("Gateway")), "")


def _label(network: dict[str, Any], label: str) -> str:
    return str((network.get("Labels") or {}).get(label, ""))


def _remove(api: APIClient, network_id: str) -> None:
    try:
        api.remove_network(network_id)
    except NotFound:
        pass
    except APIError as error:
        if error.status_code != 403:  # in use: then it is still needed
            raise
